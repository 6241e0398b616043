/** How long after a person requests a pause the gateway still gets new turns, while messages continue. */
import { Effect } from "effect"
import { makeSetup } from "../test/process/setup.ts"
import { figureOf } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { arrivalsByAgent, forgetArrivals, now, pushed, tasksFor, teamOf } from "./load.ts"
import { RUNS } from "./runs.ts"

const AGENTS = 10
/** Milliseconds between two messages. */
const PACE = 50
const BEFORE = 1_000
const AFTER = 2_000

/** Runs the measurement: one runtime, paused and resumed during a stream of messages. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const setup = yield* makeSetup({ team: teamOf(AGENTS) })
    const { accountId } = setup.account
    yield* setup.script({ fallback: { text: "Noted." } })
    const runtime = yield* setup.startRuntime({ LOG_LEVEL: "error" })
    yield* pushed(setup, runtime)
    const tasks = yield* tasksFor(setup, AGENTS)
    const ask = (what: string) => Effect.promise(() => setup.person.mutation(`app/runtimes:${what}`, { accountId }))
    const samples: Array<number> = []
    for (let run = 0; run < RUNS; run++) {
      yield* forgetArrivals(setup)
      const begin = now()
      const stream = Effect.forEach(
        Array.from({ length: (BEFORE + AFTER) / PACE }, (_, index) => index),
        (index) =>
          Effect.andThen(
            Effect.sleep(Math.max(0, begin + index * PACE - now())),
            setup.post(tasks[index % AGENTS]!, `@agent-${index % AGENTS} message ${index}.`)
          ),
        { concurrency: "unbounded", discard: true }
      )
      const pause = Effect.gen(function* () {
        yield* Effect.sleep(BEFORE)
        const asked = now()
        yield* ask("pause")
        return asked
      })
      const [asked] = yield* Effect.all([pause, stream], { concurrency: 2 })
      const arrivals = [...(yield* arrivalsByAgent(setup)).values()].flat().map(({ at }) => at)
      if (!arrivals.some((at) => at < asked)) throw new Error("nothing was delivered before the pause")
      const waiting = (yield* setup.notifications).filter(({ state }) => state === "ready").length
      if (waiting === 0) throw new Error("nothing waited during the pause")
      samples.push(Math.max(0, Math.max(...arrivals) - asked))
      yield* ask("resume")
      yield* Effect.repeat(setup.notifications, {
        until: (rows) => rows.every(({ state }) => state !== "ready" && state !== "claimed")
      })
    }
    return [figureOf("pause asked for to the last new turn, 20 messages a second", "ms", samples, { below: 100 })]
  }).pipe(Effect.scoped, Effect.runPromise)
