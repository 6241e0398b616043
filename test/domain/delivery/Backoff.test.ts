import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { backoffCeiling, backoffMillis } from "../../../src/domain/delivery/Backoff.ts"

const Bounds = Schema.Struct({
  baseMillis: Schema.Int.check(Schema.isBetween({ minimum: 1_000, maximum: 1_000_000 })),
  factor: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000 }))
})
const Failures = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 }))
const Chance = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 0.999999 }))
const boundsOf = ({ baseMillis, factor }: typeof Bounds.Type) => ({ baseMillis, maxMillis: baseMillis * factor })

describe("the backoff", () => {
  it("doubles from 5 s to its cap of 5 min", () => {
    const bounds = { baseMillis: 5_000, maxMillis: 300_000 }
    assert.deepStrictEqual(
      [1, 2, 3, 4, 5, 6, 7, 8, 1_000].map((failures) => backoffCeiling(bounds, failures)),
      [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]
    )
  })

  it("is spread over the whole range up to its ceiling", () => {
    const bounds = { baseMillis: 5_000, maxMillis: 300_000 }
    assert.strictEqual(backoffMillis(bounds, 3, 0), 500)
    assert.strictEqual(backoffMillis(bounds, 3, 0.5), 10_000)
    assert.strictEqual(backoffMillis(bounds, 3, 1), 20_000)
  })

  it.prop("never shrinks with one more failure and at most doubles", { Bounds, Failures }, ({ Bounds, Failures }) => {
    const bounds = boundsOf(Bounds)
    const now = backoffCeiling(bounds, Failures)
    const next = backoffCeiling(bounds, Failures + 1)
    assert.isAtLeast(next, now)
    assert.isAtMost(next, now * 2)
  })

  it.prop(
    "stays between a tenth of its base and its ceiling, which the cap bounds",
    { Bounds, Failures, Chance },
    ({ Bounds, Failures, Chance }) => {
      const bounds = boundsOf(Bounds)
      const wait = backoffMillis(bounds, Failures, Chance)
      assert.isAtLeast(wait, bounds.baseMillis / 10 - 1)
      assert.isAtMost(wait, backoffCeiling(bounds, Failures))
      assert.isAtMost(backoffCeiling(bounds, Failures), bounds.maxMillis)
      assert.isTrue(Number.isInteger(wait))
    }
  )
})
