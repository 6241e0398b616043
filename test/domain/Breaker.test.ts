import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import {
  allowance,
  atTime,
  closed,
  onAnswered,
  onClaimed,
  onInconclusive,
  onSharedFailure
} from "../../src/domain/Breaker.ts"
import type { Breaker } from "../../src/domain/Breaker.ts"

const open: Breaker = { _tag: "Open", until: 30_000, waitMillis: 30_000 }
const halfOpen: Breaker = { _tag: "HalfOpen", isProbing: false, waitMillis: 30_000 }
const probing: Breaker = { _tag: "HalfOpen", isProbing: true, waitMillis: 30_000 }

describe("a closed breaker", () => {
  it("lets everything through", () => {
    assert.strictEqual(allowance(closed), Number.POSITIVE_INFINITY)
    assert.strictEqual(onClaimed(closed), closed)
    assert.strictEqual(atTime(closed, 1e15), closed)
  })

  it("opens for 30 s at the fifth shared failure in a row", () => {
    let breaker: Breaker = closed
    for (const failures of [1, 2, 3, 4]) {
      breaker = onSharedFailure(breaker, 0)
      assert.deepStrictEqual(breaker, { _tag: "Closed", failures })
    }
    assert.deepStrictEqual(onSharedFailure(breaker, 1_000), { _tag: "Open", until: 31_000, waitMillis: 30_000 })
  })

  it("counts from nothing after an answer, and not what tells nothing", () => {
    const four: Breaker = { _tag: "Closed", failures: 4 }
    assert.strictEqual(onAnswered(), closed)
    assert.strictEqual(onInconclusive(four), four)
  })
})

describe("an open breaker", () => {
  it("lets nothing through before its time, then is half open", () => {
    assert.strictEqual(allowance(open), 0)
    assert.strictEqual(atTime(open, 29_999), open)
    assert.deepStrictEqual(atTime(open, 30_000), halfOpen)
  })

  it("is not moved by what ends late", () => {
    assert.strictEqual(onSharedFailure(open, 10_000), open)
    assert.strictEqual(onInconclusive(open), open)
    assert.strictEqual(onClaimed(open), open)
  })
})

describe("a half-open breaker", () => {
  it("lets one probe through at a time", () => {
    assert.strictEqual(allowance(halfOpen), 1)
    assert.deepStrictEqual(onClaimed(halfOpen), probing)
    assert.strictEqual(allowance(probing), 0)
    assert.strictEqual(atTime(probing, 1e15), probing)
  })

  it("lets the next probe through when one told nothing", () => {
    assert.deepStrictEqual(onInconclusive(probing), halfOpen)
  })

  it("opens again for twice as long when the probe fails, at most for 5 min", () => {
    assert.deepStrictEqual(onSharedFailure(probing, 0), { _tag: "Open", until: 60_000, waitMillis: 60_000 })
    assert.deepStrictEqual(onSharedFailure({ ...probing, waitMillis: 240_000 }, 0), {
      _tag: "Open",
      until: 300_000,
      waitMillis: 300_000
    })
  })
})

const Step = Schema.Union([
  Schema.Struct({ _tag: Schema.tag("Claimed") }),
  Schema.Struct({ _tag: Schema.tag("Answered") }),
  Schema.Struct({ _tag: Schema.tag("Failed") }),
  // More often than the others, or few sequences would open the breaker.
  Schema.Struct({ _tag: Schema.tag("Failed") }),
  Schema.Struct({ _tag: Schema.tag("Failed") }),
  Schema.Struct({ _tag: Schema.tag("Inconclusive") }),
  Schema.Struct({
    _tag: Schema.tag("Passed"),
    millis: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 400_000 }))
  })
])

describe("any sequence of events", () => {
  it.prop(
    "keeps the breaker in its bounds: five failures to open, waits of 30 s to 5 min, one probe at a time",
    { steps: Arbitrary.array(Arbitrary.schema(Step), { minLength: 20, maxLength: 80 }) },
    ({ steps }) => {
      let breaker: Breaker = closed
      let now = 0
      let failuresInARow = 0
      let probes = 0
      for (const step of steps) {
        const before: Breaker = atTime(breaker, now)
        breaker = before
        switch (step._tag) {
          case "Passed":
            now += step.millis
            breaker = atTime(breaker, now)
            break
          case "Claimed":
            if (allowance(before) === 0) break
            breaker = onClaimed(before)
            if (before._tag === "HalfOpen") probes += 1
            break
          case "Answered":
            breaker = onAnswered()
            failuresInARow = 0
            probes = 0
            break
          case "Failed":
            breaker = onSharedFailure(before, now)
            failuresInARow += 1
            probes = 0
            break
          case "Inconclusive":
            breaker = onInconclusive(before)
            probes = 0
            break
        }
        assert.isAtMost(probes, 1)
        if (breaker._tag === "Closed") {
          assert.isBelow(breaker.failures, 5)
          assert.strictEqual(breaker.failures, failuresInARow)
        } else {
          assert.isAtLeast(failuresInARow, 5)
          assert.isAtLeast(breaker.waitMillis, 30_000)
          assert.isAtMost(breaker.waitMillis, 300_000)
        }
        if (breaker._tag === "Open") {
          assert.isAbove(breaker.until, now)
          assert.isAtMost(breaker.until - now, 300_000)
        }
      }
      // Whatever happened, time opens the way again.
      assert.isAtLeast(allowance(onInconclusive(atTime(breaker, now + 300_000))), 1)
    },
    { arbitrary: { runs: 500, size: 200 } }
  )
})
