import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { agentOf } from "../../convex/model/agents/agents.ts"
import { removeAgent } from "../../convex/model/agents/roster.ts"
import { codeOf, type Plane, seededPlane } from "./controlPlane.ts"
import { footprintOf, intervalsOf } from "./footprint.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

const finishBatches = (plane: Plane) => plane.t.finishAllScheduledFunctions(() => vi.advanceTimersByTime(1))

describe("the removal of an agent with many tasks", () => {
  const taskCount = 35

  /** An account with a session per task, in which the engineer has tasks, some of them in progress and one shared. */
  const scene = async () => {
    const plane = await seededPlane({ sessionScope: "task" })
    for (let index = 0; index < taskCount; index += 1) {
      const assigneeIds = index === 0 ? [plane.engineer, plane.qa] : [plane.engineer]
      const { taskId } = await plane.asPerson(api.app.tasks.create, { title: `T${index}`, assigneeIds })
      if (index < 20) await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "in_progress" })
    }
    return plane
  }
  const statuses = async (plane: Plane) => {
    const count: Record<string, number> = {}
    for (const task of await plane.seen(api.app.tasks.list, {})) count[task.status] = (count[task.status] ?? 0) + 1
    return count
  }
  const left = (plane: Plane) =>
    plane.t.run(async (ctx) => {
      const rows = await ctx.db.query("notifications").collect()
      const isOfAgent = (row: { readonly agentId?: string }) => row.agentId === plane.engineer
      return {
        assignments: (await ctx.db.query("assignments").collect()).filter(isOfAgent).length,
        subscriptions: (await ctx.db.query("subscriptions").collect()).filter(isOfAgent).length,
        waiting: rows.filter((row) => isOfAgent(row) && row.state !== "delivered").length,
        texts: (await ctx.db.query("agentTexts").collect()).filter(isOfAgent).length
      }
    })

  it("takes it off the roster at once and cleans up its rows and tasks in batches", async () => {
    const plane = await scene()
    await plane.asPerson(api.app.agents.remove, { agentId: plane.engineer })
    expect((await plane.query(api.service.agents.list, {})).agents.map((agent) => agent.slug)).toEqual(["lead", "qa"])
    expect((await left(plane)).assignments).toBe(taskCount - 10)
    const more = { title: "More", assigneeIds: [plane.engineer] }
    expect(await codeOf(plane.asPerson(api.app.tasks.create, more))).toBe("not_found")
    await finishBatches(plane)
    expect(await left(plane)).toEqual({ assignments: 0, subscriptions: 0, waiting: 0, texts: 0 })
    expect(await statuses(plane)).toEqual({ in_progress: 1, blocked: 19, inbox: 15 })
  })

  it("keeps the order of the other assignees", async () => {
    const plane = await seededPlane()
    const assigneeIds = [plane.qa, plane.engineer, plane.lead]
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds })
    await plane.asPerson(api.app.agents.remove, { agentId: plane.engineer })
    const { task } = await plane.query(api.service.tasks.get, { taskId })
    expect(task.assignees.map((agent) => agent.slug)).toEqual(["qa", "lead"])
  })

  it("may overlap with the removal of the other assignee", async () => {
    const plane = await scene()
    await plane.asPerson(api.app.agents.remove, { agentId: plane.engineer })
    await plane.asPerson(api.app.agents.remove, { agentId: plane.qa })
    await finishBatches(plane)
    expect(await left(plane)).toEqual({ assignments: 0, subscriptions: 0, waiting: 0, texts: 0 })
    expect(await statuses(plane)).toEqual({ blocked: 20, inbox: 15 })
  })

  it("stays far below the limit of read intervals in each transaction", async () => {
    const plane = await scene()
    const removal = await footprintOf(plane, async (ctx, accountId) => {
      const actor = { type: "person" as const, id: plane.memberId, name: "Ana", slug: null }
      await removeAgent(ctx, await agentOf(ctx, accountId, plane.engineer), actor)
    })
    expect(intervalsOf(removal)).toBeLessThan(1_000)
  })
})

describe("the removal of a member with many subscriptions", () => {
  it("deletes them in batches", async () => {
    const plane = await seededPlane()
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T" })
    const { memberId } = await plane.asPerson(api.app.members.add, {
      tokenIdentifier: "x|bob",
      name: "Bob",
      role: "member"
    })
    await plane.t.run(async (ctx) => {
      const row = {
        accountId: plane.accountId as Id<"accounts">,
        taskId: taskId as Id<"tasks">,
        memberId: memberId as Id<"members">,
        isAssignee: false,
        hasTakenPart: true
      }
      for (let count = 0; count < 450; count += 1) await ctx.db.insert("subscriptions", row)
    })
    const left = () =>
      plane.t.run(
        async (ctx) => (await ctx.db.query("subscriptions").collect()).filter((row) => row.memberId === memberId).length
      )
    await plane.asPerson(api.app.members.remove, { memberId })
    expect(await left()).toBe(250)
    await finishBatches(plane)
    expect(await left()).toBe(0)
  })
})

describe("a boot whose predecessor held many leases", () => {
  const leasedBoots = (plane: Plane) =>
    plane.t.run(async (ctx) =>
      (await ctx.db.query("sessions").collect()).flatMap(({ lease }) => (lease === undefined ? [] : [lease.bootId]))
    )
  const scene = async () => {
    const plane = await seededPlane({ sessionScope: "task" })
    for (let index = 0; index < 25; index += 1) {
      await plane.asPerson(api.app.tasks.create, { title: `T${index}`, assigneeIds: [plane.engineer] })
    }
    expect((await plane.claim({ limit: 25 })).runs).toHaveLength(25)
    return plane
  }

  it("releases all of them with its first pulse, in one bounded transaction", async () => {
    const plane = await scene()
    expect((await plane.pulse("r1", "b2")).releasedLeases).toBe(25)
    expect(plane.usage().readIntervals).toBeLessThan(500)
    expect(await leasedBoots(plane)).toEqual([])
    expect((await plane.claim({ bootId: "b2", limit: 25 })).runs).toHaveLength(25)
  })
})
