import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import type { FleetAccount } from "../../../src/domain/fleet/FleetAccount.ts"
import { describePlan, parseWaves, planWaves, selectAccounts } from "../../../src/domain/fleet/WavePlan.ts"

const account = (index: number, more: Partial<FleetAccount> = {}, version = "1.0.0", status = "online") => ({
  id: `id${index}`,
  key: `key-${index}`,
  name: `Name ${index}`,
  createdAt: index,
  isPaused: false,
  isBeingDeleted: false,
  runtimes: [
    {
      runtimeId: "r1",
      status,
      reasons: [],
      versions: { runtime: version, openclaw: "2026.9.1" },
      lastPulseAt: 0,
      failuresInARow: 0
    }
  ],
  oldestDueAt: null,
  deadLetters: 0,
  usageToday: { weightedTokens: 0, cost: 0 },
  budget: null,
  ...more
})
const accounts = (count: number) => Array.from({ length: count }, (_, index) => account(index))
const upgrade = { kind: "upgrade" as const, runtimeVersion: "1.1.0", openclawVersion: null }
const sizes = (text: string) => Result.getOrThrow(parseWaves(text))
const sizesOf = (count: number, text: string) =>
  planWaves(accounts(count), upgrade, sizes(text)).waves.map(({ length }) => length)

describe("the sizes of waves", () => {
  it("are numbers of accounts, or percentages of all that are asked", () => {
    assert.deepStrictEqual(sizesOf(200, "1,5%,25%,100%"), [1, 10, 50, 139])
    assert.deepStrictEqual(sizesOf(200, " 2 , 50% "), [2, 100])
    assert.deepStrictEqual(sizesOf(3, "1,5%,25%,100%"), [1, 1, 1])
    assert.deepStrictEqual(sizesOf(1, "1,5%,25%,100%"), [1])
    assert.deepStrictEqual(sizesOf(0, "1,100%"), [])
  })

  it.each(["", "0", "1,,2", "101%", "-1", "1.5", "5 %", "all"])("are refused as %j", (text) => {
    assert.isTrue(Result.isFailure(parseWaves(text)))
  })

  it("report the accounts that they leave over", () => {
    const plan = planWaves(accounts(5), upgrade, sizes("1,2"))
    assert.deepStrictEqual(
      plan.inNoWave.map(({ id }) => id),
      ["id3", "id4"]
    )
    assert.include(describePlan(upgrade, plan), "in no wave: 2 (Name 3, Name 4)")
  })
})

describe("a plan", () => {
  it("leaves out accounts that are offline, on the target or being deleted", () => {
    const some = [
      account(0),
      account(1, {}, "v1.1.0"),
      account(2, {}, "1.0.0", "offline"),
      account(3, { runtimes: [] }),
      account(4, { isBeingDeleted: true }),
      account(5, { runtimes: [...account(5).runtimes, ...account(5, {}, "1.1.0").runtimes] })
    ]
    const plan = planWaves(some, upgrade, sizes("100%"))
    assert.deepStrictEqual(plan.waves, [
      [
        { id: "id0", name: "Name 0" },
        { id: "id5", name: "Name 5" }
      ]
    ])
    assert.deepStrictEqual(
      plan.leftOut.map(({ id, reason }) => [id, reason]),
      [
        ["id1", "on the target already"],
        ["id2", "offline"],
        ["id3", "offline"],
        ["id4", "being deleted"]
      ]
    )
    const restart = { kind: "restart" as const, runtimeVersion: null, openclawVersion: null }
    assert.strictEqual(planWaves(some, restart, sizes("100%")).waves[0]?.length, 3)
    assert.include(describePlan(upgrade, plan), "left out, offline: 2 (Name 2, Name 3)")
  })
})

describe("the selection", () => {
  const idsOf = (named: ReadonlyArray<string>, first: ReadonlyArray<string> = []) =>
    selectAccounts(accounts(4), named, first).map(({ id }) => id)

  it("has all accounts if none is named, those named as first before the others", () => {
    assert.deepStrictEqual(idsOf([]), ["id0", "id1", "id2", "id3"])
    assert.deepStrictEqual(idsOf([], ["id2"]), ["id2", "id0", "id1", "id3"])
  })

  it("has the named accounts once each", () => {
    assert.deepStrictEqual(idsOf(["id3", "id1", "id1"], ["id1"]), ["id1", "id3"])
  })
})
