import { describe, expect, it } from "vitest"
import { api, internal } from "../../convex/_generated/api.js"
import { hour, minute, pass, stopTime } from "./clock.ts"
import {
  codeOf,
  complete,
  contextOf,
  fenceOf,
  finish,
  first,
  heartbeatOf,
  makeTask,
  only,
  type Plane,
  refusalOf,
  release,
  seededPlane,
  settings
} from "./controlPlane.ts"
import { ask, askedOf, deleting } from "./deletions.ts"

stopTime()
const { app, service } = api

describe("a call that a policy sends to a person", () => {
  it("is stored with its run and not executed, and the person responsible is notified", async () => {
    const { id, other, plane, run, show, statusOf } = await deleting()
    expect(await statusOf()).toBe("inbox")
    expect(await plane.seen(app.approvals.list, {})).toMatchObject([{ id, state: "pending", tool: "task_delete" }])
    expect(await show()).toMatchObject({
      id,
      state: "pending",
      agentSlug: "lead",
      tool: "task_delete",
      arguments: JSON.stringify({ reason: "not needed", taskId: other }),
      run: run.id,
      taskId: other,
      taskTitle: "Other",
      taskStatus: "inbox",
      expiresAt: Date.now() + 24 * hour
    })
    expect((await show()).hash).toMatch(/^[0-9a-f]{64}$/)
    const notice = only((await plane.notifications(other)).filter(({ recipientType }) => recipientType === "person"))
    expect(notice).toMatchObject({ state: "unread", recipientName: "Ana" })
    expect(first(notice.events).text).toBe(
      `Squad Lead asks to call task_delete. To see the call and decide, run \`approvals show ${id}\`.`
    )
    const { activities } = await plane.query(service.tasks.history, { taskId: other })
    expect(activities.at(-1)).toMatchObject({ type: "approval_requested", summary: "asked to call task_delete" })
  })

  it("is sent to the account's webhooks once", async () => {
    const { call, fence, other, plane } = await deleting()
    await plane.asPerson(app.webhooks.add, { url: "https://hooks.example.com/approvals" })
    await call()
    const id = askedOf(await plane.mutate(service.tasks.remove, { ...fence, taskId: other, reason: "another" }))
    const sent = await plane.t.run((ctx) => ctx.db.query("webhookDeliveries").collect())
    expect(sent.map(({ body, type }) => [type, JSON.parse(body).data])).toMatchObject([
      ["approval.requested", { approvalId: id, taskId: other, agentId: plane.lead, tool: "task_delete" }]
    ])
  })

  it("asks once, also in a later attempt and after a lost answer, and the retry reads that it asked", async () => {
    const { call, id, plane, run } = await deleting()
    expect(askedOf(await call())).toBe(id)
    await release(plane, run)
    const again = await plane.takeOne()
    expect(askedOf(await call({ ...fenceOf(again), settings }))).toBe(id)
    expect(await plane.seen(app.approvals.list, {})).toHaveLength(1)
    await plane.mutate(service.notifications.fail, {
      ...fenceOf(again),
      class: "TurnTimeout",
      error: "",
      nextAttemptAt: Date.now(),
      silence: false,
      silenceLimit: 3
    })
    expect(contextOf(await plane.takeOne()).earlier.effects).toMatchObject([
      { tool: "approval_request", summary: "asked a person to approve task_delete" }
    ])
  })

  it("asks for each different call", async () => {
    const { fence, id, other, plane } = await deleting()
    const more = await plane.mutate(service.tasks.remove, { ...fence, taskId: other, reason: "another reason" })
    expect(askedOf(more)).not.toBe(id)
    expect(await plane.seen(app.approvals.list, {})).toHaveLength(2)
  })

  it("does not ask for a call that the agent may not make, or that changes nothing", async () => {
    const plane = await seededPlane()
    for (const tool of ["task_delete", "task_status"] as const) await ask(plane, tool)
    const taskId = await makeTask(plane, [plane.engineer])
    const fence = { ...fenceOf(await plane.takeOne()), settings }
    expect(await codeOf(plane.mutate(service.tasks.remove, { ...fence, taskId, reason: "r" }))).toBe("forbidden")
    expect(await codeOf(plane.mutate(service.tasks.setStatus, { ...fence, taskId, status: "done" }))).toBe("invalid")
    expect(await plane.mutate(service.tasks.setStatus, { ...fence, taskId, status: "assigned" })).toMatchObject({
      changed: false
    })
    pass(minute)
    await plane.asPerson(app.tasks.setStatus, { taskId, status: "blocked", blockedReason: "wait" })
    expect(await plane.mutate(service.tasks.setStatus, { ...fence, taskId, status: "in_progress" })).toMatchObject({
      changed: false,
      reason: expect.stringContaining("Ana changed the status")
    })
    expect(await plane.seen(app.approvals.list, {})).toEqual([])
  })

  it("is refused in a heartbeat that has no task in which to ask", async () => {
    const plane = await seededPlane()
    await plane.asPerson(app.accounts.configure, { agentFlags: { canCreateTasks: true } })
    await ask(plane, "task_create")
    pass(hour)
    const heartbeat = first((await plane.take({ heartbeatLimit: 1 })).runs)
    heartbeatOf(heartbeat)
    const call = plane.mutate(service.tasks.create, { ...fenceOf(heartbeat), settings, title: "New" })
    expect(await refusalOf(call)).toMatchObject({
      code: "forbidden",
      message: expect.stringContaining("a heartbeat has no task in which to ask")
    })
    await finish(plane, heartbeat)
  })

  it("is refused if its arguments are too long, or if the account has fifty open requests", async () => {
    const { fence, other, plane } = await deleting()
    await ask(plane, "document_upsert")
    const long = { ...fence, title: "D", type: "note" as const, content: "x".repeat(64_000) }
    expect(await codeOf(plane.mutate(service.documents.upsert, long))).toBe("limit")
    const remove = (reason: string) => plane.mutate(service.tasks.remove, { ...fence, taskId: other, reason })
    for (let index = 1; index < 50; index += 1) askedOf(await remove(`reason ${index}`))
    expect(await codeOf(remove("one too many"))).toBe("limit")
  })

  it("is never asked for by a run that has lost its lease", async () => {
    const { fence, other, plane, run } = await deleting()
    await plane.asPerson(app.runs.stop, { run: run.id })
    const late = plane.mutate(service.tasks.remove, { ...fence, taskId: other, reason: "too late" })
    expect(await codeOf(late)).toBe("lease_lost")
    expect(await plane.seen(app.approvals.list, {})).toEqual([])
  })
})

describe("an ended request for approval", () => {
  it("is deleted after ninety days, an open one is not", async () => {
    const { deny, fence, other, plane } = await deleting()
    await deny()
    askedOf(await plane.mutate(service.tasks.remove, { ...fence, taskId: other, reason: "still open" }))
    const sweep = async () => {
      await plane.t.mutation(internal.scheduled.retention.sweep, {})
      return (await plane.t.run((ctx) => ctx.db.query("approvals").collect())).map(({ state }) => state)
    }
    pass(90 * 24 * hour)
    expect(await sweep()).toEqual(["denied", "pending"])
    pass(1)
    expect(await sweep()).toEqual(["pending"])
  })
})

describe("the cost of policies", () => {
  it("is nothing for an account that never had any, and one row for one that has", async () => {
    const costOf = async (prepare: (plane: Plane) => Promise<unknown>) => {
      const plane = await seededPlane()
      await prepare(plane)
      const taskId = await makeTask(plane, [plane.engineer])
      const run = await plane.takeOne()
      const claim = plane.usage()
      await plane.mutate(service.tasks.setStatus, { ...fenceOf(run), settings, taskId, status: "in_progress" })
      const tool = plane.usage()
      await complete(plane, run, { outcome: "replied", reply: "Done." })
      return [claim, tool, plane.usage()].map(({ documentsRead, readIntervals }) => [documentsRead, readIntervals])
    }
    const without = await costOf(async () => {})
    const withOne = await costOf((plane) => ask(plane, "task_delete"))
    const [claim, tool, completion] = without
    expect(withOne).toEqual([claim, [tool?.[0], (tool?.[1] ?? 0) + 1], completion])
  })
})
