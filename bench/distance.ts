/**
 * A distant control plane: turns of one second, 100 permits and 100 sessions with waiting work, so that 100 deliveries
 * a second are possible. For comparison, the same with a near plane.
 */
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { launch } from "../local/launcher.ts"
import { eventually } from "../test/process/setup.ts"
import { figureOf, percentile } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { createdToPost, deliveredBy, now, pushed, tasksFor, teamOf } from "./load.ts"
import { interleaved, RUNS, secondsOf } from "./runs.ts"
import { here, setupOf } from "./subject.ts"

const SESSIONS = 100
const SECONDS = secondsOf(12)
/** Deliveries of each session before the measurement of the rate. */
const WARM_UP = 4
const proxy = fileURLToPath(new URL("delayProxy.ts", import.meta.url))

/** The runtime reaches the plane through the proxy. The people's calls and the measurement go to it directly. */
const farSetup = (sessions: number, delay: number, turnMillis: number) =>
  Effect.gen(function* () {
    const setup = yield* setupOf(here, { team: teamOf(sessions), gatewayArgs: ["--max-concurrent", "200"] })
    yield* setup.script({ fallback: { text: "Noted.", delayMs: turnMillis } })
    const far =
      delay === 0
        ? setup.plane
        : yield* launch({
            name: "proxy",
            command: process.execPath,
            args: [proxy, new URL(setup.plane.url).port, String(delay)]
          })
    const start = setup
      .startRuntime({
        CONVEX_URL: far.url,
        LOG_LEVEL: "error",
        DELIVERY_MAX_CONCURRENT_SESSIONS: String(sessions)
      })
      .pipe(Effect.tap((runtime) => pushed(setup, runtime)))
    return { setup, start }
  })

/**
 * Deliveries a second from a backlog that exists before the runtime starts. People who post during the measurement
 * would take processor time that the plane needs. Each message has its own task, so that no thread grows long.
 */
const rateAt = (delay: number) =>
  Effect.gen(function* () {
    const { setup, start } = yield* farSetup(SESSIONS, delay, 1_000)
    yield* Effect.forEach(
      Array.from({ length: SESSIONS * (WARM_UP + SECONDS + 2) }, (_, index) => index),
      (index) =>
        Effect.flatMap(setup.newTask(`Task ${index}`), (taskId) =>
          setup.post(taskId, `@agent-${index % SESSIONS} go on.`)
        ),
      { concurrency: 8, discard: true }
    )
    const runtime = yield* start
    const delivered = deliveredBy(setup, [runtime])
    const before = yield* eventually(delivered, (count) => count >= SESSIONS * WARM_UP)
    const from = now()
    yield* Effect.sleep(`${SECONDS} seconds`)
    return (((yield* delivered) - before) * 1_000) / (now() - from)
  }).pipe(Effect.scoped)

const latencyAt = (delay: number) =>
  Effect.gen(function* () {
    const { setup, start } = yield* farSetup(4, delay, 0)
    const runtime = yield* start
    const tasks = yield* tasksFor(setup, 4)
    const measure = (count: number) => createdToPost(setup, runtime, { tasks, fast: 4, count, pace: 200 })
    yield* measure(10)
    return percentile(yield* measure(Math.ceil(SECONDS * 5)), 0.5)
  }).pipe(Effect.scoped)

/** Runs the measurement; about twelve minutes by default. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const rates = yield* interleaved({ near: rateAt(0), "30": rateAt(15), "60": rateAt(30) })
    const latencies = yield* interleaved({ near: latencyAt(0), "30": latencyAt(15) }, Math.min(RUNS, 3))
    return [
      figureOf("turns of 1 s, 100 permits, plane at hand", "1/s", rates.near),
      figureOf("turns of 1 s, 100 permits, plane 30 ms away (there and back)", "1/s", rates["30"], { atLeast: 80 }),
      figureOf("turns of 1 s, 100 permits, plane 60 ms away (there and back)", "1/s", rates["60"]),
      figureOf("created to POST with push, plane at hand, p50 of each run", "ms", latencies.near),
      figureOf("created to POST with push, plane 30 ms away, p50 of each run", "ms", latencies["30"])
    ]
  }).pipe(Effect.runPromise)
