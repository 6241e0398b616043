import { Effect } from "effect"

/** Number of runs of each mode; five, so that the median is useful on a busy machine. */
export const RUNS = Number(process.env["BENCH_RUNS"] ?? 5)

/** Duration of one run of a mode in seconds; BENCH_SECONDS changes all of them. */
export const secondsOf = (standard: number): number => Number(process.env["BENCH_SECONDS"] ?? standard)

/**
 * Measures the modes one after another, RUNS times, so that a slow minute of the machine affects all of them. Every
 * second round runs in reverse order, so that no mode of a pair always runs first.
 */
export const interleaved = <Mode extends string, A, E, R>(
  modes: Readonly<Record<Mode, Effect.Effect<A, E, R>>>,
  rounds = RUNS
): Effect.Effect<Record<Mode, ReadonlyArray<A>>, E, R> =>
  Effect.gen(function* () {
    const names = Object.keys(modes) as Array<Mode>
    const results = Object.fromEntries(names.map((name) => [name, [] as Array<A>])) as Record<Mode, Array<A>>
    for (let round = 0; round < rounds; round++) {
      for (const name of round % 2 === 0 ? names : names.toReversed()) results[name].push(yield* modes[name])
    }
    return results
  })
