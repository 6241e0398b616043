import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api, internal } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import schema from "../../convex/schema.ts"
import { codeOf, emptyPlane, makeTask, runningTurn, seededPlane } from "./controlPlane.ts"
import { fillTables, rowCounts, tables } from "./everyTable.ts"

const { remove } = internal.operator.accounts

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout"] }))
afterEach(() => void vi.useRealTimers())

describe("the deletion of an account", () => {
  it("leaves no row of the account in any table, and every row of another account", async () => {
    const t = emptyPlane()
    const accountId = await fillTables(t, "Acme")
    await fillTables(t, "Other")
    const both = await rowCounts(t)
    expect(Object.keys(both).toSorted()).toEqual(tables.toSorted())
    await t.mutation(remove, { accountId, name: "Acme" })
    await t.finishAllScheduledFunctions(vi.runAllTimers)
    expect(await rowCounts(t)).toEqual(Object.fromEntries(tables.map((table) => [table, 1])))
    expect(await codeOf(t.mutation(remove, { accountId, name: "Acme" }))).toBe("not_found")
  })

  it("reads every table by an index of an account's rows by creation", () => {
    const indexes = (table: string) => (schema.tables as any)[table][" indexes"]() as ReadonlyArray<any>
    const without = tables.filter(
      (table) => !indexes(table).some(({ fields }) => fields.length === 1 && fields[0] === "accountId")
    )
    expect(without).toEqual(["accounts", "budgetDraws"])
  })

  it("of a large account runs in batches within a transaction's limits", async () => {
    const plane = await seededPlane()
    const { accountId, t, usage } = plane
    const taskId = (await makeTask(plane, [])) as Id<"tasks">
    await t.run(async (ctx) => {
      const author = { type: "system", id: null, name: "x", slug: null } as const
      const message = { accountId: accountId as Id<"accounts">, taskId, author, content: "x".repeat(20_000), hops: 0 }
      for (let count = 0; count < 450; count += 1) await ctx.db.insert("messages", { ...message, kind: "note" })
    })
    await plane.pulse("r1", "b1", { status: "offline" })
    await t.mutation(remove, { accountId, name: "Acme" })
    // 450 messages of 20,000 characters take five batches of two million.
    for (let batch = 0; batch < 3; batch += 1) {
      vi.runOnlyPendingTimers()
      await t.finishInProgressScheduledFunctions()
      expect(usage().bytesRead).toBeLessThan(4_000_000)
      expect(usage().readIntervals).toBeLessThan(1_000)
    }
    expect((await rowCounts(t))["messages"]).toBeGreaterThan(0)
    await t.finishAllScheduledFunctions(vi.runAllTimers)
    expect(await rowCounts(t)).toEqual({})
  })

  it("lets no one call any more from its first transaction on", async () => {
    const plane = await seededPlane()
    await plane.pulse("r1", "b1", { status: "offline" })
    await plane.t.mutation(remove, { accountId: plane.accountId, name: "Acme" })
    expect(await codeOf(plane.pulse("r1", "b1"))).toBe("unauthenticated")
    expect(await codeOf(plane.seen(api.app.agents.list, {}))).toBe("forbidden")
  })

  it("continues when it is requested again after an interruption", async () => {
    const t = emptyPlane()
    const accountId = await fillTables(t, "Acme")
    await t.run((ctx) =>
      ctx.db.patch("accounts", accountId as Id<"accounts">, {
        deletion: { by: { type: "system", id: null, name: "Operator", slug: null }, at: 0 }
      })
    )
    await t.mutation(remove, { accountId, name: "Acme" })
    await t.finishAllScheduledFunctions(vi.runAllTimers)
    expect(await rowCounts(t)).toEqual({})
  })

  it("requires the account's name, and that the account is offline or paused and no turn runs", async () => {
    const { plane, run } = await runningTurn()
    const { accountId, t } = plane
    const code = (name = "Acme") => codeOf(t.mutation(remove, { accountId, name }))
    expect(await code("acme")).toBe("invalid")
    expect(await code()).toBe("conflict")
    await t.mutation(internal.operator.accounts.pause, { accountId })
    expect(await code()).toBe("conflict")
    await plane.mutate(api.service.notifications.complete, {
      run: run.id,
      session: run.session,
      epoch: run.epoch,
      outcome: "skipped",
      turn: "answered",
      settings: { maxHops: 12, quietTimeMs: 0, quietLimitMs: 0 }
    })
    expect(await code()).toBeNull()
  })
})

describe("the pause of an account by an operator", () => {
  it("is an activity of the account, like its end", async () => {
    const plane = await seededPlane()
    const { accountId, t } = plane
    await t.mutation(internal.operator.accounts.pause, { accountId })
    await t.mutation(internal.operator.accounts.resume, { accountId })
    const activities = await plane.seen(api.app.activities.list, {})
    expect(activities.slice(0, 2).map(({ actor, type }) => [type, actor.name])).toEqual([
      ["account_resumed", "Operator"],
      ["account_paused", "Operator"]
    ])
  })
})
