/** A count that was asked for: the usual one when nothing was said, never below 1 or above the most. */
export const bounded = (given: number | undefined, usual: number, most: number): number =>
  given === undefined || !Number.isFinite(given) ? usual : Math.max(1, Math.min(most, Math.floor(given)))
