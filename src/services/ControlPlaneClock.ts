import { Clock, Effect } from "effect"
import { monotonicMillisUnsafe } from "../domain/observability/Monotonic.ts"

/** The control plane's clock as its answers let us know it. Moments that are sent to it or come from it are in its time. */
export interface ControlPlaneClock {
  /** Notes the control plane's time of an answer that has just come, epoch milliseconds. */
  readonly note: (now: number) => Effect.Effect<void>
  /** The control plane's time in `millis` milliseconds from now, epoch milliseconds. */
  readonly after: (millis: number) => Effect.Effect<number>
}

/** A clock that shows this process's time of day until the first answer. */
export const makeControlPlaneClock: Effect.Effect<ControlPlaneClock> = Effect.map(Clock.Clock, (clock) => {
  // The offset from a clock that nobody sets: changes of this machine's time of day do not matter.
  let offset = clock.currentTimeMillisUnsafe() - monotonicMillisUnsafe(clock)
  return {
    note: (now) => Effect.sync(() => void (offset = now - monotonicMillisUnsafe(clock))),
    after: (millis) => Effect.sync(() => Math.round(monotonicMillisUnsafe(clock) + offset + millis))
  }
})
