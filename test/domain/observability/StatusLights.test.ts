import { assert, describe, it } from "@effect/vitest"
import { closed } from "../../../src/domain/gateway/Breaker.ts"
import { judgeHealth } from "../../../src/domain/observability/Health.ts"
import { shownGateway, statusLights } from "../../../src/domain/observability/StatusLights.ts"
import type { Parts } from "../../../src/domain/observability/StatusLights.ts"

const healthy = judgeHealth({
  phase: "ready",
  isPaused: false,
  notReady: [],
  isPushConnected: true,
  failures: [],
  attempts: [],
  now: 0
})

const parts: Parts = {
  health: healthy,
  canClaim: true,
  push: { isConnected: true, lastMessageAt: 1 },
  gateway: { state: "ready", lastSendAt: 1, lastSendError: null },
  breaker: closed,
  opensIn: null,
  permits: { total: 8, free: 6 },
  now: 1_000
}

const lightsOf = (change: Partial<Parts> = {}) =>
  Object.fromEntries(statusLights({ ...parts, ...change }).map((light) => [light.name, light]))

describe("the indicators", () => {
  it("are all good when nothing is wrong", () => {
    assert.deepStrictEqual(
      statusLights(parts).map(({ level }) => level),
      ["good", "good", "good", "good"]
    )
  })

  it("are not good while an agent's deliveries fail", () => {
    const row = { agent: "qa", kind: "notification", count: 3, isGivenUp: false, error: "x", at: 0 } as const
    const health = { ...healthy, status: "degraded", failing: [row, { ...row, kind: "heartbeat" }] } as const
    assert.deepInclude(lightsOf({ health })["Runtime"], { level: "warn", text: "Degraded", more: "1 agent fails" })
    const gateway = { ...parts.gateway, lastSendError: "ProviderFailed: HTTP 500" }
    assert.deepInclude(lightsOf({ gateway })["Gateway"], {
      level: "warn",
      text: "Ready, last turn failed",
      more: "ProviderFailed: HTTP 500"
    })
    assert.strictEqual(lightsOf({ breaker: { _tag: "Closed", failures: 1 } })["Breaker"]?.level, "warn")
  })

  it("show a misconfigured gateway while delivery is paused for that, even if its probes succeed", () => {
    const gateway = shownGateway(parts.gateway, true)
    assert.deepInclude(lightsOf({ gateway })["Gateway"], { level: "bad", text: "Misconfigured" })
    assert.strictEqual(shownGateway(parts.gateway, false), parts.gateway)
  })

  it("count down to the breaker's probe in the page's time, and not while nothing may be claimed", () => {
    const breaker = { _tag: "Open", until: 7, waitMillis: 5 } as const
    assert.strictEqual(lightsOf({ breaker, opensIn: 500 })["Breaker"]?.at, 1_500)
    const paused = lightsOf({ breaker, opensIn: 500, canClaim: false })["Breaker"]
    assert.deepInclude(paused, { level: "bad", more: "nothing is claimed", at: null })
  })
})
