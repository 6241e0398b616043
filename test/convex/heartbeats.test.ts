import { describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { nextCronMoment } from "../../convex/model/heartbeats/heartbeatSchedule.ts"
import { minute, pass, stopTime } from "./clock.ts"
import {
  type ClaimArgs,
  codeOf,
  complete,
  contextOf,
  fail,
  fenceOf,
  finish,
  first,
  heartbeatOf,
  makeTask,
  only,
  type Plane,
  release,
  type Run,
  seededPlane,
  settings
} from "./controlPlane.ts"

stopTime()

const rowOf = (plane: Plane, agentId: string) =>
  plane.t.run((ctx) =>
    ctx.db
      .query("heartbeats")
      .withIndex("by_agent", (q) => q.eq("agentId", agentId as Id<"agents">))
      .unique()
  )

/** Deletes the heartbeats of all other agents. */
const onlyOf = (plane: Plane, agentId: string) =>
  plane.t.run(async (ctx) => {
    for (const row of await ctx.db.query("heartbeats").collect()) {
      if (row.agentId !== agentId) await ctx.db.delete("heartbeats", row._id)
    }
  })

/** The due time of the agent's heartbeat. */
const dueAtOf = async (plane: Plane, agentId: string): Promise<number> => {
  const row = await rowOf(plane, agentId)
  if (row === null) throw new Error("expected a heartbeat")
  return row.dueAt
}

/** A plane in which only the engineer's heartbeat is due. */
const due = async (settings: { readonly sessionScope?: "agent" | "task" } = {}) => {
  const plane = await seededPlane(settings)
  await onlyOf(plane, plane.engineer)
  pass(2 * minute)
  return plane
}

/** Claims heartbeats and other due work. */
const takeAll = (plane: Plane, more: Partial<ClaimArgs> = {}) => plane.take({ heartbeatLimit: 8, ...more })
const heartbeatsOf = (runs: ReadonlyArray<Run>) => runs.filter(({ kind }) => kind === "heartbeat")
/** Claims the only due heartbeat. Nothing else is due. */
const takeHeartbeat = (plane: Plane, more: Partial<ClaimArgs> = {}) => plane.takeOne({ heartbeatLimit: 8, ...more })

/** Ends every due delivery. */
const endDueDeliveries = async (plane: Plane) => {
  for (;;) {
    const { runs } = await plane.take()
    if (runs.length === 0) return
    for (const run of runs) await complete(plane, run)
  }
}

describe("an agent's heartbeat", () => {
  it("is created with the agent, due within two minutes, at a different time for each agent", async () => {
    const plane = await seededPlane()
    const dueAts = await Promise.all([plane.engineer, plane.qa, plane.lead].map((agent) => dueAtOf(plane, agent)))
    for (const dueAt of dueAts) {
      expect(dueAt).toBeGreaterThanOrEqual(Date.now())
      expect(dueAt).toBeLessThan(Date.now() + 2 * minute)
    }
    expect(new Set(dueAts).size).toBe(3)
  })

  it("is not claimed before it is due", async () => {
    const plane = await seededPlane()
    await onlyOf(plane, plane.engineer)
    vi.setSystemTime((await dueAtOf(plane, plane.engineer)) - 1)
    expect(await takeAll(plane)).toMatchObject({ runs: [], hasMoreHeartbeats: false })
    pass(1)
    expect(heartbeatsOf((await takeAll(plane)).runs)).toHaveLength(1)
  })

  it("is claimed once with its context, as a new run for each due time", async () => {
    const plane = await due()
    const taskId = await makeTask(plane, [plane.engineer])
    await endDueDeliveries(plane)
    const run = await takeHeartbeat(plane)
    const dueAt = await dueAtOf(plane, plane.engineer)
    expect(run).toMatchObject({
      id: `${plane.engineer}:${dueAt}`,
      attempt: 1,
      failures: 0,
      silences: 0,
      readyAt: dueAt
    })
    expect(heartbeatOf(run)).toMatchObject({
      heartbeat: { id: run.id, dueAt, schedule: 15, lastHeartbeatAt: null },
      agent: { slug: "engineer" },
      sessionKey: `agent:engineer:${plane.accountId}:heartbeat:g1`.toLowerCase(),
      tasks: [{ task: { id: taskId } }],
      briefing: null,
      isUnchanged: false,
      earlier: { attempts: 0, effects: [] }
    })
    expect((await takeAll(plane)).runs).toEqual([])
  })

  it("runs in a separate session, which starts a new generation with the first heartbeat of each day", async () => {
    const plane = await due()
    const generations: Array<number> = []
    const days: Array<string> = []
    for (let count = 0; count < 100; count += 1) {
      const run = await takeHeartbeat(plane)
      generations.push(heartbeatOf(run).generation)
      days.push(new Date().toISOString().slice(0, 10))
      const { dueAt } = await finish(plane, run)
      vi.setSystemTime(dueAt)
    }
    const [first = ""] = days
    expect(new Set(days).size).toBeGreaterThan(1)
    const expected = days.map((day) => 1 + (Date.parse(day) - Date.parse(first)) / 86_400_000)
    expect(generations).toEqual(expected)
  })

  it("uses a new generation again after a failure, and keeps the one that completed", async () => {
    const plane = await due()
    await finish(plane, await takeHeartbeat(plane))
    pass(24 * 60 * minute)
    const failed = await takeHeartbeat(plane)
    await fail(plane, failed, { nextAttemptAt: Date.now() })
    const again = await takeHeartbeat(plane)
    expect([failed, again].map((run) => heartbeatOf(run).generation)).toEqual([2, 2])
  })

  it("is due one interval later after it ended, without drift, and missed ones are skipped", async () => {
    const plane = await due()
    const run = await takeHeartbeat(plane)
    const { dueAt } = heartbeatOf(run).heartbeat
    pass(3 * minute)
    const answer = await finish(plane, run)
    expect(answer.dueAt).toBe(dueAt + 15 * minute)
    expect(await finish(plane, run)).toEqual(answer)
    vi.setSystemTime(dueAt + 100 * minute)
    const late = await takeHeartbeat(plane)
    expect(heartbeatOf(late).heartbeat.dueAt).toBe(dueAt + 15 * minute)
    expect((await finish(plane, late)).dueAt).toBe(dueAt + 105 * minute)
  })

  it("follows a changed schedule at once, counted from the last heartbeat", async () => {
    const plane = await due()
    await finish(plane, await takeHeartbeat(plane))
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, heartbeat: 5 })
    expect(await dueAtOf(plane, plane.engineer)).toBe(Date.now() + 5 * minute)
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, role: "Welder" })
    expect(await dueAtOf(plane, plane.engineer)).toBe(Date.now() + 5 * minute)
  })

  it("keeps its answer if the schedule changes while it runs, and the new schedule applies", async () => {
    const plane = await due()
    const run = await takeHeartbeat(plane)
    pass(1_000)
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, heartbeat: 60 })
    const dueAt = await dueAtOf(plane, plane.engineer)
    expect((await takeAll(plane)).runs).toEqual([])
    const answer = await finish(plane, run)
    expect(answer.dueAt).toBe(dueAt)
    expect(await finish(plane, run)).toEqual(answer)
    expect(await rowOf(plane, plane.engineer)).toMatchObject({ dueAt, at: dueAt, status: "ok" })
  })

  it("waits for a running heartbeat to end if a new schedule makes the next one due earlier", async () => {
    const plane = await due()
    const run = await takeHeartbeat(plane)
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, heartbeat: 1 })
    vi.setSystemTime(await dueAtOf(plane, plane.engineer))
    expect((await takeAll(plane)).runs.filter(({ session }) => session === run.session)).toEqual([])
    await finish(plane, run)
    expect((await takeAll(plane)).runs.filter(({ session }) => session === run.session)).toHaveLength(1)
  })

  it("is deleted with the agent", async () => {
    const plane = await due()
    await plane.asPerson(api.app.agents.remove, { agentId: plane.engineer })
    expect(await rowOf(plane, plane.engineer)).toBeNull()
    expect((await takeAll(plane)).runs).toEqual([])
  })

  it("is stopped if the agent is removed while it runs, and its lease is not returned again", async () => {
    const plane = await due()
    const run = await takeHeartbeat(plane)
    await plane.asPerson(api.app.agents.remove, { agentId: plane.engineer })
    expect(await codeOf(finish(plane, run))).toBe("lease_lost")
    expect((await takeAll(plane)).runs).toEqual([])
  })

  it("is not returned to its process if the agent was removed, and frees the session", async () => {
    const plane = await due()
    const run = await takeHeartbeat(plane)
    await plane.asPerson(api.app.agents.remove, { agentId: plane.engineer })
    expect((await plane.claim({ heartbeatLimit: 8 })).runs).toEqual([])
    expect(await codeOf(finish(plane, run))).toBe("lease_lost")
  })
})

describe("a heartbeat with a cron expression", () => {
  const withCron = async (heartbeat: string) => {
    const plane = await seededPlane()
    await onlyOf(plane, plane.engineer)
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, heartbeat })
    return plane
  }

  it.each([
    ["0 * * * *", "2026-01-05T11:00:00Z"],
    ["*/20 * * * *", "2026-01-05T10:20:00Z"],
    ["30 9 * * 1", "2026-01-12T09:30:00Z"],
    ["15 30 10 * * *", "2026-01-05T10:30:15Z"],
    ["0 0 29 2 *", "2028-02-29T00:00:00Z"]
  ])("%s is calculated in UTC, strictly later than now: %s", async (expression, moment) => {
    const plane = await withCron(expression)
    expect(await dueAtOf(plane, plane.engineer)).toBe(Date.parse(moment))
  })

  it("never runs twice for one due time, even if it ends within it", async () => {
    const plane = await withCron("0 * * * *")
    const moments: Array<number> = []
    for (let count = 0; count < 4; count += 1) {
      vi.setSystemTime(await dueAtOf(plane, plane.engineer))
      const run = await takeHeartbeat(plane)
      moments.push(heartbeatOf(run).heartbeat.dueAt)
      expect((await finish(plane, run)).dueAt).toBe(Date.now() + 60 * minute)
      expect((await takeAll(plane)).runs).toEqual([])
    }
    expect(new Set(moments).size).toBe(4)
  })

  it("skips the due times that passed while it ran", async () => {
    const plane = await withCron("*/10 * * * *")
    vi.setSystemTime(await dueAtOf(plane, plane.engineer))
    const run = await takeHeartbeat(plane)
    pass(25 * minute)
    expect((await finish(plane, run)).dueAt).toBe(Date.parse("2026-01-05T10:40:00Z"))
  })

  it.each(["0 0 30 2 *", "0 0 31 4 *", "61 * * * *", "* * *", "every hour", "", "x".repeat(101)])(
    "is refused if the expression is invalid or never fires: %s",
    async (heartbeat) => {
      const plane = await seededPlane()
      const { dueAt } = (await rowOf(plane, plane.engineer)) ?? { dueAt: 0 }
      const update = plane.asPerson(api.app.agents.update, { agentId: plane.engineer, heartbeat })
      expect(await codeOf(update)).toBe("invalid")
      const create = plane.asPerson(api.app.agents.create, { slug: "new", name: "New", heartbeat })
      expect(await codeOf(create)).toBe("invalid")
      expect(await dueAtOf(plane, plane.engineer)).toBe(dueAt)
    }
  )

  it.each([0, 1_441, 1.5, Number.NaN])("is refused if the minutes are out of range: %d", async (heartbeat) => {
    const plane = await seededPlane()
    const update = plane.asPerson(api.app.agents.update, { agentId: plane.engineer, heartbeat })
    expect(await codeOf(update)).toBe("invalid")
  })

  it("always has a next due time in the future", () => {
    let moment = Date.parse("2026-03-29T00:59:59.999Z")
    for (let count = 0; count < 50; count += 1) {
      const next = nextCronMoment("*/30 * * * *", moment)
      expect(next).toBeGreaterThan(moment)
      moment = next ?? Number.NaN
    }
    expect(new Date(moment).toISOString()).toBe("2026-03-30T01:30:00.000Z")
  })
})

describe("a heartbeat next to other work", () => {
  it("is claimed after deliveries, at most heartbeatLimit of them, with the permits that are left", async () => {
    const plane = await seededPlane()
    pass(2 * minute)
    await makeTask(plane, [plane.qa])
    const two = await plane.take({ limit: 2, heartbeatLimit: 2 })
    expect(two.runs.map(({ kind }) => kind)).toEqual(["notification", "heartbeat"])
    expect(two).toMatchObject({ hasMore: false, hasMoreHeartbeats: true })
    const none = await plane.take({ limit: 2, heartbeatLimit: 0 })
    expect(none).toMatchObject({ runs: [], hasMoreHeartbeats: true })
    const last = await plane.take({ limit: 2, heartbeatLimit: 1 })
    expect(last.runs.map(({ kind }) => kind)).toEqual(["heartbeat"])
  })

  it("reports more heartbeats only while one is left because of a limit", async () => {
    const plane = await seededPlane()
    pass(2 * minute)
    expect(await plane.take({ heartbeatLimit: 1 })).toMatchObject({ hasMoreHeartbeats: true })
    expect(await plane.take({ heartbeatLimit: 2 })).toMatchObject({ hasMoreHeartbeats: false })
    expect(await plane.take({ heartbeatLimit: 2 })).toMatchObject({ runs: [], hasMoreHeartbeats: false })
  })

  it.each(["agent", "task"] as const)(
    "never starts while a delivery of its agent runs or is due, with a session per %s",
    async (sessionScope) => {
      const plane = await due({ sessionScope })
      await makeTask(plane, [plane.engineer])
      const delivery = only((await takeAll(plane, { limit: 1 })).runs)
      expect(delivery.kind).toBe("notification")
      expect((await takeAll(plane)).runs).toEqual([])
      await release(plane, delivery, { nextAttemptAt: Date.now() + 5_000 })
      const run = await takeHeartbeat(plane)
      pass(5_000)
      expect((await takeAll(plane)).runs).toEqual([])
      await finish(plane, run)
      expect(await plane.takeOne()).toMatchObject({ id: delivery.id })
    }
  )

  it.each(["agent", "task"] as const)(
    "delays its agent's deliveries while it runs, but no other agent's, with a session per %s",
    async (sessionScope) => {
      const plane = await due({ sessionScope })
      const run = await takeHeartbeat(plane)
      await makeTask(plane, [plane.engineer, plane.qa])
      await makeTask(plane, [plane.engineer])
      const { runs } = await takeAll(plane)
      expect(runs.map((each) => contextOf(each).agent.slug)).toEqual(["qa"])
      await finish(plane, run)
      expect((await takeAll(plane)).runs).toHaveLength(sessionScope === "task" ? 2 : 1)
    }
  )

  it("waits while the account is paused", async () => {
    const plane = await due()
    await plane.asPerson(api.app.runtimes.pause, {})
    expect((await takeAll(plane)).runs).toEqual([])
    await plane.asPerson(api.app.runtimes.resume, {})
    await takeHeartbeat(plane)
  })

  it("is ended only by its own function, which ends no delivery", async () => {
    const plane = await due()
    await makeTask(plane, [plane.qa])
    const { runs } = await takeAll(plane)
    const [delivery, run] = runs
    if (delivery === undefined || run === undefined) throw new Error("expected a delivery and a heartbeat")
    expect(await codeOf(finish(plane, delivery))).toBe("invalid")
    expect(await codeOf(complete(plane, run))).toBe("invalid")
    await finish(plane, run)
    await complete(plane, delivery)
  })
})

describe("a heartbeat that fails", () => {
  it("keeps its identity after a shared failure, and waits until the next attempt", async () => {
    const plane = await due()
    const run = await takeHeartbeat(plane)
    const nextAttemptAt = Date.now() + 30_000
    const shared = { nextAttemptAt, class: "ProviderFailed", error: "529" }
    expect((await release(plane, run, shared)).state).toBe("ready")
    expect(await takeAll(plane)).toMatchObject({ runs: [], nextDueAt: nextAttemptAt })
    vi.setSystemTime(nextAttemptAt)
    expect(await takeHeartbeat(plane)).toMatchObject({ id: run.id, attempt: 1, failures: 0 })
  })

  it("is skipped after it failed three times", async () => {
    const plane = await due()
    const run = await takeHeartbeat(plane)
    const retry = { nextAttemptAt: Date.now() }
    expect((await fail(plane, run, retry)).state).toBe("ready")
    expect((await fail(plane, await takeHeartbeat(plane), retry)).state).toBe("ready")
    const third = await takeHeartbeat(plane)
    expect(third).toMatchObject({ id: run.id, attempt: 3, failures: 2 })
    expect((await fail(plane, third, retry)).state).toBe("dead")
    expect((await fail(plane, third, retry)).state).toBe("dead")
    const following = heartbeatOf(run).heartbeat.dueAt + 15 * minute
    expect(await takeAll(plane)).toMatchObject({ runs: [], nextDueAt: following })
    vi.setSystemTime(following)
    expect(await takeHeartbeat(plane)).toMatchObject({ id: `${plane.engineer}:${following}`, attempt: 1, failures: 0 })
  })

  it("is retried in its session's next generation if that one is full, and following heartbeats stay there", async () => {
    const plane = await due()
    const run = await takeHeartbeat(plane)
    const full = { class: "ContextOverflow", rotate: true, nextAttemptAt: Date.now() }
    await fail(plane, run, full)
    const second = await takeHeartbeat(plane)
    expect(second.id).toBe(run.id)
    const generationOf = (taken: Run) => heartbeatOf(taken).generation
    expect(generationOf(second)).toBe(generationOf(run) + 1)
    await finish(plane, second)
    pass(15 * minute)
    const following = await takeHeartbeat(plane)
    expect(following.id).not.toBe(run.id)
    expect(generationOf(following)).toBe(generationOf(second))
  })

  it("is skipped at once if the runtime gives no next attempt", async () => {
    const plane = await due()
    const run = await takeHeartbeat(plane)
    expect((await fail(plane, run)).state).toBe("dead")
    expect(await dueAtOf(plane, plane.engineer)).toBe(heartbeatOf(run).heartbeat.dueAt + 15 * minute)
  })

  it("is skipped after three crashes, and lists its effects in between", async () => {
    const plane = await due()
    const run = await takeHeartbeat(plane)
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, flags: { canCreateTasks: true } })
    await plane.mutate(api.service.tasks.create, { ...fenceOf(run), settings, title: "Found" })
    await plane.pulse("r1", "b2")
    const second = await takeHeartbeat(plane, { bootId: "b2" })
    expect(second).toMatchObject({ id: run.id, attempt: 2 })
    expect(heartbeatOf(second).earlier).toMatchObject({ attempts: 1, effects: [{ tool: "task_create" }] })
    await plane.pulse("r1", "b3")
    await takeHeartbeat(plane, { bootId: "b3" })
    await plane.pulse("r1", "b4")
    expect((await takeAll(plane, { bootId: "b4" })).runs).toEqual([])
    expect(await dueAtOf(plane, plane.engineer)).toBe(heartbeatOf(run).heartbeat.dueAt + 15 * minute)
  })

  it("is skipped after three failures and crashes together", async () => {
    const plane = await due()
    const run = await takeHeartbeat(plane)
    await plane.pulse("r1", "b2")
    await takeHeartbeat(plane, { bootId: "b2" })
    await plane.pulse("r1", "b3")
    const third = await takeHeartbeat(plane, { bootId: "b3" })
    expect((await fail(plane, third, { nextAttemptAt: Date.now() })).state).toBe("dead")
    expect(await dueAtOf(plane, plane.engineer)).toBe(heartbeatOf(run).heartbeat.dueAt + 15 * minute)
  })

  it("is replaced by the latest due one if it was tried before", async () => {
    const plane = await due()
    const run = await takeHeartbeat(plane)
    const { dueAt } = heartbeatOf(run).heartbeat
    await fail(plane, run, { nextAttemptAt: Date.now() + minute })
    vi.setSystemTime(dueAt + 40 * minute)
    const later = await takeHeartbeat(plane)
    expect(later).toMatchObject({ id: `${plane.engineer}:${dueAt + 30 * minute}`, attempt: 1, failures: 0 })
    expect(heartbeatOf(later).earlier).toMatchObject({ attempts: 0, effects: [] })
  })

  it("is not replaced if it was never tried: it runs late", async () => {
    const plane = await due()
    const dueAt = await dueAtOf(plane, plane.engineer)
    vi.setSystemTime(dueAt + 40 * minute)
    expect(await takeHeartbeat(plane)).toMatchObject({ id: `${plane.engineer}:${dueAt}`, attempt: 1 })
  })

  it("is rescued by another runtime once its lease expired", async () => {
    const plane = await due()
    await plane.pulse("r2", "c1")
    const run = await takeHeartbeat(plane)
    pass(90_001)
    const rescued = await takeHeartbeat(plane, { runtimeId: "r2", bootId: "c1" })
    expect(rescued).toMatchObject({ id: run.id, attempt: 2 })
    expect(await codeOf(finish(plane, run))).toBe("lease_lost")
    await finish(plane, rescued)
  })

  it("is returned to its process under a new epoch if the process does not name it", async () => {
    const plane = await due()
    const run = await takeHeartbeat(plane)
    const again = only((await plane.claim({ heartbeatLimit: 0 })).runs)
    expect(again).toMatchObject({ id: run.id, kind: "heartbeat", attempt: 1, epoch: run.epoch + 1 })
    expect(await codeOf(finish(plane, run))).toBe("lease_lost")
    await finish(plane, again)
  })
})

describe("the turn of a heartbeat", () => {
  it("posts its message once, acts only on its agent's tasks, and never sets done", async () => {
    const plane = await due()
    const taskId = await makeTask(plane, [plane.engineer])
    const other = await makeTask(plane, [], "Not mine")
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, flags: { canMarkDone: true } })
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "review" })
    await endDueDeliveries(plane)
    const run = await takeHeartbeat(plane)
    const set = (status: "done" | "in_progress") =>
      plane.mutate(api.service.tasks.setStatus, { ...fenceOf(run), settings, taskId, status })
    expect(await codeOf(set("done"))).toBe("forbidden")
    expect(await codeOf(set("in_progress"))).toBeNull()
    expect(await codeOf(finish(plane, run, { message: { taskId: other, content: "hello" } }))).toBe("forbidden")
    const end = { message: { taskId, content: "Half way.", truncated: true }, currentTaskId: taskId }
    const { messageId } = await finish(plane, run, end)
    await finish(plane, run, end)
    expect(await plane.thread(taskId)).toMatchObject([{ id: messageId, content: "Half way.", kind: "message" }])
    const stored = await plane.t.run((ctx) => ctx.db.query("messages").order("desc").first())
    expect(stored).toMatchObject({ isTruncated: true })
    const agents = await plane.seen(api.app.agents.list, {})
    expect(agents.find((agent) => agent.slug === "engineer")).toMatchObject({ currentTaskId: taskId, status: "ok" })
  })

  it("knows whether what the agent sees has changed since its last finished heartbeat", async () => {
    const plane = await due()
    const taskId = await makeTask(plane, [plane.engineer])
    await endDueDeliveries(plane)
    const next = async () => {
      const run = await takeHeartbeat(plane)
      await finish(plane, run)
      pass(15 * minute)
      return heartbeatOf(run).isUnchanged
    }
    expect(await next()).toBe(false)
    expect(await next()).toBe(true)
    await plane.asPerson(api.app.tasks.update, { taskId, title: "New title" })
    expect(await next()).toBe(false)
    expect(await next()).toBe(true)
  })

  /** A plane in which only the orchestrator's heartbeat is due. */
  const leadDue = async () => {
    const plane = await seededPlane()
    await onlyOf(plane, plane.lead)
    pass(2 * minute)
    return plane
  }

  it("of the orchestrator shows all open tasks, least recently changed first, and the briefing", async () => {
    const plane = await leadDue()
    await plane.asPerson(api.app.accounts.configure, { briefing: "Ship on Friday." })
    for (const title of ["old", "new"]) {
      await makeTask(plane, [plane.qa], title)
      pass(1_000)
    }
    await endDueDeliveries(plane)
    const context = heartbeatOf(await takeHeartbeat(plane))
    expect(context.tasks.map(({ task }) => task.title)).toEqual(["old", "new"])
    expect(context.briefing).toBe("Ship on Friday.")
    await plane.asPerson(api.app.accounts.configure, { briefing: "Ship on Monday." })
    const run = only((await plane.claim()).runs)
    await finish(plane, run)
    pass(15 * minute)
    const next = await takeHeartbeat(plane)
    expect(heartbeatOf(next)).toMatchObject({ briefing: "Ship on Monday.", isUnchanged: true })
  })

  it("of the orchestrator shows tasks of each status, however many old ones another status has", async () => {
    const plane = await leadDue()
    const ids: Array<string> = []
    for (const title of ["live", "reviewed", "waiting"]) ids.push(await makeTask(plane, [plane.qa], title))
    await plane.t.run(async (ctx) => {
      const task = await ctx.db.get("tasks", ids[2] as Id<"tasks">)
      if (task === null) throw new Error("expected the task")
      const { _creationTime, _id, ...copy } = task
      for (let index = 0; index < 250; index += 1) {
        await ctx.db.insert("tasks", { ...copy, status: "blocked", title: "stuck", updatedAt: index })
      }
      await ctx.db.patch("tasks", ids[0] as Id<"tasks">, { status: "in_progress" })
      await ctx.db.patch("tasks", ids[1] as Id<"tasks">, { status: "review" })
    })
    await endDueDeliveries(plane)
    const titles = heartbeatOf(await takeHeartbeat(plane)).tasks.map(({ task }) => task.title)
    expect(titles.slice(0, 4)).toEqual(["live", "reviewed", "waiting", "stuck"])
    expect(titles.filter((title) => title === "stuck").length).toBeGreaterThanOrEqual(50)
    expect(titles.length).toBeLessThanOrEqual(200)
  }, 60_000)

  it("of the orchestrator does not count a fallback message as activity of the assignee", async () => {
    const plane = await leadDue()
    const taskId = await makeTask(plane, [plane.qa])
    const delivery = await plane.takeOne()
    await complete(plane, delivery, { outcome: "fallback" })
    expect((await plane.thread(taskId)).map(({ kind }) => kind)).toEqual(["fallback"])
    pass(15 * minute)
    const [row] = heartbeatOf(await takeHeartbeat(plane)).tasks
    expect(row).toMatchObject({ lastMessageAt: null, lastAssigneeAt: null })
  })

  it("of the orchestrator shows when someone last wrote in each task, and when an assignee was last active", async () => {
    const plane = await leadDue()
    const taskId = await makeTask(plane, [plane.qa])
    const nextActivity = async () => {
      await endDueDeliveries(plane)
      pass(15 * minute)
      const run = await takeHeartbeat(plane)
      await finish(plane, run)
      const { isUnchanged, tasks } = heartbeatOf(run)
      const { lastAssigneeAt, lastMessageAt } = first(tasks)
      return { lastAssigneeAt, lastMessageAt, isUnchanged }
    }
    expect(await nextActivity()).toEqual({ lastAssigneeAt: null, lastMessageAt: null, isUnchanged: false })
    const asked = Date.now()
    await plane.post(taskId, "How far are you?")
    expect(await nextActivity()).toEqual({ lastAssigneeAt: null, lastMessageAt: asked, isUnchanged: false })
    expect(await nextActivity()).toMatchObject({ isUnchanged: true })
    await plane.post(taskId, "@qa answer me")
    const delivery = await plane.takeOne()
    const moved = Date.now()
    const fence = { ...fenceOf(delivery), settings }
    await plane.mutate(api.service.tasks.setStatus, { ...fence, taskId, status: "in_progress" })
    pass(minute)
    const answered = Date.now()
    await complete(plane, delivery, { outcome: "replied", reply: "Half way." })
    expect(moved).toBeLessThan(answered)
    expect(await nextActivity()).toEqual({ lastAssigneeAt: answered, lastMessageAt: answered, isUnchanged: false })
    await plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds: [plane.engineer] })
    expect(await nextActivity()).toEqual({ lastAssigneeAt: null, lastMessageAt: answered, isUnchanged: false })
  })
})
