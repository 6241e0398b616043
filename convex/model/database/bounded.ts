/** The requested count, or the fallback if none was given, between 1 and `max`. */
export const bounded = (given: number | undefined, fallback: number, max: number): number =>
  given === undefined || !Number.isFinite(given) ? fallback : Math.max(1, Math.min(max, Math.floor(given)))
