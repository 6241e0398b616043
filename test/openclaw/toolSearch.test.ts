import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { runIn } from "../process/runIn.ts"
import { eventually } from "../process/setup.ts"
import { makeSupervisedSetup, realCommand } from "./supervisedSetup.ts"

const team = [{ slug: "alpha", name: "Alpha One", role: "builds" }]

describe("a real gateway with Tool Search on", () => {
  it.live(
    "is reported at the start, and by the doctor with the fix, until a tool call arrives",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSupervisedSetup({ team, agents: ["alpha"], builtIns: ["session_status"] })
        const settings: any = JSON.parse(readFileSync(setup.home.configPath, "utf8"))
        setup.home.writeConfig({ ...settings, tools: { ...settings.tools, toolSearch: true } })
        yield* setup.script({
          replace: true,
          fallback: { text: "NO_ACTION" },
          rules: [
            { match: "what can you do", actions: [{ toolCalls: [{ name: "get_agent_skills" }] }, { text: "This." }] }
          ]
        })
        const runtime = yield* setup.startRuntime({}, { readyPath: "/livez" })
        const readyz = Effect.promise(async () => (await fetch(`${runtime.url}/readyz`)).text())
        yield* eventually(readyz, (body) => body.includes("set tools.toolSearch to false"))

        const doctor = Effect.gen(function* () {
          const env = {
            ...setup.home.env,
            ...realCommand(),
            ACCOUNT_ID: setup.account.accountId,
            CONVEX_URL: setup.planeUrl,
            SERVICE_TOKEN: setup.account.serviceToken,
            HEALTH_PORT: new URL(runtime.url).port
          }
          const { out } = yield* runIn(env, "doctor", "--canary", "--json")
          const checks: ReadonlyArray<{ id: string; status: string; message: string }> = JSON.parse(out).checks
          const statusOf = (id: string) => checks.find((check) => check.id === id)?.status
          return { canary: statusOf("canary"), token: statusOf("gateway-token"), toolSearch: statusOf("tool-search") }
        })
        assert.deepStrictEqual(yield* doctor, { canary: "fail", token: "ok", toolSearch: "fail" })
        setup.home.writeConfig({ ...settings, tools: { ...settings.tools, toolSearch: false } })
        yield* eventually(doctor, ({ canary }) => canary === "ok")
        yield* setup.post("@alpha what can you do")
        assert.strictEqual(yield* setup.answer("Alpha One"), "This.")
        yield* eventually(readyz, (body) => body === '{"ready":true,"reasons":[]}')
      }).pipe(Effect.scoped),
    { timeout: 400_000 }
  )
})
