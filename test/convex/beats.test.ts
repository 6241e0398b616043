import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { codeOf, fenceOf, first, type Plane, seededPlane } from "./controlPlane.ts"

const minute = 60_000

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

const pass = (ms: number) => vi.setSystemTime(Date.now() + ms)

let requests = 0
const claimBeat = (plane: Plane, more: object = {}) =>
  plane.mutate(api.service.sessions.claimBeat, {
    requestId: `beat-${(requests += 1)}`,
    runtimeId: "r1",
    bootId: "b1",
    agentId: plane.engineer,
    leaseMs: 90_000,
    parkedAgents: [],
    ...more
  })

type Claimed = Extract<Awaited<ReturnType<typeof claimBeat>>, { claimed: unknown }>["claimed"]

const claimed = async (plane: Plane, more: object = {}): Promise<Claimed> => {
  const answer = await claimBeat(plane, more)
  if (!("claimed" in answer)) throw new Error(`expected a beat, got ${answer.reason}`)
  return answer.claimed
}

const reasonOf = async (plane: Plane, more: object = {}) => {
  const answer = await claimBeat(plane, more)
  return "claimed" in answer ? "claimed" : answer.reason
}

const finish = (plane: Plane, beat: Claimed, more: object = {}) =>
  plane.mutate(api.service.agents.updateAgentHeartbeat, { ...fenceOf(beat), maxHops: 12, status: "ok", ...more })

/** A plane whose engineer's beat is due. */
const due = async () => {
  const plane = await seededPlane()
  await claimBeat(plane)
  pass(2 * minute)
  return plane
}

describe("a heartbeat", () => {
  it("is first due within two minutes, at another moment for each agent, and the same however often asked", async () => {
    const plane = await seededPlane()
    const now = Date.now()
    const dueAts: Array<number> = []
    for (const agentId of [plane.engineer, plane.qa, plane.lead]) {
      const answer = await claimBeat(plane, { agentId })
      if ("claimed" in answer) throw new Error("expected to wait")
      expect(answer).toMatchObject({ reason: "not_due", notBefore: answer.dueAt })
      expect(answer.dueAt).toBeGreaterThanOrEqual(now)
      expect(answer.dueAt).toBeLessThan(now + 2 * minute)
      expect(await claimBeat(plane, { agentId })).toEqual(answer)
      dueAts.push(answer.dueAt)
    }
    expect(new Set(dueAts).size).toBe(3)
  })

  it("is claimed when due with its context, once, and the same requestId answers the same", async () => {
    const plane = await due()
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T" })
    await plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds: [plane.engineer] })
    const assignment = first((await plane.claim()).deliveries)
    await plane.mutate(api.service.notifications.complete, { ...fenceOf(assignment), outcome: "skipped", maxHops: 12 })
    const beat = await claimed(plane, { requestId: "same" })
    expect(beat).toMatchObject({
      attempt: 1,
      context: {
        agent: { slug: "engineer" },
        sessionKey: `agent:engineer:${plane.accountId}`.toLowerCase(),
        tasks: [{ task: { id: taskId } }],
        briefing: null,
        isUnchanged: false,
        earlier: { attempts: 0, effects: [] }
      }
    })
    expect(beat.heartbeatId).toBe(`${plane.engineer}:${beat.context.heartbeat.dueAt}`)
    expect(await claimed(plane, { requestId: "same" })).toEqual(beat)
    expect(await reasonOf(plane)).toBe("session_busy")
  })

  it("is due an interval later once it is done, without drift, and missed ones are not made up for", async () => {
    const plane = await due()
    const beat = await claimed(plane)
    const { dueAt } = beat.context.heartbeat
    pass(3 * minute)
    const answer = await finish(plane, beat)
    expect(answer.dueAt).toBe(dueAt + 15 * minute)
    expect(await finish(plane, beat)).toEqual(answer)
    vi.setSystemTime(dueAt + 100 * minute)
    const late = await claimed(plane)
    expect(late.context.heartbeat.dueAt).toBe(dueAt + 15 * minute)
    expect((await finish(plane, late)).dueAt).toBe(dueAt + 105 * minute)
  })

  it("goes after deliveries: not beside a live turn, and not before a ready row", async () => {
    const plane = await due()
    await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    expect(await reasonOf(plane)).toBe("delivery_first")
    const delivery = first((await plane.claim()).deliveries)
    expect(await reasonOf(plane)).toBe("session_busy")
    await plane.mutate(api.service.notifications.release, {
      ...fenceOf(delivery),
      nextAttemptAt: Date.now() + 5_000
    })
    expect(await reasonOf(plane)).toBe("claimed")
    pass(5_000)
    expect((await plane.claim()).deliveries).toEqual([])
  })

  it("tells at its end whether its session has deliveries that its lease kept back", async () => {
    const plane = await due()
    expect(await finish(plane, await claimed(plane))).toMatchObject({ hasWork: false })
    pass(15 * minute)
    const beat = await claimed(plane)
    await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    expect((await plane.claim()).deliveries).toEqual([])
    const end = await finish(plane, beat)
    expect(end).toMatchObject({ hasWork: true })
    expect(await finish(plane, beat)).toMatchObject({ hasWork: true })
    // So is one that waits for its next attempt, of which no claim told while the session was held.
    const delivery = first((await plane.claim()).deliveries)
    const later = await plane.mutate(api.service.notifications.release, {
      ...fenceOf(delivery),
      nextAttemptAt: Date.now() + 60 * minute
    })
    expect(later.state).toBe("waiting")
    pass(15 * minute)
    expect(await finish(plane, await claimed(plane))).toMatchObject({ hasWork: true })
  })

  it("does not begin while a row that must run alone is overdue, so that a runtime becomes idle for it", async () => {
    const plane = await due()
    await claimBeat(plane, { agentId: plane.lead })
    pass(2 * minute)
    await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.qa] })
    await plane.claim()
    await plane.pulse("r1", "b2")
    await plane.claim({ bootId: "b2" })
    await plane.pulse("r1", "b3")
    const boot = { bootId: "b3" }
    const beat = await claimed(plane, boot)
    const leads = { ...boot, agentId: plane.lead }
    pass(minute)
    expect(await reasonOf(plane, leads)).toBe("runtime_alone")
    expect(await plane.claim(boot)).toMatchObject({ deliveries: [], isBlocked: true })
    await finish(plane, beat)
    expect(await reasonOf(plane, leads)).toBe("runtime_alone")
    const alone = first((await plane.claim(boot)).deliveries)
    expect(alone).toMatchObject({ alone: true })
    expect(await reasonOf(plane, leads)).toBe("runtime_alone")
    await plane.mutate(api.service.notifications.complete, { ...fenceOf(alone), outcome: "skipped", maxHops: 12 })
    expect(await reasonOf(plane, leads)).toBe("claimed")
  })

  it("begins beside a row that must run alone while that is not overdue, or its agent is parked", async () => {
    const plane = await due()
    await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.qa] })
    await plane.claim()
    await plane.pulse("r1", "b2")
    await plane.claim({ bootId: "b2" })
    await plane.pulse("r1", "b3")
    const boot = { bootId: "b3" }
    pass(minute - 1)
    await finish(plane, await claimed(plane, boot))
    pass(15 * minute)
    expect(await reasonOf(plane, { ...boot, parkedAgents: [plane.qa] })).toBe("claimed")
  })

  it("keeps its identity over a shared failure and waits as told", async () => {
    const plane = await due()
    const beat = await claimed(plane)
    const nextAttemptAt = Date.now() + 30_000
    const release = () =>
      plane.mutate(api.service.notifications.release, { ...fenceOf(beat), nextAttemptAt, class: "ProviderFailed" })
    expect((await release()).state).toBe("waiting")
    expect((await release()).state).toBe("waiting")
    expect(await claimBeat(plane)).toMatchObject({ reason: "backing_off", notBefore: nextAttemptAt })
    vi.setSystemTime(nextAttemptAt)
    expect(await claimed(plane)).toMatchObject({ heartbeatId: beat.heartbeatId, attempt: 1 })
  })

  it("is given up after three own failures, and when the next one is due", async () => {
    const plane = await due()
    const fail = (beat: Claimed) =>
      plane.mutate(api.service.notifications.fail, {
        ...fenceOf(beat),
        class: "TurnTimeout",
        error: "slow",
        nextAttemptAt: Date.now(),
        silence: false,
        silenceLimit: 3,
        maxHops: 12
      })
    const beat = await claimed(plane)
    expect((await fail(beat)).state).toBe("waiting")
    expect((await fail(await claimed(plane))).state).toBe("waiting")
    const third = await claimed(plane)
    expect(third).toMatchObject({ heartbeatId: beat.heartbeatId, attempt: 3 })
    expect((await fail(third)).state).toBe("dead")
    expect(await reasonOf(plane)).toBe("not_due")
    pass(15 * minute)
    const next = await claimed(plane)
    expect(next.heartbeatId).not.toBe(beat.heartbeatId)
    await fail(next)
    pass(40 * minute)
    const later = await claimed(plane)
    expect(later.context.heartbeat.dueAt).toBe(next.context.heartbeat.dueAt + 30 * minute)
    expect(later.attempt).toBe(1)
  })

  it("is freed by the next boot with its effects listed, and given up when it took three runtimes with it", async () => {
    const plane = await due()
    const beat = await claimed(plane)
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, flags: { canCreateTasks: true } })
    await plane.mutate(api.service.tasks.create, { ...fenceOf(beat), maxHops: 12, title: "Found" })
    await plane.pulse("r1", "b2")
    const second = await claimed(plane, { bootId: "b2" })
    expect(second).toMatchObject({
      heartbeatId: beat.heartbeatId,
      attempt: 2,
      context: { earlier: { attempts: 1, effects: [{ tool: "task_create" }] } }
    })
    await plane.pulse("r1", "b3")
    await claimed(plane, { bootId: "b3" })
    await plane.pulse("r1", "b4")
    expect(await reasonOf(plane, { bootId: "b4" })).toBe("not_due")
  })

  it("posts what it says once, under the rules of its own tasks, and never ends one", async () => {
    const plane = await due()
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    const other = await plane.asPerson(api.app.tasks.create, { title: "Not mine" })
    const assignment = first((await plane.claim()).deliveries)
    await plane.mutate(api.service.notifications.complete, { ...fenceOf(assignment), outcome: "skipped", maxHops: 12 })
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, flags: { canMarkDone: true } })
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "review" })
    for (const delivery of (await plane.claim()).deliveries) {
      await plane.mutate(api.service.notifications.complete, { ...fenceOf(delivery), outcome: "skipped", maxHops: 12 })
    }
    const beat = await claimed(plane)
    const set = (status: "done" | "in_progress") =>
      plane.mutate(api.service.tasks.setStatus, { ...fenceOf(beat), maxHops: 12, taskId, status })
    expect(await codeOf(set("done"))).toBe("forbidden")
    expect(await codeOf(set("in_progress"))).toBeNull()
    const elsewhere = { taskId: other.taskId, content: "hello" }
    expect(await codeOf(finish(plane, beat, { message: elsewhere }))).toBe("forbidden")
    const end = { message: { taskId, content: "Half way.", truncated: true }, currentTaskId: taskId }
    const { messageId } = await finish(plane, beat, end)
    await finish(plane, beat, end)
    expect(await plane.thread(taskId)).toMatchObject([{ id: messageId, content: "Half way.", kind: "message" }])
    expect(await plane.t.run((ctx) => ctx.db.query("messages").order("desc").first())).toMatchObject({
      isTruncated: true
    })
    const agents = await plane.seen(api.app.agents.list, {})
    expect(agents.find((agent) => agent.slug === "engineer")).toMatchObject({ currentTaskId: taskId, status: "ok" })
  })

  it("knows whether anything the agent sees has changed since its last finished beat", async () => {
    const plane = await due()
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    const assignment = first((await plane.claim()).deliveries)
    await plane.mutate(api.service.notifications.complete, { ...fenceOf(assignment), outcome: "skipped", maxHops: 12 })
    const next = async () => {
      const beat = await claimed(plane)
      await finish(plane, beat)
      pass(15 * minute)
      return beat.context.isUnchanged
    }
    expect(await next()).toBe(false)
    expect(await next()).toBe(true)
    await plane.asPerson(api.app.tasks.update, { taskId, title: "New title" })
    expect(await next()).toBe(false)
    expect(await next()).toBe(true)
  })

  it("of the orchestrator sees all work under way, stalest first, and the briefing", async () => {
    const plane = await due()
    await plane.asPerson(api.app.accounts.configure, { briefing: "Ship on Friday." })
    const titles = ["old", "new"]
    for (const title of titles) {
      await plane.asPerson(api.app.tasks.create, { title, assigneeIds: [plane.qa] })
      pass(1_000)
    }
    await claimBeat(plane, { agentId: plane.lead })
    pass(2 * minute)
    const beat = await claimed(plane, { agentId: plane.lead })
    expect(beat.context.tasks.map(({ task }) => task.title)).toEqual(titles)
    expect(beat.context.briefing).toBe("Ship on Friday.")
    const isUnchanged = async () => {
      pass(15 * minute)
      const next = await claimed(plane, { agentId: plane.lead })
      await finish(plane, next)
      return next.context.isUnchanged
    }
    await finish(plane, beat)
    expect(await isUnchanged()).toBe(true)
    await plane.asPerson(api.app.accounts.configure, { briefing: "Ship on Monday." })
    expect(await isUnchanged()).toBe(false)
    expect(await isUnchanged()).toBe(true)
  })

  it("of the orchestrator tells when each task was last written in, and when an assignee last gave a sign", async () => {
    const plane = await due()
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.qa] })
    const lead = { agentId: plane.lead }
    await claimBeat(plane, lead)
    const signs = async () => {
      for (const delivery of (await plane.claim()).deliveries) {
        await plane.mutate(api.service.notifications.complete, {
          ...fenceOf(delivery),
          outcome: "skipped",
          maxHops: 12
        })
      }
      pass(15 * minute)
      const beat = await claimed(plane, lead)
      await finish(plane, beat)
      const { lastAssigneeAt, lastMessageAt } = first(beat.context.tasks)
      return { lastAssigneeAt, lastMessageAt, isUnchanged: beat.context.isUnchanged }
    }
    expect(await signs()).toEqual({ lastAssigneeAt: null, lastMessageAt: null, isUnchanged: false })
    const asked = Date.now()
    await plane.post(taskId, "How far are you?")
    expect(await signs()).toEqual({ lastAssigneeAt: null, lastMessageAt: asked, isUnchanged: false })
    expect(await signs()).toMatchObject({ isUnchanged: true })
    await plane.post(taskId, "@qa answer me")
    const delivery = first((await plane.claim()).deliveries)
    const moved = Date.now()
    const fence = { ...fenceOf(delivery), maxHops: 12 }
    await plane.mutate(api.service.tasks.setStatus, { ...fence, taskId, status: "in_progress" })
    pass(minute)
    const answered = Date.now()
    await plane.mutate(api.service.notifications.complete, { ...fence, outcome: "replied", reply: "Half way." })
    expect(moved).toBeLessThan(answered)
    expect(await signs()).toEqual({ lastAssigneeAt: answered, lastMessageAt: answered, isUnchanged: false })
    await plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds: [plane.engineer] })
    expect(await signs()).toEqual({ lastAssigneeAt: null, lastMessageAt: answered, isUnchanged: false })
  })

  it("by a cron expression is due when the runtime says, which it must", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, heartbeat: "0 * * * *" })
    expect(await codeOf(claimBeat(plane))).toBe("invalid")
    const nextDueAt = Date.now() + 60 * minute
    expect(await claimBeat(plane, { nextDueAt })).toMatchObject({ reason: "not_due", dueAt: nextDueAt })
    vi.setSystemTime(nextDueAt)
    const beat = await claimed(plane, { nextDueAt: nextDueAt + 60 * minute })
    expect((await finish(plane, beat)).dueAt).toBe(nextDueAt + 60 * minute)
  })

  it("is not due by a moment that was reckoned by another cron expression than the one that holds now", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, heartbeat: "* * * * *" })
    const inYears = { nextDueAt: Date.now() + 60 * 24 * 900 * minute, schedule: "0 0 29 2 *" }
    expect(await claimBeat(plane, inYears)).toMatchObject({ reason: "not_due", notBefore: Date.now() + 15_000 })
    const soon = { nextDueAt: Date.now() + minute, schedule: "* * * * *" }
    expect(await claimBeat(plane, soon)).toMatchObject({ reason: "not_due", dueAt: soon.nextDueAt })
  })

  it("is not claimed with a next moment that has passed meanwhile: it may have been another runtime's beat", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, heartbeat: "0 * * * *" })
    const dueAt = Date.now() + 60 * minute
    await claimBeat(plane, { nextDueAt: dueAt })
    vi.setSystemTime(dueAt)
    expect(await claimBeat(plane, { nextDueAt: dueAt })).toMatchObject({
      reason: "not_due",
      dueAt,
      notBefore: dueAt + 1_000
    })
    expect((await claimed(plane, { nextDueAt: dueAt + 60 * minute })).heartbeatId).toBe(`${plane.engineer}:${dueAt}`)
  })

  it("is not followed by itself when a runtime's clock is behind as it ends", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, heartbeat: "0 * * * *" })
    const dueAt = Date.now() + 60 * minute
    await claimBeat(plane, { nextDueAt: dueAt })
    vi.setSystemTime(dueAt)
    const nextDueAt = dueAt + 60 * minute
    const beat = await claimed(plane, { nextDueAt })
    expect((await finish(plane, beat, { nextDueAt: dueAt })).dueAt).toBe(nextDueAt)
  })

  it("follows a changed schedule at once, counted from the last beat", async () => {
    const plane = await due()
    const beat = await claimed(plane)
    await finish(plane, beat)
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, heartbeat: 5 })
    const answer = await claimBeat(plane)
    expect(answer).toMatchObject({ reason: "not_due", dueAt: Date.now() + 5 * minute })
  })

  it.each([
    ["parked", { parkedAgents: true }],
    ["paused", { pause: true }]
  ])(
    "waits while its agent or account is %s",
    async (reason, { parkedAgents, pause }: { parkedAgents?: boolean; pause?: boolean }) => {
      const plane = await due()
      if (pause === true) await plane.asPerson(api.app.runtimes.pause, {})
      expect(await reasonOf(plane, parkedAgents === true ? { parkedAgents: [plane.engineer] } : {})).toBe(reason)
    }
  )

  it("is not for a removed agent, a delivery's lease, or a boot of the past", async () => {
    const plane = await due()
    await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.qa] })
    const delivery = first((await plane.claim()).deliveries)
    const ended = plane.mutate(api.service.agents.updateAgentHeartbeat, {
      ...fenceOf(delivery),
      maxHops: 12,
      status: "ok"
    })
    expect(await codeOf(ended)).toBe("invalid")
    const beat = await claimed(plane)
    const completed = plane.mutate(api.service.notifications.complete, {
      ...fenceOf(beat),
      outcome: "skipped",
      maxHops: 12
    })
    expect(await codeOf(completed)).toBe("invalid")
    await plane.asPerson(api.app.agents.remove, { agentId: plane.engineer })
    expect(await codeOf(claimBeat(plane))).toBe("not_found")
    await plane.pulse("r1", "b2")
    expect(await codeOf(claimBeat(plane, { agentId: plane.qa }))).toBe("conflict")
  })
})

describe("rotating a session", () => {
  it("takes effect at the next claim, and repeating it changes nothing more", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    const delivery = first((await plane.claim()).deliveries)
    const rotate = () => plane.mutate(api.service.sessions.rotate, { agent: "engineer" })
    expect(await rotate()).toEqual({ rotated: 1 })
    await rotate()
    const keyOf = async () => {
      const [answer] = await plane.query(api.service.notifications.context, { ids: [...delivery.notificationIds] })
      return answer !== undefined && "context" in answer ? answer.context.sessionKey.split(":").at(-1) : null
    }
    expect(await keyOf()).toBe(plane.accountId.toLowerCase())
    await plane.mutate(api.service.notifications.release, fenceOf(delivery))
    await plane.claim()
    expect(await keyOf()).toBe("g2")
  })

  it("is not lost when a turn runs in the next generation already, which is kept when it completes", async () => {
    const plane = await seededPlane()
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    await plane.mutate(api.service.notifications.fail, {
      ...fenceOf(first((await plane.claim()).deliveries)),
      class: "TurnAmbiguous",
      error: "500",
      nextAttemptAt: Date.now(),
      silence: true,
      silenceLimit: 3,
      rotate: true,
      maxHops: 12
    })
    const tried = first((await plane.claim()).deliveries)
    await plane.mutate(api.service.sessions.rotate, { agent: "engineer" })
    await plane.mutate(api.service.notifications.complete, { ...fenceOf(tried), outcome: "acted", maxHops: 12 })
    await plane.post(taskId, "@engineer and now?")
    const ids = first((await plane.claim()).deliveries).notificationIds
    const [answer] = await plane.query(api.service.notifications.context, { ids })
    expect(answer).toMatchObject({ context: { generation: 3 } })
  })

  it("refuses an agent or task that is none, or has no session yet", async () => {
    const plane = await seededPlane()
    const rotate = (args: { agent: string; taskId?: string }) => plane.mutate(api.service.sessions.rotate, args)
    expect(await codeOf(rotate({ agent: "nobody" }))).toBe("not_found")
    expect(await codeOf(rotate({ agent: "engineer" }))).toBe("not_found")
    expect(await codeOf(rotate({ agent: "engineer", taskId: "nonsense" }))).toBe("not_found")
  })
})
