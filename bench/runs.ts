import { Effect } from "effect"

/** How often each mode is measured; five, so that a median means something on a machine that does other things too. */
export const RUNS = Number(process.env["BENCH_RUNS"] ?? 5)

/** How long one run of a mode goes on, in seconds; BENCH_SECONDS shortens or lengthens all of them. */
export const secondsOf = (standard: number): number => Number(process.env["BENCH_SECONDS"] ?? standard)

/**
 * Measures the modes one after another, RUNS times over, so that a slow minute of the machine meets all of them. Every
 * second round goes backwards: what runs first in a pair is not always the same.
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
