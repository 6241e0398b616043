import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { expectedCells } from "./expectedCells.ts"
import { simulate, traceHash } from "./simulation.ts"
import type { Options, Report } from "./simulation.ts"

/** What went wrong in a run, and how to see it again. */
const describeViolations = ({ seed, violations }: Report): ReadonlyArray<string> =>
  violations.map(
    ({ at, detail, invariant }) => `${invariant} at ${at} ms: ${detail} (npm run simulate -- --seed ${seed})`
  )

/** Each seed has a clock of its own that starts at 0. */
const inItsOwnTime = (seed: number, options?: Options) => Effect.provide(simulate(seed, options), TestClock.layer())

interface Batch {
  readonly violations: ReadonlyArray<string>
  readonly coverage: ReadonlyMap<string, number>
  readonly rows: number
}

const batches = new Map<number, Batch>()

/** Fifty seeds, run once however often they are asked for. */
const batchFrom = Effect.fnUntraced(function* (first: number) {
  const known = batches.get(first)
  if (known !== undefined) return known
  const violations: Array<string> = []
  const coverage = new Map<string, number>()
  let rows = 0
  for (let seed = first; seed < first + 50 && violations.length === 0; seed += 1) {
    const report = yield* inItsOwnTime(seed)
    violations.push(...describeViolations(report))
    for (const [cell, times] of report.coverage) coverage.set(cell, (coverage.get(cell) ?? 0) + times)
    rows += report.rows
  }
  const batch: Batch = { violations, coverage, rows }
  batches.set(first, batch)
  return batch
})

const FIRSTS = [1, 51, 101, 151]

describe("the runtime in a world where everything fails", () => {
  for (const first of FIRSTS) {
    it.live(
      `keeps every invariant, seeds ${first} to ${first + 49}`,
      () =>
        Effect.gen(function* () {
          const { rows, violations } = yield* batchFrom(first)
          assert.deepStrictEqual(violations, [])
          // A world may begin with its only task archived, and have heartbeats alone; fifty have work.
          assert.isAbove(rows, 700)
        }),
      240_000
    )
  }

  it.live(
    "meets each fault at each step where it can strike, and each way in which a turn can end",
    () =>
      Effect.gen(function* () {
        const coverage = new Map<string, number>()
        for (const first of FIRSTS) {
          for (const [cell, times] of (yield* batchFrom(first)).coverage) {
            coverage.set(cell, (coverage.get(cell) ?? 0) + times)
          }
        }
        const missing = expectedCells.filter((cell) => (coverage.get(cell) ?? 0) === 0)
        assert.deepStrictEqual(missing, [])
      }),
    900_000
  )

  it.live("replays a seed to the same trace, and another seed to another", () =>
    Effect.gen(function* () {
      const traced = (seed: number) => Effect.map(inItsOwnTime(seed, { isTraced: true }), traceHash)
      const once = yield* traced(1_009)
      assert.strictEqual(yield* traced(1_009), once)
      assert.notStrictEqual(yield* traced(1_010), once)
    })
  )
})
