import { Effect } from "effect"
import { StopSignal } from "../services/Lifecycle.ts"

/** A command that is no service ends at the first signal; only `start` has something to drain. */
export const untilStopped = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A | void, E, R> =>
  Effect.flatMap(StopSignal, (stopped) => Effect.raceFirst(effect, stopped))
