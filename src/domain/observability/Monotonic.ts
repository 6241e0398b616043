import { Effect } from "effect"
import type { Clock } from "effect"

/** Whole milliseconds of a monotonic clock, for durations only. */
export const monotonicMillisUnsafe = (clock: Clock.Clock): number =>
  Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)

/** The same by the fiber's clock. */
export const monotonicMillis: Effect.Effect<number> = Effect.clockWith((clock) =>
  Effect.sync(() => monotonicMillisUnsafe(clock))
)
