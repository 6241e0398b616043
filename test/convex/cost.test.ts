import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import type { MutationCtx } from "../../convex/_generated/server.js"
import { agentActor } from "../../convex/model/actor.ts"
import { claim } from "../../convex/model/claim.ts"
import { complete, fail, release } from "../../convex/model/delivery.ts"
import { postMessage } from "../../convex/model/messages.ts"
import { commandsFor } from "../../convex/model/runtimes.ts"
import { fenceOf, first, type Plane, seededPlane } from "./controlPlane.ts"

/** Runs a piece of the control plane as one transaction, and counts the documents and index ranges it read. */
const cost = (plane: Plane, run: (ctx: MutationCtx, accountId: Id<"accounts">) => Promise<unknown>) =>
  plane.t.run(async (context) => {
    const ctx = context as unknown as MutationCtx
    await run(ctx, plane.accountId as Id<"accounts">)
    const { documentsRead, databaseQueries } = await ctx.meta.getTransactionMetrics()
    return { documents: documentsRead.used, queries: databaseQueries.used }
  })

let requests = 0
const claimOf = (more: object = {}) => ({
  requestId: `cost-${(requests += 1)}`,
  runtimeId: "r1",
  bootId: "b1",
  limit: 8,
  leaseMs: 90_000,
  maxAttempts: 8,
  parkedAgents: [],
  ...more
})

/** Delivered rows, messages, activities and ended sessions of a long past, all of the same agent and task. */
const addHistory = (plane: Plane, taskId: string, rows: number) =>
  plane.t.run(async (ctx) => {
    const template = await ctx.db.query("notifications").first()
    if (template === null) throw new Error("expected a notification to copy")
    const { _id, _creationTime, ...row } = template
    const { accountId } = row
    for (let index = 0; index < rows; index += 1) {
      await ctx.db.insert("notifications", {
        ...row,
        state: index % 10 === 0 ? "dead" : "delivered",
        outcome: "replied",
        endedAt: index,
        readyAt: index
      })
      await ctx.db.insert("messages", {
        accountId,
        taskId: taskId as Id<"tasks">,
        author: row.actor,
        content: "past",
        kind: "message",
        hops: 0
      })
      await ctx.db.insert("activities", { accountId, type: "past", actor: row.actor, summary: "past" })
    }
  })

/** What one claim, one release, one failure and one completion read. */
const measure = async (history: number) => {
  const plane = await seededPlane()
  const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
  if (history > 0) {
    await addHistory(plane, taskId, history / 2)
    await addHistory(plane, taskId, history / 2)
  }
  const claimCost = await cost(plane, (ctx, accountId) => claim(ctx, accountId, claimOf()))
  await plane.pulse("r1", "b2")
  await plane.pulse("r1", "b3")
  const again = async () => first((await plane.claim({ bootId: "b3" })).deliveries)
  const fence = { maxHops: 12 }
  const released = await again()
  const releaseCost = await cost(plane, (ctx, accountId) => release(ctx, accountId, { ...released, ...fence }))
  const failed = await again()
  const failCost = await cost(plane, (ctx, accountId) =>
    fail(ctx, accountId, {
      ...failed,
      ...fence,
      class: "TurnTimeout",
      error: "slow",
      nextAttemptAt: 1,
      silence: false,
      silenceLimit: 3
    })
  )
  const completed = await again()
  const completeCost = await cost(plane, (ctx, accountId) =>
    complete(ctx, accountId, { ...completed, ...fence, outcome: "replied", reply: "done" })
  )
  return { claimCost, releaseCost, failCost, completeCost }
}

describe("what a delivery costs", () => {
  it("is the same after 2,000 delivered notifications as after none", async () => {
    const young = await measure(0)
    const old = await measure(2_000)
    expect(old).toEqual(young)
    expect(young.claimCost.documents).toBeLessThanOrEqual(25)
    expect(young.completeCost.documents).toBeLessThanOrEqual(60)
  })

  it("does not grow with the roster for a reply that mentions no one", async () => {
    const reads = async (colleagues: number) => {
      const plane = await seededPlane()
      for (let index = 0; index < colleagues; index += 1) {
        await plane.asPerson(api.app.agents.create, { slug: `colleague-${index}`, name: `Colleague ${index}` })
      }
      const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
      const begun = first((await plane.claim()).deliveries)
      const fence = { maxHops: 12, outcome: "replied" as const }
      await plane.mutate(api.service.notifications.complete, { ...fenceOf(begun), ...fence, reply: "I begin." })
      for (let index = 0; index < 22; index += 1) await plane.post(taskId, `before ${index}`)
      for (const { notificationIds, ...delivery } of (await plane.claim()).deliveries) {
        if ((await plane.row(first(notificationIds))).agentId !== plane.engineer) continue
        const done = { ...fenceOf(delivery), ...fence, reply: "Half way." }
        const message = await cost(plane, async (ctx) => {
          const task = await ctx.db.get("tasks", taskId as Id<"tasks">)
          const agent = await ctx.db.get("agents", plane.engineer as Id<"agents">)
          if (task === null || agent === null) throw new Error("expected a task and an agent")
          const origin = { actor: agentActor(agent), hops: 1, maxHops: 12 }
          await postMessage(ctx, task, { content: "Working.", kind: "reply" }, origin)
        })
        return { message, complete: await cost(plane, (ctx, accountId) => complete(ctx, accountId, done)) }
      }
      throw new Error("expected a delivery for the engineer")
    }
    const small = await reads(0)
    expect(await reads(17)).toEqual(small)
    // Two of them are the task and the agent that this test reads.
    expect(small.message.documents).toBeLessThanOrEqual(12)
  })

  it("grows with what is claimed, not with what waits behind it", async () => {
    const reads = async (waiting: number) => {
      const plane = await seededPlane({ sessionScope: "task" })
      for (let index = 0; index < waiting; index += 1) {
        await plane.asPerson(api.app.tasks.create, { title: `T${index}`, assigneeIds: [plane.engineer] })
      }
      return await cost(plane, (ctx, accountId) => claim(ctx, accountId, claimOf({ limit: 4 })))
    }
    expect(await reads(60)).toEqual(await reads(20))
  })

  it("of an idle claim is a handful of rows, and of the subscriptions two at most", async () => {
    const plane = await seededPlane()
    const idle = await cost(plane, (ctx, accountId) => claim(ctx, accountId, claimOf()))
    expect(idle.documents).toBeLessThanOrEqual(3)
    const commands = await cost(plane, (ctx, accountId) => commandsFor(ctx, accountId, "r1"))
    expect(commands.documents).toBe(0)
  })
})
