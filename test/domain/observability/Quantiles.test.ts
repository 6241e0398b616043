import { assert, describe, it } from "@effect/vitest"
import { durationBounds, noDurations, quantile, withDuration } from "../../../src/domain/observability/Quantiles.ts"

const counted = (...seconds: ReadonlyArray<number>) => seconds.reduce(withDuration, noDurations)

describe("a quantile of counted durations", () => {
  it("is null without durations", () => {
    assert.isNull(quantile(noDurations, 0.5, 0))
  })

  it("is within the bucket of the true quantile, and never longer than the longest duration", () => {
    const seconds = Array.from({ length: 100 }, (_, index) => 0.07 * (index + 1))
    const buckets = counted(...seconds)
    for (const share of [0.01, 0.5, 0.9, 0.95, 1]) {
      const exact = seconds[Math.ceil(share * 100) - 1]!
      const to = durationBounds.find((bound) => bound >= exact)!
      const from = durationBounds.findLast((bound) => bound < exact) ?? 0
      const found = quantile(buckets, share, 7)!
      assert.isAtLeast(found, from)
      assert.isAtMost(found, Math.min(7, to))
    }
  })

  it("interpolates between the bounds of a bucket", () => {
    const buckets = counted(11, 12, 13, 14)
    assert.strictEqual(quantile(buckets, 0.5, 14), 14)
    assert.strictEqual(quantile(buckets, 0.5, 30), 20)
    assert.strictEqual(quantile(buckets, 1, 30), 30)
  })

  it("of durations beyond the last bound is between it and the longest", () => {
    const buckets = counted(1_000, 2_000)
    assert.strictEqual(quantile(buckets, 1, 2_000), 2_000)
    assert.strictEqual(quantile(buckets, 0.5, 2_000), 1_450)
  })
})
