/** One measured figure: the median of its samples and how far they lie apart. */
export type Figure = {
  readonly name: string
  readonly unit: string
  readonly median: number
  readonly spread: readonly [least: number, most: number]
}

/** The value below which that share of the samples lies. */
export const percentile = (samples: ReadonlyArray<number>, share: number): number => {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

/** A figure of these samples. */
export const figureOf = (name: string, unit: string, samples: ReadonlyArray<number>): Figure => ({
  name,
  unit,
  median: percentile(samples, 0.5),
  spread: [Math.min(...samples), Math.max(...samples)]
})
