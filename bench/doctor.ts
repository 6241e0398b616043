/** How long the whole process of `doctor` takes with a healthy account. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { runtimeEnv } from "../local/account.ts"
import { installedOpenClaw, pinnedVersion } from "../local/openclaw/install.ts"
import { temporaryFolder } from "../local/temporaryFolder.ts"
import { makeSetup } from "../test/process/setup.ts"
import { gatewaySettings, scriptedGateway } from "../test/process/supervisedGateway.ts"
import { figureOf } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { interleaved } from "./runs.ts"

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url))

/** The real command if `npm run test:openclaw` has installed it, otherwise the scripted gateway's. */
const installed = installedOpenClaw(pinnedVersion)?.program
const command = installed ?? scriptedGateway

const timed = async (env: Record<string, string>, ...args: ReadonlyArray<string>): Promise<number> => {
  const from = performance.now()
  const child = spawn(process.execPath, [main, "doctor", "--json", ...args], {
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "inherit"]
  })
  let out = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text))
  await once(child, "close")
  const { checks } = JSON.parse(out) as {
    readonly checks: ReadonlyArray<{ readonly id: string; readonly status: string }>
  }
  if (checks.length < 20) throw new Error(`only ${checks.length} checks: ${out}`)
  const judged = checks.find(({ id }) => id === "gateway-configuration-valid")?.status
  if (judged !== (args.includes("--validate") ? "ok" : "skip"))
    throw new Error(`the configuration is ${judged}: ${out}`)
  return performance.now() - from
}

/** Runs the measurement. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder("doctor-bench-")
    const setup = yield* makeSetup()
    const configPath = join(folder, "openclaw.json")
    writeFileSync(configPath, JSON.stringify(gatewaySettings(["squad-lead", "engineer", "qa"])))
    const env = runtimeEnv(
      setup.account,
      setup.plane.url,
      { url: setup.gateway.url },
      {
        RUNTIME_ID: "bench",
        HEALTH_PORT: "39",
        OPENCLAW_STATE_DIR: folder,
        OPENCLAW_CONFIG_PATH: configPath,
        OPENCLAW_GATEWAY_PATH: command
      }
    )
    const { plain, validating } = yield* interleaved({
      plain: Effect.promise(() => timed(env)),
      validating: Effect.promise(() => timed(env, "--validate"))
    })
    const whose = command === installed ? "of the real gateway" : "of the scripted gateway"
    return [
      figureOf("doctor, whole process, without config validate", "ms", plain, { below: 3_000 }),
      figureOf(`doctor, whole process, with config validate ${whose}`, "ms", validating, { below: 8_000 })
    ]
  }).pipe(Effect.scoped, Effect.runPromise)
