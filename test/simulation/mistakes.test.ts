import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { plantedMistakes } from "./plantedMistakes.ts"
import { simulate } from "./simulation.ts"
import type { Options } from "./simulation.ts"

const inItsOwnTime = (seed: number, options: Options) => Effect.provide(simulate(seed, options), TestClock.layer())

/** More seeds than any of the mistakes needs. */
const SEEDS = 80

describe("the simulation notices", () => {
  for (const mistake of plantedMistakes) {
    it.live(
      `${mistake.name}, which breaks ${mistake.breaks}`,
      () =>
        Effect.gen(function* () {
          const withoutIt: Options = mistake.profile === undefined ? {} : { profile: mistake.profile }
          for (let seed = 1; seed <= SEEDS; seed += 1) {
            const { violations } = yield* inItsOwnTime(seed, mistake)
            // A mistake may show by another invariant first: what is looked for is the one that it breaks.
            if (!violations.some(({ invariant }) => invariant === mistake.breaks)) continue
            // Without the mistake the same seed holds: it was the mistake that was seen.
            assert.deepStrictEqual((yield* inItsOwnTime(seed, withoutIt)).violations, [])
            return
          }
          assert.fail(`not noticed within ${SEEDS} seeds`)
        }),
      240_000
    )
  }
})
