import { describe, expect, it } from "vitest"
import { api, internal } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { hour, minute, pass, stopTime } from "./clock.ts"
import { codeOf, complete, fenceOf, makeTask, only, refusalOf, release, seededPlane, settings } from "./controlPlane.ts"
import { ask, askedOf, deleting, requestsTo } from "./deletions.ts"

stopTime()
const { app, service } = api

describe("an approved call", () => {
  it("is executed once as the agent under the run that asked, which reads the result", async () => {
    const { approve, call, id, other, plane, run, show, statusOf } = await deleting()
    expect(await approve()).toMatchObject({ state: "approved", decidedBy: { name: "Ana" }, endedAt: Date.now() })
    expect(await statusOf()).toBe("archived")
    const result = { taskId: other, status: "archived", changed: true, stopped: 0 }
    expect(JSON.parse((await show()).result ?? "")).toEqual(result)
    expect(await codeOf(approve())).toBe("conflict")
    expect(await call()).toEqual(result)
    const { activities } = await plane.query(service.tasks.history, { taskId: other })
    expect(activities.filter(({ type }) => type === "task_removed")).toMatchObject([{ actor: { slug: "lead" } }])
    expect(activities.filter(({ type }) => type === "approval_approved")).toMatchObject([{ actor: { name: "Ana" } }])
    const effects = await plane.t.run((ctx) =>
      ctx.db
        .query("effects")
        .withIndex("by_run", (q) => q.eq("runId", run.id))
        .collect()
    )
    expect(effects.map(({ tool }) => tool)).toEqual(["approval_request", "task_delete"])
    expect(await plane.seen(app.approvals.list, {})).toEqual([])
    expect(await plane.seen(app.approvals.list, { ended: true })).toMatchObject([{ id }])
  })

  it("notifies the agent in its own task with the result, and ends the person's notification", async () => {
    const { approve, other, plane, run, taskId } = await deleting()
    await complete(plane, run, { outcome: "replied", reply: "It waits for approval." })
    await approve()
    const [request] = await requestsTo(plane)
    expect(request).toMatchObject({ type: "mention", by: "Ana" })
    expect(request?.request).toMatch(/^Your call: task_delete \{.*\}\nApproved and executed\. .*"status":"archived"/)
    const notices = (await plane.notifications(other)).filter(({ recipientType }) => recipientType === "person")
    expect(notices.map(({ state }) => state)).toEqual(["delivered"])
    expect((await plane.notifications(taskId)).some(({ type }) => type === "mention")).toBe(true)
  })

  it("creates something once, and the run's identical call gets it", async () => {
    const plane = await seededPlane()
    await plane.asPerson(app.accounts.configure, { agentFlags: { canCreateTasks: true } })
    await ask(plane, "task_create")
    await makeTask(plane, [plane.engineer])
    const fence = { ...fenceOf(await plane.takeOne()), settings }
    const create = () => plane.mutate(service.tasks.create, { ...fence, title: "Made" })
    const id = askedOf(await create())
    const { result } = await plane.asPerson(app.approvals.approve, { id })
    const { taskId } = JSON.parse(result ?? "")
    expect(await create()).toEqual({ taskId, status: "inbox", repeated: true })
    const titles = (await plane.seen(app.tasks.list, {})).map(({ title }) => title)
    expect(titles.filter((title) => title === "Made")).toHaveLength(1)
  })

  it("starts a new chain, so that its events reach agents beyond the hop limit and the limit of turns", async () => {
    const plane = await seededPlane()
    await ask(plane, "task_assign")
    const taskId = await makeTask(plane, [plane.lead], "Own")
    const fence = { ...fenceOf(await plane.takeOne()), settings: { ...settings, maxHops: 0 } }
    const id = askedOf(await plane.mutate(service.tasks.assign, { ...fence, taskId, assigneeSlugs: ["lead", "qa"] }))
    await plane.t.run((ctx) => ctx.db.patch("tasks", taskId as Id<"tasks">, { isAtTurnLimit: true }))
    await plane.asPerson(app.approvals.approve, { id })
    const toQa = (await plane.notifications(taskId)).filter(({ recipientName }) => recipientName === "QA")
    expect(toQa).toMatchObject([{ type: "assignment", events: [{ actor: { slug: "lead" } }] }])
  })

  it("is executed although the end of the same run has begun the work on its task", async () => {
    const plane = await seededPlane()
    await ask(plane, "task_status", { when: "status=review" })
    const taskId = await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    const call = { ...fenceOf(run), settings, taskId, status: "review" as const }
    const id = askedOf(await plane.mutate(service.tasks.setStatus, call))
    await complete(plane, run, { outcome: "replied", reply: "I wait." })
    expect((await plane.query(service.tasks.get, { taskId })).task.status).toBe("in_progress")
    await plane.asPerson(app.approvals.approve, { id })
    expect((await plane.query(service.tasks.get, { taskId })).task.status).toBe("review")
  })

  it("does not stop the run that asked, which may wait for a retry", async () => {
    const plane = await seededPlane()
    await ask(plane, "task_delete")
    const taskId = await makeTask(plane, [plane.lead], "Own")
    const run = await plane.takeOne()
    const call = { ...fenceOf(run), settings, taskId, reason: "over" }
    const id = askedOf(await plane.mutate(service.tasks.remove, call))
    await release(plane, run, { nextAttemptAt: Date.now() + minute })
    await plane.asPerson(app.approvals.approve, { id })
    expect(await plane.row(run.id)).toMatchObject({ state: "ready" })
    expect((await plane.query(service.tasks.get, { taskId })).task.status).toBe("archived")
  })

  it("is executed for a run that has ended, and delivered although its task is done", async () => {
    const { approve, plane, run, statusOf, taskId } = await deleting()
    await complete(plane, run, { outcome: "replied", reply: "It waits." })
    await plane.t.run((ctx) => ctx.db.patch("tasks", taskId as Id<"tasks">, { status: "done" }))
    await approve()
    expect(await statusOf()).toBe("archived")
    const row = only((await plane.notifications(taskId)).filter(({ type }) => type === "mention"))
    expect(row.state).toBe("ready")
  })
})

describe("an approval is refused with conflict, having changed nothing,", () => {
  const unchanged = async (
    { approve, other, plane, show }: Awaited<ReturnType<typeof deleting>>,
    state: "pending" | "withdrawn" = "pending"
  ) => {
    expect(await codeOf(approve())).toBe("conflict")
    expect(await show()).toMatchObject({ state, result: null })
    const { activities } = await plane.query(service.tasks.history, { taskId: other })
    expect(activities.filter(({ type }) => type === "task_removed")).toEqual([])
  }

  it("if the task's status has changed", async () => {
    const asked = await deleting()
    await asked.plane.asPerson(app.tasks.assign, { taskId: asked.other, assigneeIds: [asked.plane.qa] })
    await asked.plane.asPerson(app.tasks.setStatus, { taskId: asked.other, status: "in_progress" })
    await unchanged(asked)
  })

  it("if the task's assignees have changed", async () => {
    const asked = await deleting()
    await asked.plane.t.run((ctx) =>
      ctx.db.patch("tasks", asked.other as Id<"tasks">, { assigneeIds: [asked.plane.qa as Id<"agents">] })
    )
    await unchanged(asked)
  })

  it("if a later policy denies the call", async () => {
    const asked = await deleting()
    await asked.plane.asPerson(app.policies.set, { tool: "task_delete", effect: "deny" })
    await unchanged(asked)
  })

  it("if the task was archived, the agent was removed, or its run was stopped, which withdraws the request", async () => {
    const archived = await deleting()
    await archived.plane.asPerson(app.tasks.setStatus, { taskId: archived.other, status: "archived" })
    expect(await archived.show()).toMatchObject({ state: "withdrawn", reason: "the task was archived" })
    expect(await codeOf(archived.approve())).toBe("conflict")
    const removed = await deleting()
    await removed.plane.asPerson(app.agents.remove, { agentId: removed.plane.lead })
    await unchanged(removed, "withdrawn")
    const stopped = await deleting()
    await stopped.plane.asPerson(app.runs.stop, { run: stopped.run.id, reason: "wrong" })
    await unchanged(stopped, "withdrawn")
    const byTask = await deleting()
    await byTask.plane.asPerson(app.runs.stop, { task: byTask.taskId })
    await unchanged(byTask, "withdrawn")
    const byAgent = await deleting()
    await byAgent.plane.asPerson(app.runs.stop, { agent: "lead" })
    await unchanged(byAgent, "withdrawn")
  })

  it("if the run was stopped after it had ended", async () => {
    const asked = await deleting()
    await complete(asked.plane, asked.run, { outcome: "replied", reply: "It waits." })
    expect(await asked.plane.asPerson(app.runs.stop, { run: asked.run.id })).toMatchObject({ stopped: 0 })
    await unchanged(asked, "withdrawn")
    expect(await requestsTo(asked.plane)).toEqual([])
  })

  it("if the tool itself refuses the call now", async () => {
    const asked = await deleting()
    await asked.plane.asPerson(app.agents.update, { agentId: asked.plane.lead, isOrchestrator: false })
    expect(await codeOf(asked.approve())).toBe("forbidden")
    expect(await asked.show()).toMatchObject({ state: "pending" })
  })

  it("if it is another account's", async () => {
    const { id, plane } = await deleting()
    const { accountId } = await plane.secondAccount()
    const stranger = plane.t.withIdentity({ subject: "mallory", name: "Mallory" })
    expect(await codeOf(stranger.mutation(app.approvals.approve, { accountId, id }))).toBe("not_found")
    expect(await codeOf(stranger.mutation(app.approvals.deny, { accountId: plane.accountId, id }))).toBe("forbidden")
  })
})

describe("a denied call", () => {
  it("is not executed, and the agent reads who denied it and why, as its repeated call does", async () => {
    const { approve, call, deny, plane, run, statusOf } = await deleting()
    expect(await deny("we still need it")).toMatchObject({ state: "denied", reason: "we still need it" })
    expect(await codeOf(approve())).toBe("conflict")
    expect(await codeOf(deny())).toBe("conflict")
    expect(await refusalOf(call())).toMatchObject({
      code: "forbidden",
      reason: "policy",
      message: "Ana denied this call: we still need it. Do not repeat the call."
    })
    expect(await statusOf()).toBe("inbox")
    await complete(plane, run)
    expect(await requestsTo(plane)).toMatchObject([
      { type: "mention", by: "Ana", request: expect.stringContaining("Denied and not executed.") }
    ])
  })
})

describe("decisions of several people at the same moment", () => {
  const orders = [
    ["approve", "deny"],
    ["deny", "approve"],
    ["approve", "approve"],
    ["archive", "approve", "deny"],
    ["approve", "archive", "deny"],
    ["stop", "deny", "approve"],
    ["expire", "approve", "deny"]
  ] as const
  it.each(orders.map((order) => [order.join(", then "), order] as const))("have one effect: %s", async (_, order) => {
    const { approve, deny, id, other, plane, run, show } = await deleting()
    const deeds = {
      approve,
      deny: () => deny("no"),
      archive: () => plane.asPerson(app.tasks.setStatus, { taskId: other, status: "archived" }),
      stop: () => plane.asPerson(app.runs.stop, { run: run.id }),
      expire: () => plane.t.mutation(internal.scheduled.approvals.expire, { id: id as Id<"approvals"> })
    }
    const codes = await Promise.all(order.map((deed) => codeOf(deeds[deed]())))
    const { state } = await show()
    const isExecuted = (await plane.query(service.tasks.history, { taskId: other })).activities.some(
      ({ type }) => type === "task_removed"
    )
    expect(isExecuted).toBe(state === "approved")
    const decisions = order.flatMap((deed, index) => (["approve", "deny"].includes(deed) ? [codes[index]] : []))
    expect(decisions.filter((code) => code === null)).toHaveLength(["approved", "denied"].includes(state) ? 1 : 0)
    expect(decisions.filter((code) => code !== null && code !== "conflict")).toEqual([])
    const ends = await plane.seen(app.activities.list, {})
    const endTypes = ["approval_approved", "approval_denied", "approval_expired", "approval_withdrawn"]
    expect(ends.filter(({ type }) => endTypes.includes(type))).toHaveLength(1)
  })
})

describe("a call about which no one decided", () => {
  it("expires after a day and notifies the agent", async () => {
    const { approve, call, id, plane, run, show } = await deleting()
    pass(24 * hour)
    expect(await codeOf(approve())).toBe("conflict")
    await plane.t.mutation(internal.scheduled.approvals.expire, { id: id as Id<"approvals"> })
    expect(await show()).toMatchObject({ state: "expired", decidedBy: null })
    expect(await codeOf(call())).toBe("forbidden")
    await complete(plane, run)
    expect(await requestsTo(plane)).toMatchObject([
      { by: "Mission Control", request: expect.stringContaining("no one decided within 24 hours") }
    ])
  })

  it("is scheduled to expire when it is asked for, and stays decided if it was", async () => {
    const { deny, id, plane, show } = await deleting()
    const scheduled = await plane.t.run((ctx) => ctx.db.system.query("_scheduled_functions").collect())
    expect(scheduled.map(({ name, scheduledTime }) => [name.replace(/\.js:/, ":"), scheduledTime])).toContainEqual([
      "scheduled/approvals:expire",
      Date.now() + 24 * hour
    ])
    await deny()
    await plane.t.mutation(internal.scheduled.approvals.expire, { id: id as Id<"approvals"> })
    expect(await show()).toMatchObject({ state: "denied" })
  })
})
