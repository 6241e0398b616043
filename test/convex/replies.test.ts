import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { agentActor } from "../../convex/model/accounts/actor.ts"
import { postMessage } from "../../convex/model/threads/messages.ts"
import { complete, type Plane, seededPlane, settings } from "./controlPlane.ts"
import { conflictsOf, footprintOf } from "./footprint.ts"

/** A task in which the engineer and QA have written before, and in whose sessions a person's message waits. */
const busyTask = async (isOrchestrated = false) => {
  const plane = await seededPlane()
  await plane.asPerson(api.app.agents.update, { agentId: plane.lead, isOrchestrator: isOrchestrated })
  const { taskId } = await plane.asPerson(api.app.tasks.create, {
    title: "T",
    assigneeIds: [plane.engineer, plane.qa]
  })
  for (const run of (await plane.take()).runs) await complete(plane, run, { outcome: "replied", reply: "I begin." })
  await plane.post(taskId, "Go on.")
  return { plane, taskId }
}

const reply = (plane: Plane, taskId: string, agentId: string, hops = 1) =>
  footprintOf(plane, async (ctx) => {
    const task = await ctx.db.get("tasks", taskId as Id<"tasks">)
    const agent = await ctx.db.get("agents", agentId as Id<"agents">)
    if (task === null || agent === null) throw new Error("expected a task and an agent")
    const origin = { actor: agentActor(agent), hops, settings }
    await postMessage(ctx, task, { content: "Done so far.", kind: "reply" }, origin)
  })

describe("replies of two agents in one task", () => {
  it("do not conflict if they notify no third agent: neither writes what the other reads or writes", async () => {
    const { plane, taskId } = await busyTask()
    const engineer = await reply(plane, taskId, plane.engineer)
    const qa = await reply(plane, taskId, plane.qa)
    expect(engineer.writes.size).toBeGreaterThan(2)
    expect(conflictsOf(engineer, qa)).toEqual([])
    expect(conflictsOf(qa, engineer)).toEqual([])
  })

  it("conflict only in the notification of a third agent, which both join", async () => {
    const { plane, taskId } = await busyTask(true)
    const engineer = await reply(plane, taskId, plane.engineer)
    const qa = await reply(plane, taskId, plane.qa)
    const leads = (await plane.notifications(taskId)).filter(
      ({ recipientName, state }) => recipientName === "Squad Lead" && state === "ready"
    )
    const common = [...engineer.writes.keys()].filter((id) => qa.writes.has(id))
    expect(common).toEqual(leads.map(({ id }) => id))
    expect(conflictsOf(engineer, qa)).toEqual(["notifications"])
    expect(conflictsOf(qa, engineer)).toEqual(["notifications"])
  })

  it("do not write the task", async () => {
    const { plane, taskId } = await busyTask()
    expect((await reply(plane, taskId, plane.engineer)).writes.has(taskId)).toBe(false)
  })

  it("do not read or write what each claim of the task counts", async () => {
    const { plane, taskId } = await busyTask(true)
    const { ranges, writes } = await reply(plane, taskId, plane.engineer)
    expect(ranges.map(({ table }) => table)).not.toContain("taskLoops")
    expect([...writes.values()].map(({ table }) => table)).not.toContain("taskLoops")
  })

  it("do not read the agents' long texts", async () => {
    const { plane, taskId } = await busyTask()
    const { ranges } = await reply(plane, taskId, plane.engineer)
    expect(ranges.map(({ table }) => table)).not.toContain("agentTexts")
  })

  it("conflict at the hop limit, where one person is notified once", async () => {
    const { plane, taskId } = await busyTask()
    const engineer = await reply(plane, taskId, plane.engineer, 13)
    expect(conflictsOf(engineer, await reply(plane, taskId, plane.qa, 13))).toEqual(["taskLoops"])
  })
})
