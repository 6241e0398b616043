/** What a figure should reach: `below` a bound, or at least so much. */
export type Goal = { readonly below: number } | { readonly atLeast: number }

/** One measured figure: the median of its samples and how far they lie apart, beside what it should reach. */
export type Figure = {
  readonly name: string
  readonly unit: string
  readonly median: number
  readonly spread: readonly [least: number, most: number]
  readonly goal?: Goal
  /** How many samples the median is of. */
  readonly samples?: number
}

/** The value below which that share of the samples lies. */
export const percentile = (samples: ReadonlyArray<number>, share: number): number => {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

/** The middle of the samples; of an even number the mean of the two in the middle. */
export const medianOf = (samples: ReadonlyArray<number>): number => {
  const sorted = samples.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2
}

/** A figure of these samples. */
export const figureOf = (name: string, unit: string, samples: ReadonlyArray<number>, goal?: Goal): Figure => ({
  name,
  unit,
  median: medianOf(samples),
  spread: [Math.min(...samples), Math.max(...samples)],
  samples: samples.length,
  ...(goal === undefined ? {} : { goal })
})

/** Whether the median reaches the figure's goal; null without one. A figure that is no number reaches none. */
export const isMet = ({ goal, median }: Figure): boolean | null => {
  if (goal === undefined) return null
  return "below" in goal ? median < goal.below : median >= goal.atLeast
}
