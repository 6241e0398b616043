/** A duration in milliseconds for people, e.g. "87 ms" and "2.5 s". */
export const durationText = (millis: number): string =>
  millis < 1_000 ? `${Math.round(millis)} ms` : `${(millis / 1_000).toFixed(1)} s`
