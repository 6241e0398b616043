/**
 * A runtime that is stopped during its turns: how long after the end of the last turn it exits, with one active turn
 * and with many, and how long it takes if the turns outlast its budget. Every turn must be delivered or released.
 */
import { Effect } from "effect"
import { eventually, makeSetup } from "../test/process/setup.ts"
import { figureOf } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { arrivalsByAgent, forgetArrivals, now, pushed, tasksFor, teamOf } from "./load.ts"
import { interleaved } from "./runs.ts"

/** Milliseconds of a turn; long enough that all turns are active when the signal comes. */
const TURN = 4_000
const BUDGET = 2_000

/** Milliseconds from SIGTERM to exit, and from the end of the last turn to exit. */
const drained = (turns: number, budgetMillis: number) =>
  Effect.gen(function* () {
    const setup = yield* makeSetup({ team: teamOf(turns), gatewayArgs: ["--max-concurrent", "200"] })
    yield* setup.script({ fallback: { text: "Noted.", delayMs: TURN } })
    const runtime = yield* setup.startRuntime({
      LOG_LEVEL: "error",
      DELIVERY_MAX_CONCURRENT_SESSIONS: String(Math.max(2, turns)),
      DRAIN_TIMEOUT_MS: String(budgetMillis)
    })
    yield* pushed(setup, runtime)
    const tasks = yield* tasksFor(setup, turns)
    yield* forgetArrivals(setup)
    yield* Effect.forEach(tasks, (taskId, index) => setup.post(taskId, `@agent-${index} go on.`), {
      concurrency: 16,
      discard: true
    })
    const arrived = yield* eventually(arrivalsByAgent(setup), (arrivals) => arrivals.size === turns)
    const lastBegun = Math.max(...[...arrived.values()].map(([first]) => first!.at))
    const from = now()
    yield* runtime.signal("SIGTERM")
    const { code } = yield* runtime.exit
    const to = now()
    const rows = yield* setup.notifications
    const states = rows.filter(({ type }) => type === "mention").map(({ state }) => state)
    const expected = budgetMillis > TURN ? "delivered" : "ready"
    if (code !== 0 || states.length !== turns || states.some((state) => state !== expected)) {
      throw new Error(`exit ${code}, ${states.length} rows of ${turns}, expected ${expected}: ${states.join(" ")}`)
    }
    return { took: to - from, afterLast: to - (lastBegun + TURN) }
  }).pipe(Effect.scoped)

/** Runs the measurement; about three minutes by default. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const { cut, hundred, one, ten } = yield* interleaved({
      one: drained(1, 25_000),
      ten: drained(10, 25_000),
      hundred: drained(100, 25_000),
      cut: drained(10, BUDGET)
    })
    const after = (runs: typeof one): ReadonlyArray<number> => runs.map(({ afterLast }) => afterLast)
    return [
      figureOf("SIGTERM with 1 live turn: exit after its end, delivered", "ms", after(one)),
      figureOf("SIGTERM with 10 live turns: exit after the last one's end, all delivered", "ms", after(ten)),
      figureOf("SIGTERM with 100 live turns: exit after the last one's end, all delivered", "ms", after(hundred)),
      figureOf(
        "SIGTERM with 10 turns that outlast a budget of 2 s, all released",
        "ms",
        cut.map(({ took }) => took),
        { below: BUDGET + 2_000 + 3_000 }
      )
    ]
  }).pipe(Effect.runPromise)
