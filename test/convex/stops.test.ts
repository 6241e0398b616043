import { describe, expect, it } from "vitest"
import { api, internal } from "../../convex/_generated/api.js"
import { minute, pass, stopTime } from "./clock.ts"
import {
  codeOf,
  complete,
  contextOf,
  fail,
  fenceOf,
  finish,
  heartbeatOf,
  leaseOf,
  makeTask,
  spent,
  only,
  refusalOf,
  release,
  runningTurn,
  seededPlane,
  settings
} from "./controlPlane.ts"

stopTime()
const { app, service } = api

/** The engineer's running turn on a task. */
const turn = async (options: Parameters<typeof runningTurn>[0] = {}) => {
  const running = await runningTurn(options)
  const contents = async () => (await running.plane.thread(running.taskId)).map(({ content }) => content)
  return { ...running, contents }
}
/** A claim that names no lease: its process has aborted every turn. */
const confirmed = { held: [] }

describe("a stopped run", () => {
  it("cannot write any more, whatever call of its epoch arrives", async () => {
    const { plane, run, taskId } = await turn()
    expect(await plane.asPerson(app.runs.stop, { run: run.id })).toEqual({ stopped: 1, outcome: "stopped" })
    const fence = { ...fenceOf(run), settings }
    const calls = [
      () => complete(plane, run, { outcome: "replied", reply: "too late" }),
      () => fail(plane, run),
      () => release(plane, run),
      () => finish(plane, run),
      () => plane.mutate(service.tasks.setStatus, { ...fence, taskId, status: "in_progress" }),
      () => plane.mutate(service.documents.upsert, { ...fence, title: "D", content: "c", type: "note" })
    ]
    for (const call of calls) expect(await refusalOf(call())).toMatchObject({ code: "lease_lost", reason: "stopped" })
    expect(await plane.row(run.id)).toMatchObject({
      state: "delivered",
      outcome: "stopped",
      outcomeReason: "stopped by Ana"
    })
  })

  it("posts in the thread who stopped it, why, and what it had already done", async () => {
    const { contents, plane, run, taskId } = await turn()
    await plane.mutate(service.tasks.setStatus, { ...fenceOf(run), settings, taskId, status: "in_progress" })
    await plane.asPerson(app.runs.stop, { run: run.id, reason: "wrong branch" })
    expect(await contents()).toEqual([
      'Ana stopped the turn of Engineer: wrong branch\nIt had already made these changes, which stay:\n- task_status: moved "T" to in_progress'
    ])
    const { activities } = await plane.query(service.tasks.history, { taskId })
    expect(activities.map(({ summary }) => summary)).toContain("stopped a turn of Engineer: wrong branch")
  })

  it("is pushed and reported by a renewal, and keeps the session until its process no longer names it", async () => {
    const { plane, run, taskId } = await turn()
    await plane.asPerson(app.runs.stop, { run: run.id })
    const recalled = [{ ...leaseOf(run), recalled: "stopped" }]
    expect((await plane.query(service.notifications.wake, {})).recalled).toEqual(recalled)
    const renewal = { runtimeId: "r1", bootId: "b1", leaseMs: 90_000, leases: [leaseOf(run)] }
    expect(await plane.mutate(service.notifications.renew, renewal)).toMatchObject({
      lost: recalled,
      hasUnnamed: false
    })
    await plane.post(taskId, "@engineer something else")
    expect((await plane.take()).runs).toEqual([])
    const next = only((await plane.claim(confirmed)).runs)
    expect(next.epoch).toBe(run.epoch + 1)
    expect((await plane.query(service.notifications.wake, {})).recalled).toEqual([])
  })

  it("frees its session when the lease expires, if its process is gone", async () => {
    const { plane, run, taskId } = await turn()
    await plane.pulse("r2", "c1")
    await plane.asPerson(app.runs.stop, { run: run.id })
    await plane.post(taskId, "@engineer something else")
    const other = { runtimeId: "r2", bootId: "c1" }
    expect((await plane.take(other)).runs).toEqual([])
    pass(2 * minute)
    expect((await plane.take(other)).runs).toHaveLength(1)
    expect(await plane.row(run.id)).toMatchObject({ outcome: "stopped", crashes: 0 })
  })

  it("is named to the session's next turns until one of them completes", async () => {
    const { plane, run, taskId } = await turn()
    await plane.asPerson(app.runs.stop, { run: run.id })
    await plane.post(taskId, "@engineer something else")
    const next = only((await plane.claim(confirmed)).runs)
    expect(contextOf(next).stoppedRuns).toEqual([run.id])
    await fail(plane, next, { nextAttemptAt: Date.now() })
    const again = await plane.takeOne()
    expect(contextOf(again).stoppedRuns).toEqual([run.id])
    const usage = { ...spent(1), outputTokens: 1, model: null }
    await complete(plane, again, { outcome: "replied", reply: "Done.", usage })
    await plane.post(taskId, "@engineer and now")
    const own = (await plane.take()).runs.filter((each) => contextOf(each).agent.slug === "engineer")
    expect(contextOf(only(own)).stoppedRuns).toEqual([])
  })

  it("gets no second turn, fallback or retry unless a person runs it again", async () => {
    const { plane, run } = await turn()
    await plane.asPerson(app.runs.stop, { run: run.id })
    pass(60 * minute)
    expect((await plane.claim(confirmed)).runs).toEqual([])
    await plane.asPerson(app.runs.again, { run: run.id })
    const again = only((await plane.claim(confirmed)).runs)
    expect(again).toMatchObject({ id: run.id, attempt: 1, epoch: run.epoch + 1 })
    // The request that must be answered now.
    expect(contextOf(again)).toMatchObject({ stoppedRuns: [], earlier: { attempts: 1 } })
    await complete(plane, again, { outcome: "replied", reply: "Here." })
    expect(await plane.row(run.id)).toMatchObject({ outcome: "replied" })
    expect(await codeOf(plane.asPerson(app.runs.again, { run: run.id }))).toBe("conflict")
  })

  it("that has ended returns its outcome, and a second stop is harmless", async () => {
    const { plane, run } = await turn()
    await complete(plane, run, { outcome: "replied", reply: "Done." })
    expect(await plane.asPerson(app.runs.stop, { run: run.id })).toEqual({ stopped: 0, outcome: "replied" })
    const taskId = await makeTask(plane, [plane.qa])
    const { id } = only(await plane.notifications(taskId))
    expect(await plane.asPerson(app.runs.stop, { run: id })).toMatchObject({ stopped: 1 })
    expect(await plane.asPerson(app.runs.stop, { run: id })).toEqual({ stopped: 0, outcome: "stopped" })
    expect(await plane.thread(taskId)).toEqual([])
    expect(await codeOf(plane.asPerson(app.runs.stop, { run: "nonsense" }))).toBe("not_found")
    expect(await codeOf(plane.asPerson(app.runs.stop, {}))).toBe("invalid")
    expect(await codeOf(plane.asPerson(app.runs.stop, { run: id, task: taskId }))).toBe("invalid")
  })

  it("that is a heartbeat is skipped, and the next one follows", async () => {
    const plane = await seededPlane()
    pass(20 * minute)
    const run = only(
      (await plane.claim({ heartbeatLimit: 8 })).runs.filter((each) => each.kind === "heartbeat").slice(0, 1)
    )
    const { dueAt } = heartbeatOf(run).heartbeat
    expect(await plane.asPerson(app.runs.stop, { run: run.id })).toEqual({ stopped: 1, outcome: "stopped" })
    expect(await plane.asPerson(app.runs.stop, { run: run.id })).toEqual({ stopped: 0, outcome: "ended" })
    expect(await codeOf(finish(plane, run))).toBe("lease_lost")
    const heartbeats = await plane.t.run((ctx) => ctx.db.query("heartbeats").collect())
    expect(heartbeats.find(({ agentId }) => run.id.startsWith(agentId))?.dueAt).toBeGreaterThan(dueAt)
  })
})

describe("a stop of a whole task or agent", () => {
  it("ends the running, ready and retrying runs, but no later message", async () => {
    const { plane, run, taskId } = await turn()
    await plane.post(taskId, "@engineer @qa please")
    const qas = only((await plane.take()).runs)
    await fail(plane, qas, { nextAttemptAt: Date.now() + minute })
    expect(await plane.asPerson(app.runs.stop, { task: taskId, reason: "enough" })).toEqual({
      stopped: 3,
      outcome: null
    })
    expect(await plane.asPerson(app.runs.stop, { task: taskId })).toEqual({ stopped: 0, outcome: null })
    expect(await codeOf(complete(plane, run))).toBe("lease_lost")
    pass(5 * minute)
    expect((await plane.claim(confirmed)).runs).toEqual([])
    await plane.post(taskId, "@engineer a new request")
    expect((await plane.claim(confirmed)).runs).toHaveLength(1)
  })

  it("takes an agent by its slug, with its heartbeat, and leaves other agents alone", async () => {
    const { plane, run, taskId } = await turn()
    await plane.post(taskId, "@qa please")
    const qas = await plane.takeOne()
    expect(await plane.mutate(service.runs.stop, { agent: "engineer" })).toEqual({ stopped: 1, outcome: null })
    expect(await codeOf(complete(plane, run))).toBe("lease_lost")
    expect(await plane.row(run.id)).toMatchObject({ outcomeReason: "stopped by Operator" })
    await complete(plane, qas, { outcome: "replied", reply: "Here." })
  })

  it("of more than one batch lets none of them be claimed or take an event in between", async () => {
    const plane = await seededPlane({ sessionScope: "task" })
    const tasks: Array<string> = []
    for (let index = 0; index < 45; index += 1) tasks.push(await makeTask(plane, [plane.engineer]))
    await plane.asPerson(app.runs.stop, { agent: plane.engineer })
    const waiting = async () =>
      (await plane.t.run((ctx) => ctx.db.query("notifications").collect())).filter(({ state }) => state === "ready")
    const left = await waiting()
    expect(left).toHaveLength(15)
    expect((await plane.take({ limit: 100 })).runs).toEqual([])
    await plane.post(left[0]?.taskId ?? "", "@engineer a new request")
    const later = only((await plane.take({ limit: 100 })).runs)
    expect(contextOf(later).events).toHaveLength(1)
    const stops = () => plane.t.run((ctx) => ctx.db.query("stops").collect())
    for (const { _id: id } of await stops()) await plane.t.mutation(internal.scheduled.stops.continueStop, { id })
    expect(await waiting()).toEqual([])
    expect(await stops()).toEqual([])
    await complete(plane, later, { outcome: "replied", reply: "Here." })
  })

  it.each(["done", "archived"] as const)("happens when a person sets the task to %s", async (status) => {
    const { contents, plane, run, taskId } = await turn()
    await plane.asPerson(app.tasks.setStatus, { taskId, status: "in_progress" })
    if (status === "done") await plane.asPerson(app.tasks.setStatus, { taskId, status: "review" })
    await plane.asPerson(app.tasks.setStatus, { taskId, status })
    expect(await codeOf(complete(plane, run))).toBe("lease_lost")
    expect((await contents())[0]).toMatch(/^Ana stopped the turn of Engineer: the task was (?:archived|marked as done)/)
  })

  it("happens when a run archives the task, except for that run", async () => {
    const { plane, run, taskId } = await turn()
    await plane.post(taskId, "@lead please tidy up")
    const leads = await plane.takeOne()
    const fence = { ...fenceOf(leads), settings }
    const answer = await plane.mutate(service.tasks.remove, { ...fence, taskId, reason: "made twice" })
    // The engineer's turn, and the notification that the task is archived.
    expect(answer).toMatchObject({ changed: true, stopped: 2 })
    expect(await codeOf(complete(plane, run))).toBe("lease_lost")
    await complete(plane, leads, { outcome: "acted" })
    expect(await codeOf(plane.asPerson(app.runs.again, { run: run.id }))).toBe("invalid")
  })
})

describe("the list of runs", () => {
  it("shows running, stopping, waiting and ended runs", async () => {
    const { plane, run, taskId } = await turn()
    await plane.post(taskId, "@qa please")
    const list = (args: { ended?: boolean } = {}) => plane.seen(app.runs.list, args)
    const states = async () => (await list()).map(({ agentSlug, state }) => [agentSlug, state])
    expect(await states()).toEqual([
      ["engineer", "running"],
      ["qa", "waiting"]
    ])
    await plane.asPerson(app.runs.stop, { run: run.id, reason: "why not" })
    expect(await states()).toContainEqual(["engineer", "stopping"])
    await plane.claim({ limit: 1, ...confirmed })
    expect(await states()).toEqual([["qa", "running"]])
    expect(await list({ ended: true })).toMatchObject([
      { id: run.id, outcome: "stopped", outcomeReason: "stopped by Ana: why not", taskTitle: "T" }
    ])
  })

  it("shows a run in full, with its attempts", async () => {
    const { plane, run, taskId } = await turn()
    const set = (leased: typeof run, status: "in_progress" | "review") =>
      plane.mutate(service.tasks.setStatus, { ...fenceOf(leased), settings, taskId, status })
    await set(run, "in_progress")
    await fail(plane, run, { nextAttemptAt: Date.now() })
    const again = await plane.takeOne()
    await set(again, "review")
    await plane.asPerson(app.runs.stop, { run: run.id })
    expect(await plane.seen(app.runs.get, { run: run.id })).toMatchObject({
      run: { state: "stopping", outcome: "stopped", runtimeId: "r1" },
      claims: 2,
      failures: 1,
      error: { class: "TurnTimeout" },
      events: [{ type: "assignment", actorName: "Ana" }],
      effects: [
        { epoch: run.epoch, tool: "task_status" },
        { epoch: again.epoch, tool: "task_status" }
      ]
    })
    expect(await codeOf(plane.seen(app.runs.get, { run: "nonsense" }))).toBe("not_found")
  })
})
