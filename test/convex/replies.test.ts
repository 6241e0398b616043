import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { agentActor } from "../../convex/model/actor.ts"
import { postMessage } from "../../convex/model/messages.ts"
import { fenceOf, type Plane, seededPlane } from "./controlPlane.ts"
import { conflictsOf, footprintOf } from "./footprint.ts"

/** A task in which the engineer and QA have written before, and in whose sessions a person's message waits. */
const busyTask = async () => {
  const plane = await seededPlane()
  const { taskId } = await plane.asPerson(api.app.tasks.create, {
    title: "T",
    assigneeIds: [plane.engineer, plane.qa]
  })
  for (const delivery of (await plane.claim()).deliveries) {
    await plane.mutate(api.service.notifications.complete, {
      ...fenceOf(delivery),
      outcome: "replied",
      reply: "I begin.",
      maxHops: 12
    })
  }
  await plane.post(taskId, "Go on.")
  return { plane, taskId }
}

const reply = (plane: Plane, taskId: string, agentId: string, hops = 1) =>
  footprintOf(plane, async (ctx) => {
    const task = await ctx.db.get("tasks", taskId as Id<"tasks">)
    const agent = await ctx.db.get("agents", agentId as Id<"agents">)
    if (task === null || agent === null) throw new Error("expected a task and an agent")
    const origin = { actor: agentActor(agent), hops, maxHops: 12 }
    await postMessage(ctx, task, { content: "Done so far.", kind: "reply" }, origin)
  })

describe("replies of two agents into one task", () => {
  it("do not conflict: neither writes what the other reads or writes", async () => {
    const { plane, taskId } = await busyTask()
    const engineer = await reply(plane, taskId, plane.engineer)
    const qa = await reply(plane, taskId, plane.qa)
    expect(engineer.writes.size).toBeGreaterThan(2)
    expect(conflictsOf(engineer, qa)).toEqual([])
    expect(conflictsOf(qa, engineer)).toEqual([])
  })

  it("do not write the task", async () => {
    const { plane, taskId } = await busyTask()
    expect((await reply(plane, taskId, plane.engineer)).writes.has(taskId)).toBe(false)
  })

  it("do not read the agents' long texts", async () => {
    const { plane, taskId } = await busyTask()
    const { ranges } = await reply(plane, taskId, plane.engineer)
    expect(ranges.map(({ table }) => table)).not.toContain("agentTexts")
  })

  it("conflict at the hop limit, where one person is told once", async () => {
    const { plane, taskId } = await busyTask()
    const engineer = await reply(plane, taskId, plane.engineer, 13)
    expect(conflictsOf(engineer, await reply(plane, taskId, plane.qa, 13))).toEqual(["hopNotices"])
  })
})
