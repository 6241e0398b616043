import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { minute, pass, stopTime } from "./clock.ts"
import {
  complete,
  contextOf,
  fenceOf,
  only,
  makeTask,
  type Plane,
  seededPlane,
  withoutHeartbeats,
  settings
} from "./controlPlane.ts"

stopTime()
const { app, service } = api

/** A live run of an agent on a task in progress, during which a person can act. */
const during = async (slug: "lead" | "engineer" = "engineer") => {
  const plane = await withoutHeartbeats(await seededPlane())
  const taskId = await makeTask(plane, [plane[slug]])
  await plane.asPerson(app.tasks.setStatus, { taskId, status: "in_progress" })
  const run = only((await plane.take()).runs)
  pass(minute)
  const fence = { ...fenceOf(run), settings, taskId }
  return {
    plane,
    taskId,
    run,
    taskNow: async () => (await plane.query(service.tasks.get, { taskId })).task,
    person: (status: "blocked" | "in_progress" | "review" | "done" | "assigned") =>
      plane.asPerson(app.tasks.setStatus, { taskId, status, blockedReason: "wait for legal" }),
    set: (status: "in_progress" | "review" | "blocked" | "done") =>
      plane.mutate(service.tasks.setStatus, { ...fence, status, blockedReason: "no access" }),
    update: (change: object) => plane.mutate(service.tasks.update, { ...fence, ...change }),
    assign: (assigneeSlugs: Array<string>) => plane.mutate(service.tasks.assign, { ...fence, assigneeSlugs }),
    remove: () => plane.mutate(service.tasks.remove, { ...fence, reason: "not wanted" })
  }
}

const effectsOf = (plane: Plane) => plane.t.run((ctx) => ctx.db.query("effects").collect())

describe("a person's decision during a turn", () => {
  it("is not undone by the turn's task_status, which returns the current status and the reason", async () => {
    const { person, plane, set, taskNow } = await during()
    await person("blocked")
    const answer = await set("in_progress")
    expect(answer).toMatchObject({ status: "blocked", previousStatus: "blocked", changed: false, path: [] })
    expect(answer.reason).toMatch(/^Ana changed the status to blocked after your turn began/)
    expect(await taskNow()).toMatchObject({ status: "blocked", blockedReason: "wait for legal" })
    expect(await effectsOf(plane)).toEqual([])
    // Requesting a response again is not a newer decision.
    expect(await set("in_progress")).toMatchObject({ changed: false })
  })

  it("holds even if the change would have been refused anyway, or restores the status that the turn was shown", async () => {
    const { person, set, taskNow } = await during()
    await set("review")
    pass(minute)
    await person("in_progress")
    expect(await set("review")).toMatchObject({ status: "in_progress", changed: false })
    await person("review")
    await person("blocked")
    expect((await set("in_progress")).reason).toMatch(/ to blocked after your turn began/)
    expect((await taskNow()).status).toBe("blocked")
  })

  it("is known to the next turn, which may change it", async () => {
    const { person, plane, run, taskId } = await during()
    await person("blocked")
    await complete(plane, run)
    pass(minute)
    await plane.post(taskId, "legal agrees, go on")
    const next = await plane.takeOf("engineer")
    expect(contextOf(next).task?.status).toBe("blocked")
    const fence = { ...fenceOf(next), settings, taskId }
    expect(await plane.mutate(service.tasks.setStatus, { ...fence, status: "in_progress" })).toMatchObject({
      status: "in_progress",
      changed: true
    })
  })

  it("is known to a turn whose lease is returned again after it", async () => {
    const { person, plane, taskId } = await during()
    await person("blocked")
    pass(minute)
    const again = only((await plane.claim({ held: [] })).runs)
    const fence = { ...fenceOf(again), settings, taskId }
    expect(await plane.mutate(service.tasks.setStatus, { ...fence, status: "in_progress" })).toMatchObject({
      changed: true
    })
  })

  it("is neither the turn's own change nor another agent's", async () => {
    const { person, plane, set, taskId, taskNow } = await during()
    expect(await set("review")).toMatchObject({ changed: true })
    expect(await set("in_progress")).toMatchObject({ changed: true })
    pass(minute)
    await person("blocked")
    pass(minute)
    // The orchestrator's turn begins later, and has seen the block.
    await plane.asPerson(app.tasks.create, { title: "Chat", assigneeIds: [plane.lead] })
    const leads = only((await plane.take()).runs)
    const fence = { ...fenceOf(leads), settings, taskId }
    await plane.mutate(service.tasks.setStatus, { ...fence, status: "in_progress" })
    expect(await set("review")).toMatchObject({ changed: true })
    expect((await taskNow()).status).toBe("review")
  })

  it("on a field is not undone by task_update, which then changes nothing", async () => {
    const { plane, taskId, taskNow, update } = await during("lead")
    await plane.asPerson(app.tasks.update, { taskId, priority: 1 })
    const answer = await update({ priority: 4, title: "Renamed", status: "review" })
    expect(answer).toMatchObject({ status: "in_progress", previousStatus: "in_progress", changed: false })
    expect(answer.reason).toMatch(/^Ana changed the priority after your turn began/)
    expect(await taskNow()).toMatchObject({ priority: 1, title: "T", status: "in_progress" })
    // Fields that the person left alone may change, and so may fields that are set to their current value.
    expect(await update({ priority: 1, title: "Renamed" })).toMatchObject({ changed: true })
  })

  it("on the assignees is not undone by task_assign or task_update", async () => {
    const { assign, plane, taskId, taskNow, update } = await during("lead")
    await plane.asPerson(app.tasks.assign, { taskId, assigneeIds: [plane.qa] })
    const answer = await assign(["engineer"])
    expect(answer).toMatchObject({ assigneeSlugs: ["qa"], changed: false })
    expect(answer.reason).toMatch(/^Ana changed the assignees after/)
    expect(await update({ assigneeSlugs: ["engineer"] })).toMatchObject({ changed: false })
    expect(await assign(["qa"])).toEqual({ taskId, status: "in_progress", assigneeSlugs: ["qa"], changed: false })
    expect((await taskNow()).assignees).toMatchObject([{ slug: "qa" }])
  })

  it("keeps the task from being archived by task_delete", async () => {
    const { person, remove, taskNow } = await during("lead")
    await person("review")
    expect(await remove()).toMatchObject({ status: "review", changed: false, stopped: 0 })
    expect((await taskNow()).status).toBe("review")
  })

  it("to set the task back to assigned holds after the reply, which otherwise sets in_progress", async () => {
    const { person, plane, run, taskNow } = await during()
    await person("blocked")
    await person("assigned")
    await complete(plane, run, { outcome: "replied", reply: "On it." })
    expect((await taskNow()).status).toBe("assigned")
  })
})
