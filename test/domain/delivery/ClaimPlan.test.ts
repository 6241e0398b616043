import { assert, describe, it } from "@effect/vitest"
import * as ClaimPlan from "../../../src/domain/delivery/ClaimPlan.ts"
import type { ClaimState, Situation } from "../../../src/domain/delivery/ClaimPlan.ts"
import type { ClaimAnswer } from "../../../src/domain/delivery/Run.ts"
import type { RunEnd } from "../../../src/domain/delivery/RunEnd.ts"

const situation: Situation = {
  now: 10_000,
  totalPermits: 8,
  freePermits: 8,
  allowance: Number.POSITIVE_INFINITY,
  opensInMillis: null,
  isAllowed: true
}
const answer: ClaimAnswer = {
  runs: [],
  spent: [],
  heldBack: 0,
  hasMore: false,
  hasMoreHeartbeats: false,
  nextDueAt: null,
  oldest: null,
  now: 500_000
}
const end: RunEnd = {
  kind: "notification",
  agent: "qa",
  outcome: "acted",
  error: null,
  isStored: true,
  dueInMillis: null
}
const wanted = ClaimPlan.wanted(ClaimPlan.initialState, "wake")
const plan = (state: ClaimState, changes: Partial<Situation> = {}) =>
  ClaimPlan.planClaim(state, { ...situation, ...changes })
const answered = (changes: Partial<ClaimAnswer & { hasUnreadable: boolean }>, state = wanted) =>
  ClaimPlan.answered(state, 10_000, 9_990, { ...answer, hasUnreadable: false, ...changes })

describe("a claim", () => {
  it("needs a reason, a runtime that may claim, a permit and the breaker's allowance", () => {
    assert.deepStrictEqual(plan(wanted), { _tag: "Claim", reason: "wake", limit: 8, heartbeatLimit: 2 })
    assert.deepStrictEqual(plan(ClaimPlan.initialState), { _tag: "Wait", millis: null })
    for (const missing of [{ isAllowed: false }, { freePermits: 0 }, { allowance: 0 }]) {
      assert.deepStrictEqual(plan(wanted, missing), { _tag: "Wait", millis: null })
    }
  })

  it("keeps its first reason until it is answered", () => {
    const state = ClaimPlan.failed(ClaimPlan.wanted(wanted, "poll"), 10_000, 5_000)
    assert.strictEqual(state.reason, "wake")
    assert.isNull(answered({}, state).reason)
  })

  it("recovers leases after a failed claim, a missing one or a restart, until an answer leaves nothing", () => {
    assert.isFalse(wanted.recoverUnnamed)
    const failed = ClaimPlan.failed(wanted, 10_000, 5_000)
    for (const state of [failed, ClaimPlan.wanted(wanted, "unnamed"), ClaimPlan.wanted(wanted, "restart")]) {
      assert.isTrue(state.recoverUnnamed)
      assert.isTrue(answered({ hasMore: true }, state).recoverUnnamed)
      assert.isFalse(answered({}, state).recoverUnnamed)
    }
    assert.isFalse(answered({ hasMore: true }).recoverUnnamed)
    assert.isTrue(answered({ hasUnreadable: true }).recoverUnnamed)
  })

  it("that failed is repeated after its delay, a second after the failure if the control plane answers others", () => {
    const state = ClaimPlan.failed(wanted, 9_500, 60_000)
    assert.deepStrictEqual(plan(state), { _tag: "Wait", millis: 59_500 })
    assert.deepStrictEqual(plan(ClaimPlan.controlPlaneAnswered(state)), { _tag: "Wait", millis: 500 })
    assert.strictEqual(plan(ClaimPlan.controlPlaneAnswered(state), { now: 10_500 })._tag, "Claim")
    assert.deepStrictEqual(ClaimPlan.controlPlaneAnswered(wanted), wanted)
  })

  it("waits for the breaker's probe only if there is a reason", () => {
    const open = { allowance: 0, opensInMillis: 30_000 }
    assert.deepStrictEqual(plan(wanted, open), { _tag: "Wait", millis: 30_000 })
    assert.deepStrictEqual(plan(ClaimPlan.initialState, open), { _tag: "Wait", millis: null })
  })

  it("asks for a hundred runs at most, and as the probe for one of either kind", () => {
    assert.deepInclude(plan(wanted, { totalPermits: 500, freePermits: 500 }), { limit: 100, heartbeatLimit: 100 })
    assert.deepInclude(plan(wanted, { allowance: 1 }), { limit: 1, heartbeatLimit: 1 })
  })

  it("asks for heartbeats up to a quarter of the permits, less those in flight, and for the last permit only if it is the only one", () => {
    const limits = (total: number, free: number, inFlight: number) => {
      const next = plan({ ...wanted, heartbeatsInFlight: inFlight }, { totalPermits: total, freePermits: free })
      return next._tag === "Claim" ? next.heartbeatLimit : null
    }
    const table = [
      [1, 1, 0, 1],
      [2, 2, 0, 1],
      [2, 1, 0, 0],
      [8, 8, 0, 2],
      [8, 6, 1, 1],
      [8, 6, 2, 0],
      [20, 3, 0, 2]
    ] as const
    for (const [total, free, inFlight, expected] of table) {
      assert.strictEqual(limits(total, free, inFlight), expected, `${total} ${free} ${inFlight}`)
    }
  })
})

describe("an answer", () => {
  it("that left work is a reason for the next claim, without any result only once a run has ended", () => {
    assert.deepInclude(plan(answered({ hasMore: true, runs: ["run"] })), { _tag: "Claim", reason: "more" })
    assert.deepInclude(plan(answered({ hasMore: true, spent: ["n"] })), { _tag: "Claim", reason: "more" })
    for (const stuck of [answered({ hasMore: true }), answered({ hasMoreHeartbeats: true })]) {
      assert.deepStrictEqual(plan(stuck), { _tag: "Wait", millis: null })
      assert.deepInclude(plan(ClaimPlan.ended(stuck, 11_000, end)), { _tag: "Claim", reason: "more" })
    }
  })

  it("that left heartbeats is one as soon as another heartbeat may run", () => {
    const state = { ...answered({ hasMoreHeartbeats: true, runs: ["run"] }), heartbeatsInFlight: 2 }
    assert.strictEqual(plan(state)._tag, "Wait")
    assert.deepInclude(plan(ClaimPlan.ended(state, 10_000, { ...end, kind: "heartbeat" })), { _tag: "Claim" })
    assert.strictEqual(answered({ hasMoreHeartbeats: true }, state).heartbeatsWaitSince, 10_000)
    assert.isNull(answered({}, state).heartbeatsWaitSince)
  })

  it("replaces the next due time, converted from the control plane's time", () => {
    assert.strictEqual(answered({ nextDueAt: 503_000 }).dueAt, 13_000)
    assert.strictEqual(answered({ nextDueAt: 400_000 }).dueAt, 10_000)
    assert.isNull(answered({}, ClaimPlan.due(wanted, 10_000, 500)).dueAt)
  })
})

describe("a due time", () => {
  it("is the earliest known one, and is a reason once after it has passed", () => {
    const state = ClaimPlan.due(ClaimPlan.due(ClaimPlan.initialState, 10_000, 5_000), 10_000, 9_000)
    assert.deepStrictEqual(plan(ClaimPlan.passed(state, 10_000)), { _tag: "Wait", millis: 5_000 })
    const due = ClaimPlan.passed(state, 15_000)
    assert.deepInclude(due, { reason: "due", dueAt: null })
    assert.strictEqual(ClaimPlan.due(ClaimPlan.initialState, 10_000, -7_000).dueAt, 10_000)
  })

  it("far in the future is waited for in steps that timers support", () => {
    assert.deepStrictEqual(plan(ClaimPlan.due(ClaimPlan.initialState, 10_000, 100 * 86_400_000)), {
      _tag: "Wait",
      millis: 86_400_000
    })
  })
})

describe("an ended run", () => {
  const ended = (changes: Partial<RunEnd>) => ClaimPlan.ended(ClaimPlan.initialState, 10_000, { ...end, ...changes })

  it("is no reason to claim, but the time of its retry is", () => {
    assert.deepStrictEqual(ended({}), ClaimPlan.initialState)
    assert.strictEqual(ended({ outcome: "retrying", dueInMillis: 3_000 }).dueAt, 13_000)
  })

  it("is one if it was released before its start, or its outcome could not be stored", () => {
    assert.strictEqual(ended({ isStored: false }).reason, "abandoned")
    assert.strictEqual(ended({ outcome: "released" }).reason, "released")
  })
})
