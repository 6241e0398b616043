import { assert, describe, it } from "@effect/vitest"
import { afterAttempt, afterOutcome, judgeHealth } from "../../../src/domain/observability/Health.ts"
import type { AgentOutcome, FailureRow, HealthInput } from "../../../src/domain/observability/Health.ts"

const MINUTE = 60_000

const end = (change: Partial<AgentOutcome> = {}): AgentOutcome => ({
  agent: "qa",
  kind: "notification",
  outcome: "retrying",
  isTurnCompleted: false,
  error: "ProviderFailed: HTTP 500",
  at: 0,
  ...change
})
const well: Partial<AgentOutcome> = { outcome: "replied", isTurnCompleted: true, error: null }

const after = (...ends: ReadonlyArray<Partial<AgentOutcome>>): ReadonlyArray<FailureRow> =>
  ends.map(end).reduce(afterOutcome, [])

/** The ends, oldest first, as the latest attempts. */
const attempts = (...ends: ReadonlyArray<Partial<AgentOutcome>>) => ends.map(end).reduce(afterAttempt, [])

const judge = (change: Partial<HealthInput> = {}) =>
  judgeHealth({
    phase: "ready",
    isPaused: false,
    notReady: [],
    isPushConnected: true,
    failures: [],
    attempts: [],
    now: 0,
    ...change
  })

describe("the health", () => {
  it("is online when ready, with push, and every agent's last runs were fine", () => {
    assert.deepStrictEqual(judge({ failures: after({}, {}, well) }), {
      status: "online",
      isReady: true,
      reasons: [],
      ownReasons: [],
      failing: []
    })
  })

  it("is degraded, and ready, while every delivery of one agent fails", () => {
    const health = judge({ failures: after({}, {}, {}, { agent: "engineer", ...well }) })
    assert.strictEqual(health.status, "degraded")
    assert.isTrue(health.isReady)
    assert.deepStrictEqual(health.reasons, ["agent qa: its last deliveries failed: ProviderFailed: HTTP 500"])
  })

  it("is degraded after one delivery that ends without a retry, or with a fallback", () => {
    for (const outcome of ["dead", "given_up", "fallback"] as const) {
      assert.strictEqual(judge({ failures: after({ outcome }) }).status, "degraded", outcome)
    }
    assert.strictEqual(judge({ failures: after({}, {}) }).status, "online")
  })

  it("follows the last hour only", () => {
    const failures = after({ outcome: "dead", at: 0 })
    assert.strictEqual(judge({ failures, now: 59 * MINUTE }).status, "degraded")
    assert.strictEqual(judge({ failures, now: 60 * MINUTE }).status, "online")
  })

  it("is never better than /readyz", () => {
    const away = judge({ notReady: ["gateway: not ready"] })
    assert.deepInclude(away, { status: "degraded", isReady: false, reasons: ["gateway: not ready"] })
    assert.strictEqual(judge({ isPushConnected: false }).status, "degraded")
    assert.deepInclude(judge({ isPaused: true, notReady: ["paused"] }), { status: "paused", isReady: false })
    assert.strictEqual(judge({ isPaused: true, notReady: ["paused", "breaker: open"] }).status, "degraded")
    for (const [phase, status] of [
      ["booting", "booting"],
      ["draining", "draining"],
      ["stopped", "offline"]
    ] as const) {
      assert.deepInclude(judge({ phase, notReady: [phase] }), { status, isReady: false })
    }
  })

  it("names five failing agents and counts the others", () => {
    const { failing, reasons } = judge({
      failures: after(...Array.from({ length: 8 }, (_, n) => ({ agent: `agent-${n}`, outcome: "dead" as const })))
    })
    assert.lengthOf(failing, 8)
    assert.lengthOf(reasons, 6)
    assert.strictEqual(reasons.at(-1), "agents: 3 more fail")
  })
})

describe("the recent attempts of all agents", () => {
  const many = (count: number, change: Partial<AgentOutcome>) =>
    Array.from({ length: count }, (_, n) => ({ agent: `agent-${n}`, ...change }))

  it("are failing if all failed, although no agent failed three times", () => {
    const three = attempts(...many(3, {}))
    assert.deepInclude(judge({ attempts: three }), { status: "failing", reasons: ["attempts: the last 3 failed"] })
    assert.strictEqual(judge({ attempts: three.slice(1) }).status, "online")
    assert.strictEqual(judge({ attempts: attempts(...many(3, {}), well) }).status, "online")
  })

  it("are a reason if half of six or more failed, until three in a row succeed", () => {
    const half = attempts(well, ...many(3, {}), ...many(2, well))
    assert.deepInclude(judge({ attempts: half }), { status: "degraded", reasons: ["attempts: 3 of the last 6 failed"] })
    assert.strictEqual(judge({ attempts: attempts(...many(7, {}), ...many(3, well)) }).status, "online")
  })

  it("count for an hour, at most ten, and only if they show something", () => {
    const three = attempts(...many(3, {}))
    assert.strictEqual(judge({ attempts: three, now: 60 * MINUTE }).status, "online")
    assert.lengthOf(attempts(...many(20, {})), 10)
    assert.lengthOf(attempts({ outcome: "released", error: null }, { outcome: "skipped", error: null }), 0)
    assert.lengthOf(attempts({ outcome: "skipped" }), 1)
  })

  it("do not hide a pause or the phase of the process", () => {
    const three = attempts(...many(3, {}))
    assert.strictEqual(judge({ attempts: three, isPaused: true, notReady: ["paused"] }).status, "degraded")
    assert.strictEqual(judge({ attempts: three, phase: "draining", notReady: ["draining"] }).status, "draining")
  })
})

describe("an agent's consecutive failures", () => {
  it("are not changed by other agents", () => {
    const [row, ...others] = after({}, {}, { agent: "engineer", ...well }, {})
    assert.deepInclude(row, { agent: "qa", count: 3 })
    assert.deepStrictEqual(others, [])
  })

  it("are separate for deliveries and heartbeats", () => {
    const rows = after({}, {}, {}, { kind: "heartbeat", ...well, outcome: "ok" })
    assert.strictEqual(rows[0]?.count, 3)
  })

  it("end with a completed turn, and not with a run that needed none or was released", () => {
    const skipped = { outcome: "skipped", error: null } as const
    assert.lengthOf(after({}, skipped, { outcome: "released", error: null }), 1)
    assert.lengthOf(after({}, { ...skipped, isTurnCompleted: true }), 0)
  })

  it("include a run that ended with an error although no answer was owed", () => {
    assert.strictEqual(after({}, { outcome: "skipped" }, { kind: "heartbeat", outcome: "silent" })[1]?.count, 2)
  })

  it("are kept for the last 200 agents", () => {
    assert.lengthOf(after(...Array.from({ length: 500 }, (_, n) => ({ agent: `agent-${n}` }))), 200)
  })
})
