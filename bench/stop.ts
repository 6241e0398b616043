/** How long an idle runtime takes from SIGTERM to its exit, including the report that it is offline. */
import { Effect } from "effect"
import { makeSetup } from "../test/process/setup.ts"
import { figureOf } from "./figure.ts"
import type { Figure } from "./figure.ts"
import { pushed } from "./load.ts"
import { RUNS } from "./runs.ts"

/** Runs the measurement: the same account, one runtime after another. */
export const run = (): Promise<ReadonlyArray<Figure>> =>
  Effect.gen(function* () {
    const setup = yield* makeSetup()
    const samples: Array<number> = []
    for (let index = 0; index < RUNS; index++) {
      const took = yield* Effect.gen(function* () {
        const runtime = yield* setup.startRuntime({ LOG_LEVEL: "error" })
        yield* pushed(setup, runtime)
        const from = performance.now()
        yield* runtime.signal("SIGTERM")
        yield* runtime.exit
        return performance.now() - from
      }).pipe(Effect.scoped)
      samples.push(took)
    }
    return [figureOf("SIGTERM idle to exit", "ms", samples, { below: 300 })]
  }).pipe(Effect.scoped, Effect.runPromise)
