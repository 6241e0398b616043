import { Duration, Effect, Random, Schedule } from "effect"

/** The bounds of a backoff, in milliseconds. */
export interface BackoffBounds {
  readonly baseMillis: number
  readonly maxMillis: number
}

/** The configured bounds, for runs and claims. */
export const backoffBounds = (config: {
  readonly deliveryBackoffBase: Duration.Duration
  readonly deliveryBackoffMax: Duration.Duration
}): BackoffBounds => ({
  baseMillis: Duration.toMillis(config.deliveryBackoffBase),
  maxMillis: Duration.toMillis(config.deliveryBackoffMax)
})

/** The maximum wait after `failures` consecutive failures: the base doubled with each failure, up to a limit. */
export const backoffCeiling = ({ baseMillis, maxMillis }: BackoffBounds, failures: number): number =>
  Math.min(maxMillis, baseMillis * 2 ** Math.min(Math.max(failures - 1, 0), 40))

/** A wait with full jitter: a random time up to the ceiling, at least a tenth of the base. `random` is in [0, 1). */
export const backoffMillis = (bounds: BackoffBounds, failures: number, random: number): number =>
  Math.max(Math.round(bounds.baseMillis / 10), Math.round(backoffCeiling(bounds, failures) * random))

/** Retries without limit, with full jitter up to a ceiling that doubles. A success resets it. */
export const backoffSchedule = (bounds: BackoffBounds) =>
  Schedule.recurs(Number.MAX_SAFE_INTEGER).pipe(
    Schedule.modifyDelay(({ output }) =>
      Effect.map(Random.next, (random) => Duration.millis(backoffMillis(bounds, output + 1, random)))
    )
  )
