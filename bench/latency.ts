/**
 * Latency from sending a person's message to the gateway's receipt of the turn's first request: with push, and with
 * polls of 1 s and of 15 s while push is down. The three are measured together, with a message to each in turn, so that
 * all meet the same load of the machine.
 */
import { Effect } from "effect"
import type { Setup } from "../test/process/setup.ts"
import { figureOf, percentile } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { createdToPost, pushed, tasksFor, teamOf } from "./load.ts"
import { interleaved, RUNS, secondsOf } from "./runs.ts"
import { here, setupOf } from "./subject.ts"

/** A little more than two polls of the slowest mode, so that each message falls between two of them. */
const SECONDS = secondsOf(32)
/** So many that a poll of 15 s lies between two messages to the same agent, which would share a turn. */
const SESSIONS = 40
/**
 * Milliseconds between messages. It is longer than a delivery takes: the end of a delivery claims again, and would find
 * a message that arrived during the delivery without a poll.
 */
const PACE = 470

/** Refuses every new push connection permanently. */
const withoutPush = (setup: Setup) =>
  Effect.promise(async () => {
    const response = await fetch(`${setup.plane.url}/__local/faults`, {
      method: "POST",
      headers: { authorization: `Convex ${setup.plane.adminKey}` },
      body: JSON.stringify({ kind: "refuse", transport: "websocket" })
    })
    if (!response.ok) throw new Error(`the plane refused the fault: ${await response.text()}`)
  })

/** A setup with a runtime that has had some deliveries; returns the function that measures it. */
const mode = Effect.fnUntraced(function* (pollMillis: number | null) {
  const setup = yield* setupOf(here, { team: teamOf(SESSIONS) })
  yield* setup.script({ fallback: { text: "Noted." } })
  if (pollMillis !== null) yield* withoutPush(setup)
  const runtime = yield* setup.startRuntime({
    LOG_LEVEL: "error",
    ...(pollMillis === null ? {} : { DELIVERY_INTERVAL: String(pollMillis) })
  })
  if (pollMillis === null) yield* pushed(setup, runtime)
  const tasks = yield* tasksFor(setup, SESSIONS)
  const measure = (count: number) => createdToPost(setup, runtime, { tasks, fast: SESSIONS, count, pace: PACE })
  yield* measure(SESSIONS)
  return { measured: measure(Math.ceil((SECONDS * 1_000) / PACE)) }
})

/** Runs the measurement; about four minutes by default. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const [push, second, quarter] = yield* Effect.all([mode(null), mode(1_000), mode(15_000)])
    const rounds = yield* interleaved(
      {
        all: Effect.all({ push: push.measured, second: second.measured, quarter: quarter.measured }, { concurrency: 3 })
      },
      Math.min(RUNS, 5)
    )
    const of = (name: "push" | "second" | "quarter", share: number): ReadonlyArray<number> =>
      rounds.all.map((round) => percentile(round[name], share))
    const pooled = (name: "push" | "second" | "quarter"): ReadonlyArray<number> =>
      rounds.all.flatMap((round) => round[name])
    const ratio = (name: "second" | "quarter"): ReadonlyArray<number> =>
      of(name, 0.5).map((median, run) => median / of("push", 0.5)[run]!)
    return [
      figureOf("created to POST with push, p50 of each run", "ms", of("push", 0.5), { below: 30 }),
      figureOf("created to POST with push, p99 of all runs' messages", "ms", [percentile(pooled("push"), 0.99)]),
      figureOf("created to POST by a poll of 1 s, p50 of each run", "ms", of("second", 0.5)),
      figureOf("created to POST by a poll of 15 s, p50 of each run", "ms", of("quarter", 0.5)),
      figureOf("p50 by a poll of 1 s to that with push", "ratio", ratio("second")),
      figureOf("p50 by a poll of 15 s to that with push", "ratio", ratio("quarter"))
    ]
  }).pipe(Effect.scoped, Effect.runPromise)
