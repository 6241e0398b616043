/** The goal of a figure: below a bound, or at least a bound. */
export type Goal = { readonly below: number } | { readonly atLeast: number }

/** A measured figure: the median and spread of its samples, and its goal. */
export type Figure = {
  readonly name: string
  readonly unit: string
  readonly median: number
  readonly spread: readonly [least: number, most: number]
  readonly goal?: Goal
  /** Number of samples. */
  readonly samples?: number
}

/** The value below which that share of the samples is. */
export const percentile = (samples: ReadonlyArray<number>, share: number): number => {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

/** The median; for an even number of samples the mean of the two in the middle. */
export const medianOf = (samples: ReadonlyArray<number>): number => {
  const sorted = samples.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2
}

/** Makes a figure of these samples. */
export const figureOf = (name: string, unit: string, samples: ReadonlyArray<number>, goal?: Goal): Figure => ({
  name,
  unit,
  median: medianOf(samples),
  spread: [Math.min(...samples), Math.max(...samples)],
  samples: samples.length,
  ...(goal === undefined ? {} : { goal })
})

/** Whether the median meets the figure's goal; null without a goal. NaN never meets a goal. */
export const isMet = ({ goal, median }: Figure): boolean | null => {
  if (goal === undefined) return null
  return "below" in goal ? median < goal.below : median >= goal.atLeast
}
