/** The bounds of a backoff, in milliseconds. */
export interface BackoffBounds {
  readonly baseMillis: number
  readonly maxMillis: number
}

/** The longest wait after `failures` consecutive failures: the base doubled with each, capped. */
export const backoffCeiling = ({ baseMillis, maxMillis }: BackoffBounds, failures: number): number =>
  Math.min(maxMillis, baseMillis * 2 ** Math.min(Math.max(failures - 1, 0), 40))

/** Full jitter: a wait anywhere up to the ceiling, `random` in [0, 1), never under a tenth of the base. */
export const backoffMillis = (bounds: BackoffBounds, failures: number, random: number): number =>
  Math.max(Math.round(bounds.baseMillis / 10), Math.round(backoffCeiling(bounds, failures) * random))
