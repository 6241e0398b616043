import { ConvexError } from "convex/values"
import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { PROTOCOL } from "../../src/domain/shared/Protocol.ts"
import { hour, minute, pass, stopTime } from "./clock.ts"
import {
  codeOf,
  complete,
  contextOf,
  fail,
  fenceOf,
  first,
  makeTask,
  only,
  type Plane,
  refusalOf,
  release,
  seededPlane,
  withoutHeartbeats,
  taskWorkedOn,
  settings
} from "./controlPlane.ts"

stopTime()

const hasFallback = async (plane: Plane, taskId: string) =>
  (await plane.thread(taskId)).filter(({ kind }) => kind === "fallback").length

describe("a claim", () => {
  it("returns each run with its context", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    expect(run).toMatchObject({ kind: "notification", attempt: 1, failures: 0, silences: 0, readyAt: Date.now() })
    expect(run.expiresAt).toBe(Date.now() + 90_000)
    expect(contextOf(run)).toMatchObject({ notification: { id: run.id, type: "assignment" }, task: { id: taskId } })
  })

  it("never leases a session twice: an agent has one run at a time", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    expect((await plane.take()).runs).toEqual([])
    await complete(plane, run)
    expect((await plane.take()).runs).toHaveLength(1)
  })

  it("leases a session per task if the account's scope is task", async () => {
    const plane = await seededPlane({ sessionScope: "task" })
    const one = await makeTask(plane, [plane.engineer])
    await makeTask(plane, [plane.engineer])
    const { runs } = await plane.take()
    expect(runs).toHaveLength(2)
    const sessionKey = `agent:engineer:${plane.accountId}:task:${one}`.toLowerCase()
    expect(contextOf(first(runs)).sessionKey).toBe(sessionKey)
  })

  it("leases at most `limit` runs and reports that there are more", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer, plane.qa, plane.lead])
    const two = await plane.take({ limit: 2 })
    expect([two.runs.length, two.hasMore]).toEqual([2, true])
    const one = await plane.take({ limit: 2 })
    expect([one.runs.length, one.hasMore]).toEqual([1, false])
  })

  it("leases nothing while the account is paused", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    await plane.asPerson(api.app.runtimes.pause, {})
    expect(await plane.take()).toMatchObject({ runs: [], hasMore: false })
    await plane.asPerson(api.app.runtimes.resume, {})
    expect((await plane.take()).runs).toHaveLength(1)
  })

  it("is refused for a boot that sent no pulse and for an earlier boot", async () => {
    const plane = await seededPlane()
    expect(await refusalOf(plane.claim({ runtimeId: "unknown" }))).toMatchObject({
      code: "conflict",
      reason: "no_pulse"
    })
    expect(await refusalOf(plane.claim({ bootId: "b2" }))).toMatchObject({ code: "conflict", reason: "no_pulse" })
    await plane.pulse("r1", "b2")
    expect(await refusalOf(plane.claim({ bootId: "b1" }))).toMatchObject({ code: "conflict", reason: "superseded" })
    expect(await codeOf(plane.pulse("r1", "b1"))).toBe("conflict")
    expect((await plane.claim({ bootId: "b2" })).runs).toEqual([])
  })

  it.each([
    ["limit", { limit: -1 }, "invalid"],
    ["limit", { limit: 1.5 }, "invalid"],
    ["limit", { limit: 101 }, "invalid"],
    ["heartbeatLimit", { heartbeatLimit: 101 }, "invalid"],
    ["leaseMs", { leaseMs: 2_999 }, "invalid"],
    ["leaseMs", { leaseMs: Number.NaN }, "invalid"],
    ["maxAttempts", { maxAttempts: 0 }, "invalid"],
    ["number", { number: 0 }, "invalid"],
    ["held", { held: Array.from({ length: 201 }, () => ({ session: "s", epoch: 1 })) }, "limit"]
  ])("refuses a %s that is out of range", async (_, more, code) => {
    const plane = await seededPlane()
    expect(await codeOf(plane.claim(more))).toBe(code)
  })

  it("repeats no argument in its refusal", async () => {
    const plane = await seededPlane()
    const secret = "mc_service_x_secret"
    const failed = await plane.t
      .mutation(api.service.notifications.claim, {
        accountId: plane.accountId,
        serviceToken: secret,
        protocol: PROTOCOL,
        runtimeId: "r1",
        bootId: "b1",
        number: 1,
        limit: 1,
        heartbeatLimit: 0,
        leaseMs: 90_000,
        maxAttempts: 8,
        maxTurns: 40,
        held: [],
        abandoned: [],
        recoverUnnamed: false
      })
      .then(
        () => null,
        (error: unknown) => error
      )
    expect(failed).toBeInstanceOf(ConvexError)
    expect(String(failed)).not.toContain(secret)
  })
})

describe("the order of claims", () => {
  /** The runs of one agent's session in the order in which they are claimed. Each ends at once. */
  const drain = async (plane: Plane) => {
    const types: Array<string> = []
    for (;;) {
      const { runs } = await plane.take({ limit: 1 })
      if (runs.length === 0) return types
      types.push(contextOf(only(runs)).notification.type)
      await complete(plane, only(runs))
    }
  }

  it("gives a person's message a head start of five minutes, a request one minute, an assignment half a minute", async () => {
    const plane = await seededPlane()
    const lead = await makeTask(plane, [plane.lead])
    const leads = await plane.takeOne()
    const moved = await taskWorkedOn(plane)
    const [assigned, asked, written] = [await makeTask(plane), await makeTask(plane), await makeTask(plane)]
    await plane.asPerson(api.app.tasks.setStatus, { taskId: moved, status: "in_progress" })
    pass(29_000)
    await plane.asPerson(api.app.tasks.assign, { taskId: assigned, assigneeIds: [plane.engineer] })
    pass(29_000)
    await plane.mutate(api.service.responseRequests.create, {
      ...fenceOf(leads),
      taskId: asked,
      recipientSlugs: ["engineer"],
      message: "Is it right?",
      settings
    })
    pass(239_000)
    await plane.post(written, "@engineer hello")
    expect(lead).not.toBe(asked)
    expect(await drain(plane)).toEqual(["mention", "response_request", "assignment", "status_change"])
  })

  it("leases older work first once its age exceeds the head start", async () => {
    const plane = await seededPlane()
    const moved = await taskWorkedOn(plane)
    await plane.asPerson(api.app.tasks.setStatus, { taskId: moved, status: "in_progress" })
    pass(5 * minute + 1)
    await plane.post(await makeTask(plane), "@engineer hello")
    expect(await drain(plane)).toEqual(["status_change", "mention"])
  })

  it("leases the oldest work of equal priority first, across agents", async () => {
    const plane = await seededPlane()
    const tasks: Array<string> = []
    for (const agent of [plane.qa, plane.lead, plane.engineer]) {
      tasks.push(await makeTask(plane, [agent]))
      pass(1)
    }
    const taken: Array<string> = []
    for (let count = 0; count < 3; count += 1) taken.push(contextOf(await plane.takeOne({ limit: 1 })).task?.id ?? "")
    expect(taken).toEqual(tasks)
  })

  it("starves nothing: a status change gets its turn while people keep writing", async () => {
    const plane = await seededPlane()
    const moved = await taskWorkedOn(plane)
    await plane.asPerson(api.app.tasks.setStatus, { taskId: moved, status: "in_progress" })
    const taken: Array<string> = []
    for (let count = 0; count < 8; count += 1) {
      await plane.post(await makeTask(plane), "@engineer hello")
      const run = await plane.takeOne({ limit: 1 })
      taken.push(contextOf(run).notification.type)
      await complete(plane, run)
      pass(minute)
    }
    expect(taken.indexOf("status_change")).toBeGreaterThan(3)
  })

  it("does not wait for a retry, and leases the retry when it is due", async () => {
    const plane = await seededPlane()
    const taskId = await taskWorkedOn(plane)
    await plane.post(taskId, "@engineer first")
    const waiting = await plane.takeOne()
    const nextAttemptAt = Date.now() + minute
    await release(plane, waiting, { nextAttemptAt })
    await plane.post(taskId, "@engineer second")
    const second = await plane.takeOne()
    expect(second.id).not.toBe(waiting.id)
    await complete(plane, second)
    expect((await plane.take()).runs).toEqual([])
    pass(minute)
    expect(await plane.takeOne()).toMatchObject({ id: waiting.id, readyAt: nextAttemptAt })
  })

  it("keeps the place of work whose process crashed", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    const { id } = await plane.takeOne()
    pass(1_000)
    await makeTask(plane, [plane.engineer])
    await plane.pulse("r1", "b2")
    expect((await plane.takeOne({ bootId: "b2" })).id).toBe(id)
  })
})

describe("the next due time", () => {
  it("is the earliest of retries and of other runtimes' lease expiries, never of the process's own leases", async () => {
    const plane = await withoutHeartbeats(await seededPlane())
    await plane.pulse("r2", "c1")
    await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    expect((await plane.take()).nextDueAt).toBeNull()
    expect((await plane.take({ runtimeId: "r2", bootId: "c1" })).nextDueAt).toBe(run.expiresAt)
    const nextAttemptAt = Date.now() + 7_000
    await release(plane, run, { nextAttemptAt })
    expect((await plane.take()).nextDueAt).toBe(nextAttemptAt)
    expect((await plane.pulse()).nextDueAt).toBe(nextAttemptAt)
    pass(7_000)
    await complete(plane, await plane.takeOne())
    expect((await plane.take()).nextDueAt).toBeNull()
    expect((await plane.pulse()).nextDueAt).toBeNull()
  })

  it("is a heartbeat's if that comes first", async () => {
    const plane = await seededPlane()
    const dueAts = await plane.t.run(async (ctx) =>
      (await ctx.db.query("heartbeats").collect()).map(({ at }) => at ?? 0)
    )
    expect((await plane.take()).nextDueAt).toBe(Math.min(...dueAts))
  })

  it("is in the future for a claim, and now for a pulse that finds overdue work", async () => {
    const plane = await withoutHeartbeats(await seededPlane())
    await makeTask(plane, [plane.engineer])
    pass(minute)
    expect((await plane.pulse()).nextDueAt).toBe(Date.now())
    expect((await plane.take({ limit: 1 })).nextDueAt).toBeNull()
  })

  it("comes with the time since which the oldest ready notification waits", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer, plane.qa])
    const since = Date.now()
    pass(minute)
    expect((await plane.take({ limit: 1 })).oldest).toBe(since)
    expect((await plane.take()).oldest).toBeNull()
  })
})

describe("work whose attempts are used up", () => {
  const usedUp = async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane, [plane.engineer])
    const { id } = await plane.takeOne({ maxAttempts: 1 })
    await plane.pulse("r1", "b2")
    return { plane, taskId, id, claim: () => plane.take({ bootId: "b2", maxAttempts: 1 }) }
  }

  it("becomes a dead letter at the claim, with the fallback if an answer was owed", async () => {
    const { claim, id, plane, taskId } = await usedUp()
    expect(await claim()).toMatchObject({ runs: [], spent: [id] })
    expect(await plane.row(id)).toMatchObject({ state: "dead", hasFallback: true, error: { class: "AttemptsSpent" } })
    expect(await hasFallback(plane, taskId)).toBe(1)
    expect(await claim()).toMatchObject({ runs: [], spent: [] })
    expect(await hasFallback(plane, taskId)).toBe(1)
  })

  it("gets no fallback if no answer was owed", async () => {
    const plane = await seededPlane()
    const taskId = await taskWorkedOn(plane)
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "in_progress" })
    const { id } = await plane.takeOne({ maxAttempts: 1 })
    await plane.pulse("r1", "b2")
    expect((await plane.take({ bootId: "b2", maxAttempts: 1 })).spent).toEqual([id])
    expect(await plane.row(id)).toMatchObject({ state: "dead", hasFallback: false })
    expect(await hasFallback(plane, taskId)).toBe(0)
  })

  it("does not keep the session's next work from the same claim", async () => {
    const { claim, id, plane } = await usedUp()
    await makeTask(plane, [plane.engineer])
    const { runs, spent } = await claim()
    expect([spent, runs.length]).toEqual([[id], 1])
  })

  it("is retried by an operator with a new budget", async () => {
    const { claim, id, plane } = await usedUp()
    await claim()
    await plane.mutate(api.service.notifications.retryDeadLetter, { id })
    expect(only((await claim()).runs)).toMatchObject({ id, attempt: 1 })
  })

  it("becomes dead letters in batches of fifty, and the claim reports that there are more", async () => {
    const { claim, id, plane, taskId } = await usedUp()
    await plane.t.run(async (ctx) => {
      const row = await ctx.db.get("notifications", id as Id<"notifications">)
      if (row === null) throw new Error("expected a notification")
      const { _creationTime, _id, ...rest } = row
      for (let count = 0; count < 60; count += 1) await ctx.db.insert("notifications", { ...rest, isRequired: false })
    })
    const one = await claim()
    expect([one.spent.length, one.hasMore]).toEqual([50, true])
    const two = await claim()
    expect([two.spent.length, two.hasMore]).toEqual([11, false])
    expect(await hasFallback(plane, taskId)).toBe(1)
  })
})

describe("attempts", () => {
  it("grow at the claim, shrink at a release, and stay after a crash", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    expect(run.attempt).toBe(1)
    await release(plane, run)
    const again = await plane.takeOne()
    expect(again.attempt).toBe(1)
    await release(plane, again, { nextAttemptAt: Date.now() + 1_000 })
    pass(1_000)
    expect(await plane.takeOne()).toMatchObject({ attempt: 1, failures: 1 })
    expect((await plane.pulse("r1", "b2")).releasedLeases).toBe(1)
    expect((await plane.takeOne({ bootId: "b2" })).attempt).toBe(2)
  })
})

describe("a suspect run", () => {
  /** `count` agents whose work crashed its process twice, and a claim of the third boot. */
  const suspects = async (agents: (plane: Plane) => ReadonlyArray<string>) => {
    const plane = await seededPlane()
    for (const agent of agents(plane)) await makeTask(plane, [agent])
    const ids = (await plane.take()).runs.map(({ id }) => id)
    await plane.pulse("r1", "b2")
    await plane.take({ bootId: "b2" })
    await plane.pulse("r1", "b3")
    return { plane, ids, claim: (more: object = {}) => plane.take({ bootId: "b3", ...more }) }
  }

  it("is leased to a process one at a time, and to another process at the same time", async () => {
    const { claim, ids, plane } = await suspects(({ engineer, qa }) => [engineer, qa])
    const one = await claim()
    expect(one).toMatchObject({ runs: [{ id: ids[0], attempt: 3 }], hasMore: true })
    expect((await claim()).runs).toEqual([])
    await plane.pulse("r2", "c1")
    expect(await plane.take({ runtimeId: "r2", bootId: "c1" })).toMatchObject({ runs: [{ id: ids[1] }] })
  })

  it("is leased once the process has ended the previous one", async () => {
    const { claim, ids, plane } = await suspects(({ engineer, qa }) => [engineer, qa])
    await complete(plane, only((await claim()).runs))
    expect(await claim()).toMatchObject({ runs: [{ id: ids[1] }], hasMore: false })
  })

  it("does not block other work, even in a session whose suspect run has to wait", async () => {
    const { claim, ids, plane } = await suspects(({ engineer, qa }) => [engineer, qa])
    await makeTask(plane, [plane.lead])
    const other = await makeTask(plane, [plane.qa])
    const { runs } = await claim()
    expect(runs.map(({ id }) => id)).toContain(ids[0])
    expect(runs.map(({ id }) => id)).not.toContain(ids[1])
    expect(runs.map((run) => contextOf(run).task?.id)).toContain(other)
    expect(runs).toHaveLength(3)
  })

  it("counts as the process's suspect run while its lease is returned again", async () => {
    const { claim, ids } = await suspects(({ engineer, qa }) => [engineer, qa])
    await claim()
    expect((await claim({ held: [] })).runs.map(({ id }) => id)).toEqual([ids[0]])
  })

  it("is no longer suspect once an attempt ended in another way", async () => {
    const { claim, ids, plane } = await suspects(({ engineer, qa }) => [engineer, qa])
    await fail(plane, only((await claim()).runs), { nextAttemptAt: Date.now() })
    expect((await claim()).runs.map(({ id }) => id).toSorted()).toEqual(ids.toSorted())
  })
})

describe("a broken context", () => {
  it("is returned as broken and does not affect other runs", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane)
    const { messageId } = await plane.post(taskId, "@lead please")
    const other = await makeTask(plane)
    await plane.post(other, "@qa please")
    await plane.post(await makeTask(plane), "@engineer please")
    await plane.t.run(async (ctx) => {
      await ctx.db.delete("messages", messageId as Id<"messages">)
      await ctx.db.delete("tasks", other as Id<"tasks">)
    })
    const { runs } = await plane.take()
    expect(runs.map((run) => ("broken" in run ? run.broken : "whole")).toSorted()).toEqual([
      "message_missing",
      "task_missing",
      "whole"
    ])
    for (const run of runs.filter((each) => "broken" in each)) {
      await complete(plane, run, { reason: "gone" })
      expect(await plane.row(run.id)).toMatchObject({ state: "delivered", outcome: "skipped" })
    }
  })

  it("is not broken while one of its events' messages exists", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane)
    const { messageId } = await plane.post(taskId, "@engineer one")
    await plane.post(taskId, "@engineer two")
    await plane.t.run((ctx) => ctx.db.delete("messages", messageId as Id<"messages">))
    const { events } = contextOf(await plane.takeOne())
    expect(events.map(({ message }) => message?.content)).toEqual([undefined, "@engineer two"])
  })

  it.each([
    ["account", "account_missing"],
    ["agent", "agent_missing"],
    ["task", "task_missing"]
  ])("with a missing %s is ended as skipped, and its session is free", async (what, broken) => {
    const plane = await seededPlane()
    await plane.post(await makeTask(plane), "@engineer please")
    const row = await plane.t.run(async (ctx) => first(await ctx.db.query("notifications").collect()))
    await plane.t.run(async (ctx) => {
      const id = { account: row.accountId, agent: row.agentId, task: row.taskId }[what]
      if (id !== undefined) await ctx.db.delete(id)
    })
    const run = await plane.takeOne()
    expect(run).toMatchObject({ id: row._id, broken })
    await complete(plane, run, { reason: broken })
    expect(await plane.row(run.id)).toMatchObject({ state: "delivered", outcome: "skipped" })
    const session = await plane.t.run((ctx) => ctx.db.get("sessions", run.session as Id<"sessions">))
    expect(session?.lease).toBeUndefined()
  })

  it("of a notification that was deleted during its lease frees the session when the lease ends", async () => {
    const plane = await seededPlane()
    await plane.pulse("r2", "c1")
    await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    await plane.t.run((ctx) => ctx.db.delete("notifications", run.id as Id<"notifications">))
    await makeTask(plane, [plane.engineer])
    pass(hour)
    expect((await plane.take({ runtimeId: "r2", bootId: "c1" })).runs).toHaveLength(1)
  })

  it("of a missing task ends with its outcome and posts no message", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    await plane.t.run((ctx) => ctx.db.delete("tasks", taskId as Id<"tasks">))
    const answer = await complete(plane, run, { outcome: "replied", reply: "hello?" })
    expect(answer.messageId).toBeNull()
    expect((await plane.row(run.id)).state).toBe("delivered")
  })
})
