import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { minute, pass, stopTime } from "./clock.ts"
import {
  codeOf,
  complete,
  contextOf,
  leaseOf,
  makeTask,
  only,
  type Plane,
  refusalOf,
  seededPlane
} from "./controlPlane.ts"

stopTime()
const { app, service } = api

const slugsOf = async (plane: Plane, more: object = {}) =>
  (await plane.take({ heartbeatLimit: 8, ...more })).runs.map((run) =>
    "context" in run ? `${run.kind} ${run.context.agent.slug}` : "broken"
  )
const dueSessions = (plane: Plane) =>
  plane.t.run(async (ctx) => (await ctx.db.query("sessions").collect()).filter(({ at }) => at !== undefined).length)

describe("a paused agent", () => {
  it("gets no turn and no heartbeat, whatever arrives, until it is resumed; other agents continue", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane, [plane.engineer])
    await plane.asPerson(app.agents.pause, { agentId: plane.engineer })
    await plane.post(taskId, "@engineer @qa please")
    expect(await slugsOf(plane)).toEqual(["notification qa"])
    pass(20 * minute)
    expect(await slugsOf(plane)).not.toContain("heartbeat engineer")
    expect(await dueSessions(plane)).toBe(0)
    expect(await plane.pulse()).toMatchObject({ nextDueAt: expect.any(Number) })
    const before = await plane.wakes()
    await plane.asPerson(app.agents.resume, { agentId: plane.engineer })
    expect(await plane.wakes()).toBeGreaterThan(before)
    const run = only((await plane.take()).runs)
    expect(contextOf(run).agent.slug).toBe("engineer")
    await complete(plane, run)
    expect(await slugsOf(plane)).toContain("heartbeat engineer")
  })

  it("finishes its running turn, and gets no other after it", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    await plane.post(taskId, "@engineer one more")
    await plane.asPerson(app.agents.pause, { agentId: plane.engineer })
    await complete(plane, run, { outcome: "skipped" })
    expect(await slugsOf(plane, { heartbeatLimit: 0 })).toEqual([])
  })

  it("has its running work released on request, which counts no attempt and ends nothing", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    await plane.asPerson(app.agents.pause, { agentId: plane.engineer, release: true })
    expect(await refusalOf(complete(plane, run))).toMatchObject({ code: "lease_lost", reason: "paused" })
    expect((await plane.query(service.notifications.wake, {})).recalled).toEqual([
      { ...leaseOf(run), recalled: "paused" }
    ])
    expect(await plane.row(run.id)).toMatchObject({ state: "ready", attempts: 0 })
    await plane.asPerson(app.agents.resume, { agentId: plane.engineer })
    // The turn is not aborted yet.
    expect((await plane.take()).runs).toEqual([])
    const again = only((await plane.claim({ held: [] })).runs)
    expect(again).toMatchObject({ id: run.id, attempt: 1, epoch: run.epoch + 1 })
    expect(contextOf(again)).toMatchObject({ stoppedRuns: [], earlier: { attempts: 1 } })
  })

  it("is paused and resumed by its slug, and is shown as paused", async () => {
    const plane = await seededPlane()
    const paused = async () => [
      (await plane.query(service.agents.list, {})).agents.find(({ slug }) => slug === "qa")?.isPaused,
      (await plane.seen(app.agents.list, {})).find(({ slug }) => slug === "qa")?.isPaused
    ]
    const revision = async () => (await plane.query(service.agents.list, {})).revision
    const before = await revision()
    await plane.mutate(service.pauses.pause, { agent: "qa" })
    expect(await paused()).toEqual([true, true])
    expect(await revision()).toBe(before + 1)
    await plane.mutate(service.pauses.pause, { agent: "qa" })
    expect(await revision()).toBe(before + 1)
    await plane.mutate(service.pauses.resume, { agent: "qa" })
    expect(await paused()).toEqual([false, false])
    expect(await codeOf(plane.mutate(service.pauses.pause, { agent: "nobody" }))).toBe("not_found")
  })

  it("with hundreds of sessions is paused and resumed in batches", async () => {
    const plane = await seededPlane({ sessionScope: "task" })
    for (let index = 0; index < 230; index += 1) await makeTask(plane, [plane.engineer])
    await plane.asPerson(app.agents.pause, { agentId: plane.engineer })
    expect(await dueSessions(plane)).toBe(30)
    expect((await plane.take({ limit: 100 })).runs).toEqual([])
    await plane.asPerson(app.agents.resume, { agentId: plane.engineer })
    expect(await dueSessions(plane)).toBeGreaterThanOrEqual(200)
  }, 60_000)
})

describe("a paused account", () => {
  it("has its running work released on request", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer, plane.qa])
    const { runs } = await plane.take()
    await plane.asPerson(app.runtimes.pause, { release: true })
    for (const run of runs) expect(await plane.row(run.id)).toMatchObject({ state: "ready", attempts: 0 })
    expect((await plane.claim({ held: [] })).runs).toEqual([])
    await plane.asPerson(app.runtimes.resume, {})
    expect((await plane.claim({ held: [] })).runs).toHaveLength(2)
  })
})
