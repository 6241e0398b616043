import { Duration, Effect, Random, Schedule } from "effect"

/** The bounds of a backoff, in milliseconds. */
export interface BackoffBounds {
  readonly baseMillis: number
  readonly maxMillis: number
}

/** The bounds as they are configured for runs and claims alike. */
export const backoffBounds = (config: {
  readonly deliveryBackoffBase: Duration.Duration
  readonly deliveryBackoffMax: Duration.Duration
}): BackoffBounds => ({
  baseMillis: Duration.toMillis(config.deliveryBackoffBase),
  maxMillis: Duration.toMillis(config.deliveryBackoffMax)
})

/** The longest wait after `failures` consecutive failures: the base doubled with each, capped. */
export const backoffCeiling = ({ baseMillis, maxMillis }: BackoffBounds, failures: number): number =>
  Math.min(maxMillis, baseMillis * 2 ** Math.min(Math.max(failures - 1, 0), 40))

/** Full jitter: a wait anywhere up to the ceiling, `random` in [0, 1), never under a tenth of the base. */
export const backoffMillis = (bounds: BackoffBounds, failures: number, random: number): number =>
  Math.max(Math.round(bounds.baseMillis / 10), Math.round(backoffCeiling(bounds, failures) * random))

/** Tries again without end, with full jitter over a doubling ceiling; a success starts it anew. */
export const backoffSchedule = (bounds: BackoffBounds) =>
  Schedule.recurs(Number.MAX_SAFE_INTEGER).pipe(
    Schedule.modifyDelay(({ output }) =>
      Effect.map(Random.next, (random) => Duration.millis(backoffMillis(bounds, output + 1, random)))
    )
  )
