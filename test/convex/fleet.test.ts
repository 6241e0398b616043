import { describe, expect, it } from "vitest"
import { api, internal } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { emptyPlane, fail, makeTask, only, type Plane, seededPlane, spent } from "./controlPlane.ts"

const { list } = internal.operator.accounts

/** The only account of the plane, as the list shows it. */
const listed = async (plane: Plane) => only((await plane.t.query(list, {})).accounts)

/** The ids of the accounts that pass the filter. */
const idsOf = async (plane: Plane, filter: object) => (await plane.t.query(list, filter)).accounts.map(({ id }) => id)

/** Ends the engineer's next run on a new task as a dead letter. */
const makeDeadLetter = async (plane: Plane) => {
  await makeTask(plane, [plane.engineer])
  await fail(plane, await plane.takeOne())
}

describe("the list of a fleet", () => {
  it("shows an account with its runtimes, due work, dead letters, failures and usage", async () => {
    const plane = await seededPlane()
    await plane.pulse("r1", "b1", {
      status: "degraded",
      reasons: ["gateway: unreachable"],
      health: JSON.stringify({ delivery: { consecutiveFailures: 4 } }),
      versions: { runtime: "1.2.0", openclaw: "2026.9.6" }
    })
    await makeDeadLetter(plane)
    await makeTask(plane, [plane.qa])
    await fail(plane, await plane.takeOne(), { usage: spent(1_000), nextAttemptAt: Date.now() })
    const account = await listed(plane)
    expect(account).toMatchObject({
      id: plane.accountId,
      key: null,
      name: "Acme",
      isPaused: false,
      isBeingDeleted: false,
      deadLetters: 1,
      usageToday: { weightedTokens: 1_000 },
      budget: { unit: "tokens", limit: 10_000_000, spent: 1_000 }
    })
    expect(only(account.runtimes)).toMatchObject({
      runtimeId: "r1",
      status: "degraded",
      reasons: ["gateway: unreachable"],
      versions: { runtime: "1.2.0", openclaw: "2026.9.6" },
      failuresInARow: 4
    })
    expect(account.oldestDueAt).toBeLessThanOrEqual(Date.now())
  })

  it("filters by what is wrong, by name and by version", async () => {
    const plane = await seededPlane()
    const { accountId } = plane
    const other = await plane.secondAccount()
    expect(await idsOf(plane, {})).toEqual([accountId, other.accountId])
    expect(await idsOf(plane, { only: "offline" })).toEqual([other.accountId])
    expect(await idsOf(plane, { name: "ACM" })).toEqual([accountId])
    expect(await idsOf(plane, { runtimeVersion: "1.0.0" })).toEqual([accountId])
    expect(await idsOf(plane, { runtimeVersion: "2.0.0" })).toEqual([])
    expect(await idsOf(plane, { openclawVersion: "2026.9.6" })).toEqual([])
    for (const filter of ["failing", "paused", "dead-letters"]) expect(await idsOf(plane, { only: filter })).toEqual([])
    await plane.asPerson(api.app.runtimes.pause, {})
    expect(await idsOf(plane, { only: "paused" })).toEqual([accountId])
    await plane.asPerson(api.app.runtimes.resume, {})
    await makeDeadLetter(plane)
    expect(await idsOf(plane, { only: "dead-letters" })).toEqual([accountId])
    await plane.pulse("r1", "b1", { health: JSON.stringify({ delivery: { consecutiveFailures: 2 } }) })
    expect(await idsOf(plane, { only: "failing" })).toEqual([])
    await plane.pulse("r1", "b1", { health: JSON.stringify({ delivery: { consecutiveFailures: 3 } }) })
    expect(await idsOf(plane, { only: "failing" })).toEqual([accountId])
    await plane.pulse("r1", "b1", { status: "offline", health: "not JSON" })
    expect(await idsOf(plane, { only: "offline" })).toEqual([accountId, other.accountId])
  })

  it("shows the running runtimes of an account with many offline ones", async () => {
    const plane = await seededPlane()
    for (let count = 0; count < 12; count += 1) await plane.pulse(`old${count}`, `b${count}`, { status: "offline" })
    expect((await listed(plane)).runtimes.map(({ runtimeId }) => runtimeId)).toEqual(["r1"])
    await plane.pulse("r1", "b1", { status: "offline" })
    expect((await listed(plane)).runtimes).toHaveLength(10)
  })

  it("reads no more accounts than it is asked for", async () => {
    const plane = await seededPlane()
    const other = await plane.secondAccount()
    const { accounts, next } = await plane.t.query(list, { limit: 1 })
    expect(accounts.map(({ id }) => id)).toEqual([plane.accountId])
    expect((await plane.t.query(list, { after: next ?? 0, limit: 1 })).accounts.map(({ id }) => id)).toEqual([
      other.accountId
    ])
  })

  it("pages through all accounts once, also when large rows end a page early", async () => {
    const t = emptyPlane()
    await t.run(async (ctx) => {
      for (let count = 0; count < 60; count += 1) {
        const settings = { agentFlags: {}, sessionScope: "agent" as const, briefing: null, timeZone: "UTC", prices: [] }
        const accountId = await ctx.db.insert("accounts", { name: `Account ${count}`, ...settings, rosterRevision: 1 })
        if (count >= 12) continue
        for (let each = 0; each < 10; each += 1) await insertRuntime(ctx, accountId, each, "x".repeat(64_000))
      }
    })
    const names: Array<string> = []
    let next: number | null = 0
    const sizes: Array<number> = []
    while (next !== null) {
      const page: { accounts: Array<{ name: string }>; next: number | null } = await t.query(list, { after: next })
      names.push(...page.accounts.map(({ name }) => name))
      sizes.push(page.accounts.length)
      next = page.next
    }
    expect(names).toEqual(Array.from({ length: 60 }, (_, count) => `Account ${count}`))
    expect(sizes).toEqual([9, 50, 1])
  })
})

const insertRuntime = (ctx: any, accountId: Id<"accounts">, count: number, health: string) =>
  ctx.db.insert("runtimes", {
    accountId,
    runtimeId: `r${count}`,
    status: "online",
    reasons: [],
    health,
    versions: { runtime: "1.0.0", openclaw: null },
    infrastructure: { dropletId: null, ipAddress: null, region: null },
    intervalMs: 60_000,
    lastPulseAt: 0
  })
