/** Quantiles of durations that are counted in buckets, as a histogram of Prometheus counts them. */

/** The upper bounds of the buckets in seconds; one more bucket counts longer durations. */
export const durationBounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900] as const

/** The number of durations in each bucket, the bucket of the longest ones last. */
export type Buckets = ReadonlyArray<number>

export const noDurations: Buckets = Array.from({ length: durationBounds.length + 1 }, () => 0)

/** The buckets with one more duration. */
export const withDuration = (buckets: Buckets, seconds: number): Buckets => {
  const found = durationBounds.findIndex((bound) => seconds <= bound)
  return buckets.with(found < 0 ? durationBounds.length : found, buckets.at(found)! + 1)
}

/**
 * The quantile in seconds, interpolated within its bucket, at most `longest`; null without durations. It is exact only
 * at the bounds of a bucket.
 */
export const quantile = (buckets: Buckets, share: number, longest: number): number | null => {
  const count = buckets.reduce((sum, each) => sum + each, 0)
  if (count === 0) return null
  const rank = share * count
  let before = 0
  for (const [index, inside] of buckets.entries()) {
    if (inside > 0 && before + inside >= rank) {
      const from = durationBounds[index - 1] ?? 0
      const to = durationBounds[index] ?? longest
      return Math.min(longest, from + ((to - from) * (rank - before)) / inside)
    }
    before += inside
  }
  return longest
}
