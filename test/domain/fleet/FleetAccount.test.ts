import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { fleetTable, onlyNamed, stateOf } from "../../../src/domain/fleet/FleetAccount.ts"
import type { FleetAccount } from "../../../src/domain/fleet/FleetAccount.ts"

const now = Date.UTC(2026, 0, 5)

const runtime = (more: Partial<FleetAccount["runtimes"][number]> = {}) => ({
  runtimeId: "r1",
  status: "online",
  reasons: [],
  versions: { runtime: "1.0.0", openclaw: "2026.9.6" },
  lastPulseAt: now - 12_000,
  failuresInARow: 0,
  ...more
})

const account = (more: Partial<FleetAccount> = {}): FleetAccount => ({
  id: "k17abcdefgh",
  key: null,
  name: "Acme",
  createdAt: 0,
  isPaused: false,
  isBeingDeleted: false,
  runtimes: [runtime()],
  oldestDueAt: null,
  deadLetters: 0,
  usageToday: { weightedTokens: 12_345, cost: 0 },
  budget: null,
  ...more
})

describe("the table of a fleet", () => {
  it("shows an account in a line of at most 80 characters", () => {
    const busy = account({
      name: "The Very Long Company",
      runtimes: [runtime(), runtime({ status: "degraded", failuresInARow: 12, lastPulseAt: now - 3_000 })],
      oldestDueAt: now - 600_000,
      deadLetters: 100,
      budget: { unit: "usd", limit: 30, spent: 36 }
    })
    const [, first, second] = fleetTable([account(), busy], now).split("\n")
    assert.match(first ?? "", /^k17abcde\S* +Acme +online +1\.0\.0 2026\.9\.6 +12 s +- +0 +0 +12k$/)
    assert.match(second ?? "", / The Very Lo… +degraded +1\.0\.0 2026\.9\.6 +3 s +10 min +99\+ +12 +120 %$/)
    for (const line of fleetTable([busy], now).split("\n")) assert.isAtMost(line.length, 82)
  })

  it("names the state that needs attention most", () => {
    assert.strictEqual(stateOf(account({ runtimes: [] })), "offline")
    assert.strictEqual(stateOf(account({ runtimes: [runtime({ status: "offline" })] })), "offline")
    assert.strictEqual(stateOf(account({ runtimes: [runtime(), runtime({ status: "draining" })] })), "draining")
    assert.strictEqual(stateOf(account({ isPaused: true })), "paused")
    assert.strictEqual(stateOf(account({ isBeingDeleted: true, isPaused: true })), "deleting")
  })
})

describe("the account that a text names", () => {
  const acme = { id: "k17aaaaaaaa", key: "acme", name: "Acme" }
  const inc = { id: "k17bbbbbbbb", key: null, name: "Acme Inc." }

  it("is the only one found, or the one with exactly this id, key or name", () => {
    assert.deepStrictEqual(onlyNamed([inc], "Acme"), Result.succeed(inc))
    for (const text of ["Acme", "acme", acme.id]) {
      assert.deepStrictEqual(onlyNamed([inc, acme], text), Result.succeed(acme))
    }
  })

  it("is refused with the candidates if there are several or none", () => {
    const several = Result.flip(onlyNamed([acme, inc], "Ac"))
    assert.include(
      Result.getOrElse(several, () => ""),
      "k17aaaaa (Acme), k17bbbbb (Acme Inc.)"
    )
    const none = Result.flip(onlyNamed([], "Ac"))
    assert.include(
      Result.getOrElse(none, () => ""),
      "`fleet list` lists them"
    )
  })
})
