import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { planeStats } from "../../bench/planeStats.ts"
import { runtimeEnv } from "../../local/account.ts"
import { PROTOCOL } from "../../src/domain/shared/Protocol.ts"
import { runIn } from "./runIn.ts"
import { eventually, makeSetup } from "./setup.ts"

const root = join(import.meta.dirname, "..", "..")

/** A copy of the control plane's functions with one changed file. */
const changedApp = (path: string, change: (text: string) => string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = mkdtempSync(join(tmpdir(), "mission-control-protocol-"))
      for (const part of ["convex", "src/domain", "package.json"]) {
        cpSync(join(root, part), join(folder, part), { recursive: true })
      }
      symlinkSync(join(root, "node_modules"), join(folder, "node_modules"))
      const file = join(folder, path)
      const text = readFileSync(file, "utf8")
      const changed = change(text)
      assert.notStrictEqual(changed, text)
      writeFileSync(file, changed)
      return folder
    }),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
  ).pipe(Effect.map((folder) => join(folder, "convex")))

/** A copy with another version of the contract. */
const appOfProtocol = (version: number) =>
  changedApp("src/domain/shared/Protocol.ts", (text) =>
    text.replace(/^export const PROTOCOL = \d+$/m, `export const PROTOCOL = ${version}`)
  )

const readyz = (url: string) =>
  Effect.promise(async () => {
    const response = await fetch(`${url}/readyz`)
    return { status: response.status, body: await response.text() }
  })

describe("a runtime and a deployment of different versions", () => {
  it.live("work together if the deployment is one version ahead", () =>
    Effect.gen(function* () {
      const setup = yield* makeSetup({ planeArgs: ["--app", yield* appOfProtocol(PROTOCOL + 1)] })
      yield* setup.script({ rules: [{ match: "mentioned you", actions: [{ text: "Here." }] }] })
      const runtime = yield* setup.startRuntime({}, { readyPath: "/readyz" })
      const taskId = yield* setup.newTask()
      yield* setup.post(taskId, "@engineer are you there?")
      yield* eventually(setup.messages(taskId), (messages) => messages.some(({ content }) => content === "Here."))
      assert.notInclude(runtime.output(), "protocol")
    }).pipe(Effect.scoped)
  )

  it.live(
    "do not work together if it is two ahead: the runtime reports what to upgrade, claims nothing, and accepts a restart",
    () =>
      Effect.gen(function* () {
        const setup = yield* makeSetup({ planeArgs: ["--app", yield* appOfProtocol(PROTOCOL + 2)] })
        const taskId = yield* setup.newTask()
        yield* setup.post(taskId, "@engineer are you there?")
        const runtime = yield* setup.startRuntime({}, { readyPath: "/livez" })
        const { accountId } = setup.account
        const remedy =
          /protocol: the deployment serves protocol versions \d+ to \d+, this runtime needs \d+: upgrade the runtime/
        const ready = yield* eventually(
          readyz(runtime.url),
          ({ body }) => remedy.test(body) && !body.includes("booting")
        )
        assert.strictEqual(ready.status, 503)
        const env = runtimeEnv(setup.account, setup.plane.url, { url: setup.gateway.url })
        const { out } = yield* runIn(env, "doctor")
        assert.match(out, /^fail {2}protocol .*this runtime needs \d+/m)
        assert.match(out, /-> upgrade the runtime/)
        // The pulse also reports it, and returns the command.
        yield* eventually(setup.runtimeStatus, (status) => status === "degraded")
        yield* Effect.promise(() => setup.person.mutation("app/runtimes:restart", { accountId }))
        assert.deepStrictEqual(yield* runtime.exit, { code: 75, signal: null })
        const { functions } = yield* Effect.promise(() => planeStats(setup.plane))
        assert.isUndefined(functions["service/notifications:claim"])
        assert.deepStrictEqual(
          (yield* setup.notifications).map(({ attempts, state }) => ({ attempts, state })),
          [{ attempts: 0, state: "ready" }]
        )
        assert.strictEqual(yield* setup.posts, 0)
      }).pipe(Effect.scoped)
  )
})

describe("a deployment that lacks a function", () => {
  it.live("is found by the doctor, although it answers every failure alike", () =>
    Effect.gen(function* () {
      const app = yield* changedApp("convex/service/tasks.ts", (text) =>
        text.replace("export const history =", "const history =")
      )
      const setup = yield* makeSetup({ planeArgs: ["--app", app] })
      const { out } = yield* runIn(runtimeEnv(setup.account, setup.plane.url, { url: setup.gateway.url }), "doctor")
      assert.match(out, /^fail {2}functions +the deployment lacks service\/tasks:history$/m)
      assert.notMatch(out, /^fail {2}protocol/m)
    }).pipe(Effect.scoped)
  )
})
