/** A count that was asked for: the usual one when nothing was said, never below 1 or above the most. */
export const bounded = (given: number | undefined, fallback: number, max: number): number =>
  given === undefined || !Number.isFinite(given) ? fallback : Math.max(1, Math.min(max, Math.floor(given)))
