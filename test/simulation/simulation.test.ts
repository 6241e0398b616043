import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { simulate } from "./simulation.ts"
import type { Report } from "./simulation.ts"

/** What went wrong in a run, and how to see it again. */
const describeViolations = ({ seed, violations }: Report): ReadonlyArray<string> =>
  violations.map(
    ({ at, detail, invariant }) => `${invariant} at ${at} ms: ${detail} (npm run simulate -- --seed ${seed})`
  )

/** Each seed has a clock of its own that starts at 0. */
const inItsOwnTime = (seed: number) => Effect.provide(simulate(seed), TestClock.layer())

describe("the runtime in a world where everything fails", () => {
  for (const first of [1, 51, 101, 151]) {
    it.live(
      `keeps every invariant, seeds ${first} to ${first + 49}`,
      () =>
        Effect.gen(function* () {
          let rows = 0
          for (let seed = first; seed < first + 50; seed += 1) {
            const report = yield* inItsOwnTime(seed)
            assert.deepStrictEqual(describeViolations(report), [])
            rows += report.rows
          }
          // A world may begin with its only task archived, and have heartbeats alone; fifty have work.
          assert.isAbove(rows, 1_000)
        }),
      240_000
    )
  }

  it.live("replays a seed to the same history, and another seed to another", () =>
    Effect.gen(function* () {
      const once = yield* inItsOwnTime(1_009)
      const again = yield* inItsOwnTime(1_009)
      const other = yield* inItsOwnTime(1_010)
      assert.strictEqual(again.digest, once.digest)
      assert.notStrictEqual(other.digest, once.digest)
    })
  )
})
