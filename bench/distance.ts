/**
 * A control plane that is far away: turns of one second, 100 permits and 100 sessions with work waiting, so that 100
 * deliveries a second are possible; beside it the same with the plane at hand.
 */
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { launch } from "../local/launcher.ts"
import { makeHouse } from "../test/process/house.ts"
import { figureOf, percentile } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { createdToPost, hold, pushed, tasksFor, teamOf } from "./load.ts"
import { interleaved, RUNS, secondsOf } from "./runs.ts"

const SESSIONS = 100
const SECONDS = secondsOf(20)
const proxy = fileURLToPath(new URL("delayProxy.ts", import.meta.url))

/** The runtime reaches the plane through the proxy; who posts and measures reaches it directly. */
const farHouse = (sessions: number, delay: number, turnMillis: number) =>
  Effect.gen(function* () {
    const house = yield* makeHouse({ team: teamOf(sessions), gatewayArgs: ["--max-concurrent", "200"] })
    yield* house.script({ fallback: { text: "Noted.", delayMs: turnMillis } })
    const far =
      delay === 0
        ? house.plane
        : yield* launch({
            name: "proxy",
            command: process.execPath,
            args: [proxy, new URL(house.plane.url).port, String(delay)]
          })
    const runtime = yield* house.startRuntime({
      CONVEX_URL: far.url,
      LOG_LEVEL: "error",
      DELIVERY_MAX_CONCURRENT_SESSIONS: String(sessions)
    })
    yield* pushed(house, runtime)
    return { house, runtime, tasks: yield* tasksFor(house, sessions) }
  })

const rateAt = (delay: number) =>
  Effect.gen(function* () {
    const { house, runtime, tasks } = yield* farHouse(SESSIONS, delay, 1_000)
    // Three a session: one runs, one waits, and one is on its way from who posts.
    const { rate } = yield* hold(house, [runtime], { tasks, seconds: SECONDS, ahead: SESSIONS * 3 })
    return rate
  }).pipe(Effect.scoped)

const latencyAt = (delay: number) =>
  Effect.gen(function* () {
    const { house, runtime, tasks } = yield* farHouse(4, delay, 0)
    const measure = (count: number) => createdToPost(house, runtime, { tasks, fast: 4, count, pace: 200 })
    yield* measure(10)
    return percentile(yield* measure(Math.ceil(SECONDS * 5)), 0.5)
  }).pipe(Effect.scoped)

/** Runs the measurement; about eight minutes as it stands. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const rates = yield* interleaved({ near: rateAt(0), "30": rateAt(15), "60": rateAt(30) })
    const latencies = yield* interleaved({ near: latencyAt(0), "30": latencyAt(15) }, Math.min(RUNS, 3))
    return [
      figureOf("turns of 1 s, 100 permits, plane at hand", "1/s", rates.near),
      figureOf("turns of 1 s, 100 permits, plane 30 ms away (there and back)", "1/s", rates["30"], { atLeast: 80 }),
      figureOf("turns of 1 s, 100 permits, plane 60 ms away (there and back)", "1/s", rates["60"], { atLeast: 80 }),
      figureOf("created to POST with push, plane at hand, p50 of each run", "ms", latencies.near),
      figureOf("created to POST with push, plane 30 ms away, p50 of each run", "ms", latencies["30"])
    ]
  }).pipe(Effect.runPromise)
