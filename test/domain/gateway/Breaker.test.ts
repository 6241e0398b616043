import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import {
  admitted,
  allowance,
  atTime,
  closed,
  onCompleted,
  onClaimed,
  onInconclusive,
  onReady,
  onSharedFailure,
  opensIn
} from "../../../src/domain/gateway/Breaker.ts"
import type { Breaker } from "../../../src/domain/gateway/Breaker.ts"

const open: Breaker = { _tag: "Open", until: 30_000, waitMillis: 30_000 }
const halfOpen: Breaker = { _tag: "HalfOpen", probes: [], heldUntil: null, waitMillis: 30_000 }
const probing: Breaker & { readonly _tag: "HalfOpen" } = {
  _tag: "HalfOpen",
  probes: [7],
  heldUntil: 60_000,
  waitMillis: 30_000
}

describe("a closed breaker", () => {
  it("lets everything through", () => {
    assert.strictEqual(allowance(closed), Number.POSITIVE_INFINITY)
    assert.strictEqual(admitted(closed, 1), Number.POSITIVE_INFINITY)
    assert.strictEqual(onClaimed(closed, 1, 0), closed)
    assert.strictEqual(onReady(closed), closed)
    assert.isNull(opensIn(closed, 0))
    assert.strictEqual(atTime(closed, 1e15), closed)
  })

  it("opens for 30 s at the fifth shared failure in a row", () => {
    let breaker: Breaker = closed
    for (const failures of [1, 2, 3, 4]) {
      breaker = onSharedFailure(breaker, 1, 0)
      assert.deepStrictEqual(breaker, { _tag: "Closed", failures })
    }
    assert.deepStrictEqual(onSharedFailure(breaker, 1, 1_000), { _tag: "Open", until: 31_000, waitMillis: 30_000 })
  })

  it("counts from 0 after a completed round, and ignores inconclusive ends", () => {
    const four: Breaker = { _tag: "Closed", failures: 4 }
    assert.strictEqual(onCompleted(four, 1), closed)
    assert.strictEqual(onInconclusive(four, 1), four)
  })
})

describe("an open breaker", () => {
  it("lets nothing through before its time, then is half open", () => {
    assert.strictEqual(allowance(open), 0)
    assert.strictEqual(admitted(open, 1), 0)
    assert.strictEqual(atTime(open, 29_999), open)
    assert.strictEqual(opensIn(open, 29_000), 1_000)
    assert.deepStrictEqual(atTime(open, 30_000), halfOpen)
  })

  it("lets a probe through at once when the gateway is ready again, and then waits as at first", () => {
    const long: Breaker = { _tag: "Open", until: 300_000, waitMillis: 300_000 }
    const ready = onReady(long)
    assert.strictEqual(allowance(ready), 1)
    assert.deepStrictEqual(onSharedFailure(onClaimed(ready, 7, 0), 7, 0), open)
  })

  it("ignores late failures", () => {
    assert.strictEqual(onSharedFailure(open, 1, 10_000), open)
    assert.strictEqual(onInconclusive(open, 1), open)
    assert.strictEqual(onClaimed(open, 1, 0), open)
  })

  it("is closed by a round that is completed late: gateway and provider work", () => {
    assert.strictEqual(onCompleted(open, 1), closed)
  })
})

describe("a half-open breaker", () => {
  it("lets one probe through, and another when it has run for a minute", () => {
    assert.strictEqual(allowance(halfOpen), 1)
    assert.strictEqual(admitted(halfOpen, 6), 0)
    assert.deepStrictEqual(onClaimed(halfOpen, 7, 0), probing)
    assert.strictEqual(allowance(probing), 0)
    assert.strictEqual(admitted(probing, 7), 1)
    assert.strictEqual(admitted(probing, 8), 0)
    assert.strictEqual(onClaimed(probing, 8, 0), probing)
    assert.strictEqual(opensIn(probing, 20_000), 40_000)
    assert.strictEqual(atTime(probing, 59_999), probing)
    const later = atTime(probing, 60_000)
    assert.strictEqual(allowance(later), 1)
    assert.isNull(opensIn(later, 60_000))
    const both = onClaimed(later, 8, 60_000)
    assert.strictEqual(allowance(both), 0)
    assert.strictEqual(onCompleted(both, 7), closed)
    assert.strictEqual(onCompleted(both, 8), closed)
  })

  it("lets another probe through at once when the gateway is ready again", () => {
    const ready = onReady(probing)
    assert.strictEqual(allowance(ready), 1)
    assert.strictEqual(onSharedFailure(ready, 7, 0), ready)
  })

  it("lets the next probe through after an inconclusive one", () => {
    assert.deepStrictEqual(onInconclusive(probing, 7), halfOpen)
  })

  it("opens again for twice as long when the probe fails, at most for 5 min", () => {
    assert.deepStrictEqual(onSharedFailure(probing, 7, 0), { _tag: "Open", until: 60_000, waitMillis: 60_000 })
    assert.deepStrictEqual(onSharedFailure({ ...probing, waitMillis: 240_000 }, 7, 0), {
      _tag: "Open",
      until: 300_000,
      waitMillis: 300_000
    })
  })

  it("closes with the probe's first completed round", () => {
    assert.strictEqual(onCompleted(probing, 7), closed)
  })

  it("ignores the end of a turn that is not its probe", () => {
    for (const other of [6, null]) {
      for (const breaker of [halfOpen, probing]) {
        assert.strictEqual(onInconclusive(breaker, other), breaker)
        assert.strictEqual(onSharedFailure(breaker, other, 0), breaker)
        assert.strictEqual(onCompleted(breaker, other), breaker)
      }
    }
  })
})

/** Ends the `run`th of the turns under way, counted around. */
const ends = { run: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000 })) }

const Step = Schema.Union([
  Schema.Struct({ _tag: Schema.tag("Claimed") }),
  Schema.Struct({ _tag: Schema.tag("Claimed") }),
  Schema.Struct({ _tag: Schema.tag("Completed"), ...ends }),
  Schema.Struct({ _tag: Schema.tag("Failed"), ...ends }),
  // More often than the others, or few sequences would open the breaker.
  Schema.Struct({ _tag: Schema.tag("Failed"), ...ends }),
  Schema.Struct({ _tag: Schema.tag("Failed"), ...ends }),
  Schema.Struct({ _tag: Schema.tag("Inconclusive"), ...ends }),
  Schema.Struct({
    _tag: Schema.tag("Passed"),
    millis: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 400_000 }))
  })
])

describe("any sequence of events", () => {
  it.prop(
    "keeps the breaker in its bounds: five failures to open, waits of 30 s to 5 min, one probe a minute",
    { steps: Arbitrary.array(Arbitrary.schema(Step), { minLength: 30, maxLength: 120 }) },
    ({ steps }) => {
      // Many turns run when the story begins; they end at any time, also while a probe runs.
      const running = [...Array.from({ length: 12 }).keys()]
      let claims = running.length
      let breaker: Breaker = closed
      let now = 0
      let failuresInARow = 0
      /** The turns that were let through a half-open breaker and have not ended, and when the next one may be. */
      const probes = new Set<number>()
      let nextProbeAt = 0
      for (const step of steps) {
        const before: Breaker = atTime(breaker, now)
        breaker = before
        if (step._tag === "Passed") {
          now += step.millis
          breaker = atTime(breaker, now)
        } else if (step._tag === "Claimed") {
          const admission = (claims += 1)
          if (allowance(before) === 0) continue
          breaker = onClaimed(before, admission, now)
          running.push(admission)
          if (before._tag === "HalfOpen") {
            probes.add(admission)
            assert.isAtLeast(now, nextProbeAt)
            nextProbeAt = now + 60_000
          }
        } else {
          const [admission] = running.splice(step.run % Math.max(1, running.length), 1)
          if (admission === undefined) continue
          const isProbe = probes.delete(admission)
          if (step._tag === "Completed") breaker = onCompleted(before, admission)
          if (step._tag === "Failed") breaker = onSharedFailure(before, admission, now)
          if (step._tag === "Inconclusive") breaker = onInconclusive(before, admission)
          if (isProbe) nextProbeAt = 0
          if (breaker._tag !== "HalfOpen") probes.clear()
          if (before._tag === "HalfOpen" && !isProbe) assert.strictEqual(breaker, before)
          if (before._tag === "Closed" && step._tag === "Failed") failuresInARow += 1
          if (breaker._tag === "Closed" && step._tag === "Completed") failuresInARow = 0
        }
        if (breaker._tag === "Closed") {
          assert.isBelow(breaker.failures, 5)
          assert.strictEqual(breaker.failures, failuresInARow)
        } else {
          assert.strictEqual(failuresInARow, 5)
          assert.isAtLeast(breaker.waitMillis, 30_000)
          assert.isAtMost(breaker.waitMillis, 300_000)
        }
        if (breaker._tag === "Open") {
          assert.isAbove(breaker.until, now)
          assert.isAtMost(breaker.until - now, 300_000)
        }
      }
      // Whatever happened, time opens the way again.
      assert.isAtLeast(allowance(atTime(breaker, now + 300_000)), 1)
    },
    { arbitrary: { runs: 500, size: 200 } }
  )
})
