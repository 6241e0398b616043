import { Effect } from "effect"
import { StopSignal } from "../services/Lifecycle.ts"

/** Ends the command at the first signal. Only `start` drains. */
export const untilStopped = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A | void, E, R> =>
  Effect.flatMap(StopSignal, (stopped) => Effect.raceFirst(effect, stopped))
