import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { stopTime } from "./clock.ts"
import { codeOf, fenceOf, makeTask, refusalOf, seededPlane, settings } from "./controlPlane.ts"

stopTime()
const { app, service } = api

describe("the policies of an account", () => {
  it("are set, replaced, listed and removed, each with an activity", async () => {
    const plane = await seededPlane()
    expect(await plane.seen(app.policies.list, {})).toEqual([])
    const { id } = await plane.asPerson(app.policies.set, { tool: "task_delete", effect: "ask" })
    await plane.asPerson(app.policies.set, {
      tool: "task_status",
      effect: "deny",
      agentId: plane.qa,
      when: " Status = done "
    })
    await plane.asPerson(app.policies.set, { tool: "task_delete", effect: "deny", role: "Lead" })
    expect(await plane.asPerson(app.policies.set, { tool: "task_delete", effect: "deny" })).toEqual({ id })
    expect(await plane.seen(app.policies.list, {})).toMatchObject([
      { tool: "task_status", effect: "deny", agentSlug: "qa", when: "status=done" },
      { tool: "task_delete", effect: "deny", role: "Lead" },
      { id, tool: "task_delete", effect: "deny", agentSlug: null }
    ])
    await plane.asPerson(app.policies.remove, { id })
    expect(await codeOf(plane.asPerson(app.policies.remove, { id }))).toBe("not_found")
    const activities = await plane.seen(app.activities.list, {})
    expect(activities.filter(({ type }) => type.startsWith("policy_")).map(({ summary }) => summary)).toEqual([
      "policy removed: task_delete: deny",
      "policy set: task_delete: deny",
      "policy set: task_delete: deny, for role Lead",
      "policy set: task_status: deny, for qa, with status=done",
      "policy set: task_delete: ask"
    ])
  })

  it("are refused with a fix if they could never apply, and beyond a hundred", async () => {
    const plane = await seededPlane()
    const set = (more: object) => plane.asPerson(app.policies.set, { tool: "task_delete", effect: "ask", ...more })
    expect(await codeOf(set({ when: "status=done" }))).toBe("invalid")
    expect(await codeOf(set({ agentId: plane.qa, role: "QA" }))).toBe("invalid")
    expect(await codeOf(set({ role: "  " }))).toBe("invalid")
    await plane.asPerson(app.agents.remove, { agentId: plane.qa })
    expect(await codeOf(set({ agentId: plane.qa }))).toBe("not_found")
    for (let index = 0; index < 100; index += 1) await set({ role: `role ${index}` })
    expect(await codeOf(set({ role: "one more" }))).toBe("limit")
    expect(await codeOf(set({ role: "ROLE 7" }))).toBeNull()
  })

  it("are set by owners and admins only, and listed for every member", async () => {
    const plane = await seededPlane()
    const { accountId } = plane
    const identity = { subject: "bo", name: "Bo", tokenIdentifier: "https://login|bo" }
    await plane.asPerson(app.members.add, { tokenIdentifier: "https://login|bo", name: "Bo", role: "member" })
    const bo = plane.t.withIdentity(identity)
    const set = bo.mutation(app.policies.set, { accountId, tool: "task_delete", effect: "ask" })
    expect(await codeOf(set)).toBe("forbidden")
    expect(await bo.query(app.policies.list, { accountId })).toEqual([])
    expect(await bo.query(app.approvals.list, { accountId })).toEqual([])
  })

  it("lose those of an agent that is removed", async () => {
    const plane = await seededPlane()
    await plane.asPerson(app.policies.set, { tool: "task_status", effect: "deny", agentId: plane.qa })
    await plane.asPerson(app.policies.set, { tool: "task_status", effect: "ask", role: "QA" })
    await plane.asPerson(app.agents.remove, { agentId: plane.qa })
    expect(await plane.seen(app.policies.list, {})).toMatchObject([{ role: "QA" }])
  })

  it("refuse a denied call with a reason that the agent can act on", async () => {
    const plane = await seededPlane()
    await plane.asPerson(app.policies.set, { tool: "task_status", effect: "deny", when: "status=review" })
    const taskId = await makeTask(plane, [plane.engineer])
    const fence = { ...fenceOf(await plane.takeOne()), settings }
    const set = (status: "in_progress" | "review") =>
      plane.mutate(service.tasks.setStatus, { ...fence, taskId, status })
    expect(await codeOf(set("in_progress"))).toBeNull()
    expect(await refusalOf(set("review"))).toMatchObject({
      code: "forbidden",
      reason: "policy",
      message: expect.stringContaining("A policy of this account denies task_status with status=review.")
    })
  })

  it("judge assignees outside the task, priorities, roles and agents", async () => {
    const plane = await seededPlane()
    await plane.asPerson(app.policies.set, { tool: "task_assign", effect: "deny", when: "assignee=outside" })
    await plane.asPerson(app.policies.set, { tool: "task_update", effect: "deny", role: "lead", when: "priority=1" })
    const taskId = await makeTask(plane, [plane.lead, plane.engineer])
    const fence = { ...fenceOf(await plane.takeOf("lead")), settings }
    const assign = (...assigneeSlugs: Array<string>) =>
      plane.mutate(service.tasks.assign, { ...fence, taskId, assigneeSlugs })
    const update = (priority: number) => plane.mutate(service.tasks.update, { ...fence, taskId, priority })
    expect(await codeOf(assign("lead"))).toBeNull()
    expect(await codeOf(assign("lead", "qa"))).toBe("forbidden")
    expect(await codeOf(update(2))).toBeNull()
    expect(await codeOf(update(1))).toBe("forbidden")
    await plane.asPerson(app.policies.set, { tool: "task_update", effect: "allow", agentId: plane.lead })
    expect(await codeOf(update(1))).toBeNull()
  })
})
