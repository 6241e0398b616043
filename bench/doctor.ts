/** How long `doctor` takes, whole process, against a healthy house. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { runtimeEnv } from "../local/account.ts"
import { makeHouse } from "../test/process/house.ts"
import { figureOf } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { RUNS } from "./runs.ts"

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url))

const timed = async (env: Record<string, string>): Promise<number> => {
  const from = performance.now()
  const child = spawn(process.execPath, [main, "doctor", "--json"], {
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "inherit"]
  })
  let out = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text))
  await once(child, "close")
  const { checks } = JSON.parse(out) as { readonly checks: ReadonlyArray<unknown> }
  if (checks.length < 20) throw new Error(`only ${checks.length} checks: ${out}`)
  return performance.now() - from
}

/** Runs the measurement. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "doctor-bench-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true }))
    )
    const house = yield* makeHouse()
    const env = runtimeEnv(
      house.account,
      house.plane.url,
      { url: house.gateway.url },
      {
        RUNTIME_ID: "bench",
        HEALTH_PORT: "39",
        OPENCLAW_STATE_DIR: folder
      }
    )
    const samples = yield* Effect.promise(async () => {
      const taken: Array<number> = []
      for (let run = 0; run < RUNS; run++) taken.push(await timed(env))
      return taken
    })
    return [figureOf("doctor, whole process, without config validate", "ms", samples, { below: 3_000 })]
  }).pipe(Effect.scoped, Effect.runPromise)
