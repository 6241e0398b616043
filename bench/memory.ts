/**
 * Memory growth by deliveries: the runtime's heap after garbage collection, over thousands of deliveries at full load.
 */
import { join } from "node:path"
import { Effect } from "effect"
import { temporaryFolder } from "../local/temporaryFolder.ts"
import { makeSetup } from "../test/process/setup.ts"
import { figureOf } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { deliveredBy, hold, pushed, TASKS_PER_AGENT, tasksFor, teamOf } from "./load.ts"
import { secondsOf } from "./runs.ts"
import { sampleOf } from "./soak/sample.ts"
import { slopeOf } from "./soak/trend.ts"

const SESSIONS = 50
const SECONDS = secondsOf(20)
/** Stretches of load, each followed by a sample at rest. During the first three, code is compiled and pools fill. */
const STRETCHES = 9
const WARM_UP = 3

/** Runs the measurement; about four minutes by default. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder("memory-bench-")
    const socket = join(folder, "probe.sock")
    const setup = yield* makeSetup({ team: teamOf(SESSIONS), gatewayArgs: ["--max-concurrent", "200"] })
    yield* setup.script({ fallback: { text: "Noted." } })
    const runtime = yield* setup.startRuntime({
      LOG_LEVEL: "error",
      DELIVERY_MAX_CONCURRENT_SESSIONS: String(SESSIONS),
      NODE_OPTIONS: `--import ${new URL("soak/probe.ts", import.meta.url).href}`,
      SOAK_PROBE: socket
    })
    yield* pushed(setup, runtime)
    const tasks = yield* tasksFor(setup, SESSIONS, TASKS_PER_AGENT)
    const points: Array<readonly [deliveries: number, bytes: number]> = []
    for (let stretch = 0; stretch < STRETCHES; stretch++) {
      yield* hold(setup, [runtime], { tasks, sessions: SESSIONS, seconds: SECONDS })
      yield* Effect.sleep("2 seconds")
      const { heap } = yield* Effect.promise(() => sampleOf(socket))
      points.push([yield* deliveredBy(setup, [runtime]), heap])
    }
    const kept = points.slice(WARM_UP)
    const megabytes = kept.map(([, bytes]) => bytes / 2 ** 20)
    return [
      figureOf("heap after collection, at rest between loads", "MB", megabytes),
      figureOf("deliveries in all", "", [points.at(-1)![0]]),
      figureOf("growth of that heap per 1,000 deliveries", "KB", [(slopeOf(kept) * 1_000) / 1_024], { below: 100 })
    ]
  }).pipe(Effect.scoped, Effect.runPromise)
