import { Effect } from "effect"
import type { Clock } from "effect"

/** Whole milliseconds on a clock that nobody sets: for how long something is waited for, never for when it was. */
export const monotonicMillisUnsafe = (clock: Clock.Clock): number =>
  Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)

/** As monotonicMillisUnsafe, of the fiber's clock. */
export const monotonicMillis: Effect.Effect<number> = Effect.clockWith((clock) =>
  Effect.sync(() => monotonicMillisUnsafe(clock))
)
