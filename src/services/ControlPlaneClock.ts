import { Clock, Effect } from "effect"
import { monotonicMillisUnsafe } from "../domain/observability/Monotonic.ts"

/** The control plane's clock, estimated from its answers. All times in its calls are by this clock. */
export interface ControlPlaneClock {
  /** Notes the time in an answer that has just arrived, epoch milliseconds. */
  readonly note: (now: number) => Effect.Effect<void>
  /** The control plane's time in `millis` milliseconds from now, epoch milliseconds. */
  readonly after: (millis: number) => Effect.Effect<number>
}

/** A clock that shows this machine's time until the first answer. */
export const makeControlPlaneClock: Effect.Effect<ControlPlaneClock> = Effect.map(Clock.Clock, (clock) => {
  // An offset from the monotonic clock, so that changes of this machine's time have no effect.
  let offset = clock.currentTimeMillisUnsafe() - monotonicMillisUnsafe(clock)
  return {
    note: (now) => Effect.sync(() => void (offset = now - monotonicMillisUnsafe(clock))),
    after: (millis) => Effect.sync(() => Math.round(monotonicMillisUnsafe(clock) + offset + millis))
  }
})
