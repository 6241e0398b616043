import { medianOf } from "../figure.ts"

/** One quantity over the soak: its first and last value, its growth, and whether it is flat. */
export type Trend = {
  readonly name: string
  readonly unit: string
  readonly first: number
  readonly last: number
  /** Growth an hour. */
  readonly slope: number
  /** The maximum growth an hour that counts as flat. */
  readonly limit: number
  readonly isFlat: boolean
}

/** The median of the slopes between all pairs (Theil and Sen), which a short peak does not change. */
export const slopeOf = (points: ReadonlyArray<readonly [at: number, value: number]>): number =>
  medianOf(
    points.flatMap(([at, value], index) =>
      points.slice(index + 1).map(([later, after]) => (after - value) / (later - at))
    )
  )

/** The trend of a quantity; `at` is in seconds. The first fifth is warm-up: code is compiled and pools fill. */
export const trendOf = (
  name: string,
  unit: string,
  limit: number,
  points: ReadonlyArray<readonly [at: number, value: number]>
): Trend => {
  const kept = points.slice(Math.floor(points.length / 5))
  const tenth = Math.max(1, Math.floor(kept.length / 10))
  const valuesOf = (some: typeof kept): ReadonlyArray<number> => some.map(([, value]) => value)
  const slope = slopeOf(kept) * 3_600
  return {
    name,
    unit,
    first: medianOf(valuesOf(kept.slice(0, tenth))),
    last: medianOf(valuesOf(kept.slice(-tenth))),
    slope,
    limit,
    isFlat: slope <= limit
  }
}
