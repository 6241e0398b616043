/**
 * The bundle's footprint: its bytes, how soon it is live, its memory when idle, and how long an idle one takes to exit.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { dirname } from "node:path"
import { Duration, Effect } from "effect"
import { makeBundle } from "../build/bundle.ts"
import { runtimeEnv } from "../local/account.ts"
import { freePort } from "../local/launcher.ts"
import { eventually, makeSetup } from "../test/process/setup.ts"
import type { Setup } from "../test/process/setup.ts"
import { figureOf } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { RUNS } from "./runs.ts"
import { shippedVariables } from "./subject.ts"

/** Long enough for the garbage of the start to be collected. */
const IDLE = Duration.seconds(10)

/** Resident memory of a process, in MB. */
export const residentMegabytes = (pid: number): number =>
  (Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024) / 1e6

const answers = (url: string): Effect.Effect<boolean> =>
  Effect.promise(() =>
    fetch(url).then(
      async (response) => {
        await response.arrayBuffer()
        return response.status === 200
      },
      () => false
    )
  )

/** The figures of one start of the bundle, in milliseconds and MB. */
export type Footprint = { readonly live: number; readonly memory: number; readonly stop: number }

/** Starts the bundle as the kernel does, without the launcher's preload, lets it idle and stops it. */
export const footprintOf = (setup: Setup, entry: string, idle: Duration.Duration): Effect.Effect<Footprint> =>
  Effect.gen(function* () {
    const port = String(yield* freePort)
    const url = `http://127.0.0.1:${port}`
    const env = runtimeEnv(
      setup.account,
      setup.plane.url,
      { url: setup.gateway.url },
      { ...shippedVariables, RUNTIME_ID: "footprint", HEALTH_PORT: port, LOG_LEVEL: "error" }
    )
    const from = performance.now()
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(entry, ["start"], {
          stdio: ["ignore", "ignore", "inherit"],
          env: { ...env, PATH: `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}` }
        })
      ),
      (running) => Effect.sync(() => void running.kill("SIGKILL"))
    )
    const ended = once(child, "exit")
    yield* Effect.raceFirst(
      eventually(answers(`${url}/livez`), (isLive) => isLive),
      Effect.promise(() => ended).pipe(Effect.andThen(Effect.die(new Error("the bundle exited before it was live"))))
    )
    const live = performance.now() - from
    yield* eventually(answers(`${url}/readyz`), (isReady) => isReady)
    yield* Effect.sleep(idle)
    const memory = residentMegabytes(child.pid!)
    const stopping = performance.now()
    child.kill("SIGTERM")
    const [code] = yield* Effect.promise(() => ended)
    if (code !== 0) return yield* Effect.die(new Error(`the bundle exited with ${code}`))
    return { live, memory, stop: performance.now() - stopping }
  }).pipe(Effect.scoped)

/** Runs the measurement: the same account, one runtime after another. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const { eagerBytes, entry, lazyBytes } = yield* Effect.promise(makeBundle)
    const setup = yield* makeSetup()
    const runs = yield* Effect.forEach(Array.from({ length: RUNS }), () => footprintOf(setup, entry, IDLE))
    return [
      figureOf(
        "memory when idle",
        "MB",
        runs.map(({ memory }) => memory),
        { below: 110 }
      ),
      figureOf(
        "start to the first 200 of /livez",
        "ms",
        runs.map(({ live }) => live),
        { below: 1_500 }
      ),
      figureOf(
        "SIGTERM when idle to the exit",
        "ms",
        runs.map(({ stop }) => stop),
        { below: 1_000 }
      ),
      figureOf("code that a start loads", "MB", [eagerBytes / 1e6], { below: 3 }),
      figureOf("code that is loaded when needed", "MB", [lazyBytes / 1e6])
    ]
  }).pipe(Effect.scoped, Effect.runPromise)
