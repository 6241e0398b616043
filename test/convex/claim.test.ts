import { ConvexError } from "convex/values"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { codeOf, fenceOf, first, type Plane, seededPlane } from "./controlPlane.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

/** Lets the time of the control plane go on. */
const pass = (ms: number) => vi.setSystemTime(Date.now() + ms)

const makeTask = async (plane: Plane, assignees: ReadonlyArray<string> = []) =>
  (await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [...assignees] })).taskId

/** A task on which the engineer works and has answered, so that it hears of messages. */
const workedOn = async (plane: Plane) => {
  const taskId = await makeTask(plane, [plane.engineer])
  const delivery = first((await plane.claim()).deliveries)
  await plane.mutate(api.service.notifications.complete, {
    ...fenceOf(delivery),
    outcome: "skipped",
    maxHops: 12
  })
  return taskId
}

const complete = (plane: Plane, delivery: { session: string; epoch: number }) =>
  plane.mutate(api.service.notifications.complete, { ...fenceOf(delivery), outcome: "skipped", maxHops: 12 })

const release = (plane: Plane, delivery: { session: string; epoch: number }, nextAttemptAt?: number) =>
  plane.mutate(api.service.notifications.release, {
    ...fenceOf(delivery),
    ...(nextAttemptAt === undefined ? {} : { nextAttemptAt, class: "GatewayUnreachable", error: "503" })
  })

/** Ends the runtime's process without a word and lets its next boot pulse. */
const crash = (plane: Plane, bootId: string) => plane.pulse("r1", bootId)

describe("a claim", () => {
  it("answers the same requestId the same again, and takes nothing more for it", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    const answer = await plane.claim({ requestId: "same" })
    await makeTask(plane, [plane.qa])
    expect(await plane.claim({ requestId: "same" })).toEqual(answer)
    expect((await plane.claim()).deliveries).toHaveLength(1)
  })

  it("that is repeated long after brings no context of what others took or ended meanwhile", async () => {
    const plane = await seededPlane()
    await plane.pulse("r2", "c1")
    const taskId = await makeTask(plane)
    await plane.post(taskId, "@engineer @qa @lead please")
    const old = (await plane.claim({ requestId: "same" })).deliveries
    const [taken, done, kept] = old
    if (taken === undefined || done === undefined || kept === undefined) throw new Error("expected three deliveries")
    await release(plane, taken)
    const others = await plane.claim({ runtimeId: "r2", bootId: "c1" })
    expect(others.deliveries.map(({ notificationIds }) => notificationIds)).toEqual([taken.notificationIds])
    await complete(plane, done)
    pass(300_000)
    const { deliveries } = await plane.claim({ requestId: "same" })
    const asked = {
      ids: deliveries.map((each) => first(each.notificationIds)),
      epochs: deliveries.map((each) => each.epoch)
    }
    const said = async (args: { ids: Array<string>; epochs?: Array<number> }) =>
      (await plane.query(api.service.notifications.context, args)).map((each) =>
        "broken" in each ? each.broken : "whole"
      )
    // An expired lease that nobody took is still good.
    expect(await said(asked)).toEqual(["lease_lost", "lease_lost", "whole"])
    expect(await said({ ids: asked.ids })).toEqual(["whole", "whole", "whole"])
  })

  it("never takes a session twice: one agent has one turn, whatever waits for it", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    await makeTask(plane, [plane.engineer])
    const taken = await plane.claim()
    expect(taken.deliveries).toHaveLength(1)
    expect((await plane.claim()).deliveries).toEqual([])
    await complete(plane, first(taken.deliveries))
    expect((await plane.claim()).deliveries).toHaveLength(1)
  })

  it("takes a session per task where the account says so", async () => {
    const plane = await seededPlane({ sessionScope: "task" })
    const one = await makeTask(plane, [plane.engineer])
    await makeTask(plane, [plane.engineer])
    const { deliveries } = await plane.claim()
    expect(deliveries).toHaveLength(2)
    const [answer] = await plane.query(api.service.notifications.context, {
      ids: [first(first(deliveries).notificationIds)]
    })
    expect(answer).toMatchObject({
      context: { sessionKey: `agent:engineer:${plane.accountId}:task:${one}`.toLowerCase() }
    })
  })

  it("goes by lane, then by age: a person's message, a request, an assignment, the rest", async () => {
    const plane = await seededPlane()
    const taskId = await workedOn(plane)
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "in_progress" })
    pass(1)
    await makeTask(plane, [plane.qa])
    pass(1)
    await plane.post(taskId, "@engineer hello")
    const { deliveries } = await plane.claim()
    expect(deliveries.map((each) => each.lane)).toEqual([0, 2])
    await complete(plane, first(deliveries))
    expect(first((await plane.claim()).deliveries).lane).toBe(3)
  })

  it("takes the oldest of all lanes every fourth time, so that none starves", async () => {
    const plane = await seededPlane()
    const taskId = await workedOn(plane)
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "in_progress" })
    const lanes: Array<number> = []
    for (let count = 0; count < 4; count += 1) {
      pass(1)
      await plane.post(taskId, `@engineer ${count}`)
      const delivery = first((await plane.claim()).deliveries)
      lanes.push(delivery.lane)
      await complete(plane, delivery)
    }
    expect(lanes.toSorted()).toEqual([0, 0, 0, 3])
  })

  it("takes at most `limit` sessions, and none while the account is paused", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer, plane.qa, plane.lead])
    await plane.asPerson(api.app.runtimes.pause, {})
    expect((await plane.claim()).deliveries).toEqual([])
    await plane.asPerson(api.app.runtimes.resume, {})
    expect((await plane.claim({ limit: 2 })).deliveries).toHaveLength(2)
    expect((await plane.claim({ limit: 2 })).deliveries).toHaveLength(1)
  })

  it("is refused to a boot that never pulsed and to an earlier boot", async () => {
    const plane = await seededPlane()
    expect(await codeOf(plane.claim({ runtimeId: "unknown" }))).toBe("conflict")
    expect(await codeOf(plane.claim({ bootId: "b2" }))).toBe("conflict")
    await plane.pulse("r1", "b2")
    expect(await codeOf(plane.claim({ bootId: "b1" }))).toBe("conflict")
    expect(await codeOf(plane.pulse("r1", "b1"))).toBe("conflict")
    expect((await plane.claim({ bootId: "b2" })).deliveries).toEqual([])
  })

  it.each([
    ["limit", { limit: 0 }],
    ["limit", { limit: 1.5 }],
    ["limit", { limit: 101 }],
    ["leaseMs", { leaseMs: 2_999 }],
    ["leaseMs", { leaseMs: Number.NaN }],
    ["maxAttempts", { maxAttempts: 0 }]
  ])("refuses a %s out of range: %j", async (_, more) => {
    const plane = await seededPlane()
    expect(await codeOf(plane.claim(more))).toBe("invalid")
  })
})

describe("folding", () => {
  it("makes one turn of a session's untried thread updates of one task, the person's newest kept", async () => {
    const plane = await seededPlane()
    const taskId = await workedOn(plane)
    const other = await workedOn(plane)
    for (const [index, content] of ["one", "two", "three"].entries()) {
      await plane.post(taskId, content)
      pass(index + 1)
    }
    await plane.post(other, "elsewhere")
    const delivery = first((await plane.claim()).deliveries)
    expect(delivery.notificationIds).toHaveLength(3)
    const [answer] = await plane.query(api.service.notifications.context, {
      ids: [first(delivery.notificationIds)]
    })
    if (answer === undefined || !("context" in answer)) throw new Error("expected a context")
    expect(answer.context.fold.map((each) => each.message?.content)).toEqual(["one", "two", "three"])
    expect(answer.context.fold.at(-1)?.id).toBe(first(delivery.notificationIds))
    const states = await Promise.all(delivery.notificationIds.map(async (id) => (await plane.row(id)).state))
    expect(states).toEqual(["claimed", "folded", "folded"])
    await complete(plane, delivery)
    expect(first((await plane.claim()).deliveries).notificationIds).toHaveLength(1)
  })

  it("keeps a person's message before a newer agent's, with its lane, hops and duty to answer", async () => {
    const plane = await seededPlane()
    const taskId = await workedOn(plane)
    await plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds: [plane.engineer, plane.qa] })
    const qaTurn = first((await plane.claim()).deliveries)
    await plane.post(taskId, "from a person")
    pass(1)
    await plane.mutate(api.service.notifications.complete, {
      ...fenceOf(qaTurn),
      outcome: "replied",
      reply: "from QA",
      maxHops: 12
    })
    const { deliveries } = await plane.claim()
    const rows = await Promise.all(deliveries.map(async (each) => plane.row(first(each.notificationIds))))
    const engineers = rows.find((row) => row.agentId === (plane.engineer as string))
    expect(engineers).toMatchObject({ lane: 0, hops: 0, isRequired: true, actor: { type: "person" } })
    expect(deliveries.find((each) => each.session === engineers?.sessionId)?.notificationIds).toHaveLength(2)
  })

  it("happens once: what comes later makes a turn of its own, and the fold outlives release, failure and crash", async () => {
    const plane = await seededPlane()
    const taskId = await workedOn(plane)
    await plane.post(taskId, "one")
    pass(1)
    await plane.post(taskId, "two")
    const before = first((await plane.claim()).deliveries)
    pass(1)
    await plane.post(taskId, "three")
    await release(plane, before)
    const again = first((await plane.claim()).deliveries)
    expect(again.notificationIds).toEqual(before.notificationIds)
    await plane.mutate(api.service.notifications.fail, {
      ...fenceOf(again),
      class: "TurnTimeout",
      error: "too slow",
      nextAttemptAt: Date.now() + 5_000,
      silence: false,
      silenceLimit: 3,
      maxHops: 12
    })
    const later = first((await plane.claim()).deliveries)
    expect(later.notificationIds).toHaveLength(1)
    expect(before.notificationIds).not.toContain(first(later.notificationIds))
    await complete(plane, later)
    pass(5_000)
    expect(first((await plane.claim()).deliveries).notificationIds).toEqual(before.notificationIds)
    await crash(plane, "b2")
    expect(first((await plane.claim({ bootId: "b2" })).deliveries).notificationIds).toEqual(before.notificationIds)
  })

  it("takes at most fifty at once and leaves the rest for the next turn", async () => {
    const plane = await seededPlane()
    const taskId = await workedOn(plane)
    for (let count = 0; count < 60; count += 1) await plane.post(taskId, `message ${count}`)
    const delivery = first((await plane.claim()).deliveries)
    expect(delivery.notificationIds).toHaveLength(50)
    await complete(plane, delivery)
    expect(first((await plane.claim()).deliveries).notificationIds).toHaveLength(10)
  })
})

describe("attempts", () => {
  it("grow at the claim, are given back by a release, and are kept by a crash", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    let delivery = first((await plane.claim()).deliveries)
    expect(delivery.attempt).toBe(1)
    await release(plane, delivery)
    delivery = first((await plane.claim()).deliveries)
    expect(delivery.attempt).toBe(1)
    await release(plane, delivery, Date.now() + 1_000)
    pass(1_000)
    delivery = first((await plane.claim()).deliveries)
    expect(delivery).toMatchObject({ attempt: 1, failures: 1 })
    expect((await crash(plane, "b2")).releasedLeases).toBe(1)
    expect(first((await plane.claim({ bootId: "b2" })).deliveries).attempt).toBe(2)
  })

  it("that are used up come back spent: the attempt does not grow", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    await plane.claim({ maxAttempts: 1 })
    await crash(plane, "b2")
    const delivery = first((await plane.claim({ bootId: "b2", maxAttempts: 1 })).deliveries)
    expect(delivery).toMatchObject({ attempt: 1, spent: true, alone: false })
    const { state } = await plane.mutate(api.service.notifications.fail, {
      ...fenceOf(delivery),
      class: "Defect",
      error: "spent",
      silence: false,
      silenceLimit: 3,
      maxHops: 12
    })
    expect(state).toBe("dead")
  })
})

describe("a waiting row", () => {
  it("holds up no ready row of its session, and comes back in its old place when it is due", async () => {
    const plane = await seededPlane()
    const taskId = await workedOn(plane)
    await plane.post(taskId, "@engineer first")
    const waiting = first((await plane.claim()).deliveries)
    await release(plane, waiting, Date.now() + 60_000)
    pass(1_000)
    await plane.post(taskId, "@engineer second")
    const second = first((await plane.claim()).deliveries)
    expect(second.notificationIds).not.toEqual(waiting.notificationIds)
    await complete(plane, second)
    pass(1_000)
    await plane.post(taskId, "@engineer third")
    pass(60_000)
    expect(first((await plane.claim()).deliveries)).toMatchObject({
      notificationIds: waiting.notificationIds,
      readyAt: waiting.readyAt,
      lane: 0
    })
  })

  it("is announced by nextDueAt, as is every lease's end", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    expect((await plane.claim({ limit: 1 })).nextDueAt).toBe(Date.now() + 90_000)
    await plane.pulse("r1", "b2")
    const delivery = first((await plane.claim({ bootId: "b2" })).deliveries)
    const due = Date.now() + 7_000
    await release(plane, delivery, due)
    expect((await plane.claim({ bootId: "b2" })).nextDueAt).toBe(due)
    expect((await plane.pulse("r1", "b2")).nextDueAt).toBe(due)
    pass(7_000)
    const again = first((await plane.claim({ bootId: "b2" })).deliveries)
    await complete(plane, again)
    expect((await plane.claim({ bootId: "b2" })).nextDueAt).toBeNull()
  })
})

describe("a lease", () => {
  it("that has expired is good until somebody takes the session, and lost from then on", async () => {
    const plane = await seededPlane()
    await plane.pulse("r2", "c1")
    await makeTask(plane, [plane.engineer])
    const mine = first((await plane.claim()).deliveries)
    pass(90_001)
    const { expiresAt } = await plane.mutate(api.service.notifications.renew, {
      ...fenceOf(mine),
      leaseMs: 90_000,
      runtimeId: "r1",
      bootId: "b1"
    })
    expect(expiresAt).toBe(Date.now() + 90_000)
    expect((await plane.claim({ runtimeId: "r2", bootId: "c1" })).deliveries).toEqual([])
    pass(90_001)
    const theirs = first((await plane.claim({ runtimeId: "r2", bootId: "c1" })).deliveries)
    expect(theirs).toMatchObject({ notificationIds: mine.notificationIds, attempt: 2, epoch: mine.epoch + 1 })
    expect(await codeOf(complete(plane, mine))).toBe("lease_lost")
    expect(await codeOf(release(plane, mine))).toBe("lease_lost")
    await complete(plane, theirs)
    expect((await plane.row(first(mine.notificationIds))).state).toBe("delivered")
  })

  it("of an earlier boot cannot be renewed", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    const delivery = first((await plane.claim()).deliveries)
    await plane.pulse("r1", "b2")
    const renewal = plane.mutate(api.service.notifications.renew, {
      ...fenceOf(delivery),
      leaseMs: 90_000,
      runtimeId: "r1",
      bootId: "b1"
    })
    expect(await codeOf(renewal)).toBe("conflict")
  })

  it("is freed at once by the next boot of its runtime, and by no other runtime's", async () => {
    const plane = await seededPlane()
    await plane.pulse("r2", "c1")
    await makeTask(plane, [plane.engineer])
    await plane.claim()
    expect((await plane.pulse("r2", "c2")).releasedLeases).toBe(0)
    expect((await plane.pulse("r1", "b1")).releasedLeases).toBe(0)
    expect((await plane.pulse("r1", "b2")).releasedLeases).toBe(1)
    expect((await plane.claim({ bootId: "b2" })).deliveries).toHaveLength(1)
  })
})

describe("a row whose last two attempts took their runtime with them", () => {
  const poisoned = async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    const poison = first(first((await plane.claim()).deliveries).notificationIds)
    await crash(plane, "b2")
    await plane.claim({ bootId: "b2" })
    await crash(plane, "b3")
    return { plane, poison, claim: (more: object = {}) => plane.claim({ bootId: "b3", ...more }) }
  }

  it("is claimed alone, and its runtime claims nothing beside it", async () => {
    const { plane, poison, claim } = await poisoned()
    await makeTask(plane, [plane.qa])
    const { deliveries } = await claim()
    expect(deliveries).toMatchObject([{ notificationIds: [poison], alone: true, attempt: 3 }])
    expect(await claim()).toMatchObject({ deliveries: [], isBlocked: true })
    await complete(plane, first(deliveries))
    expect(await claim()).toMatchObject({ deliveries: [{ alone: false }], isBlocked: false })
  })

  it("waits while its runtime is busy, and once a minute overdue holds further claims back", async () => {
    const { plane, poison, claim } = await poisoned()
    const other = await makeTask(plane, [plane.qa])
    await plane.asPerson(api.app.messages.post, { taskId: other, content: "@qa please" })
    const qas = first((await claim()).deliveries)
    expect(qas.notificationIds).not.toContain(poison)
    await makeTask(plane, [plane.lead])
    const leads = await claim()
    expect(leads).toMatchObject({ isBlocked: false, deliveries: [{ alone: false }] })
    await complete(plane, first(leads.deliveries))
    await makeTask(plane, [plane.lead])
    pass(60_000)
    expect(await claim()).toMatchObject({ deliveries: [], isBlocked: true })
    await complete(plane, qas)
    expect(await claim()).toMatchObject({ deliveries: [{ notificationIds: [poison], alone: true }] })
  })

  it("goes first when its runtime left it a minute ago and no boot came back, also before better lanes", async () => {
    const plane = await seededPlane()
    await plane.pulse("r2", "c1")
    const r2 = { runtimeId: "r2", bootId: "c1" }
    await makeTask(plane, [plane.engineer])
    const poison = first(first((await plane.claim()).deliveries).notificationIds)
    await crash(plane, "b2")
    await plane.claim({ bootId: "b2" })
    const other = await makeTask(plane, [plane.lead])
    const leads = first((await plane.claim(r2)).deliveries)
    pass(150_000)
    await plane.mutate(api.service.notifications.renew, { ...fenceOf(leads), ...r2, leaseMs: 90_000 })
    await plane.post(other, "@qa please")
    expect(await plane.claim(r2)).toMatchObject({ deliveries: [], isBlocked: true })
    await complete(plane, leads)
    const { deliveries } = await plane.claim(r2)
    expect(deliveries).toMatchObject([{ notificationIds: [poison], alone: true, attempt: 3 }])
    await complete(plane, first(deliveries))
    expect(await plane.claim(r2)).toMatchObject({ deliveries: [{ alone: false }], isBlocked: false })
  })

  it("goes first also where the agent's other work died with its runtime a moment ago", async () => {
    const { plane, poison, claim } = await poisoned()
    await plane.pulse("r2", "c1")
    await plane.post(await makeTask(plane), "@qa please")
    await plane.post(await makeTask(plane), "@engineer please")
    const left = await plane.claim({ runtimeId: "r2", bootId: "c1", limit: 2 })
    expect(left.deliveries).toHaveLength(2)
    expect(left.deliveries.flatMap(({ notificationIds }) => notificationIds)).not.toContain(poison)
    pass(90_000)
    const { deliveries } = await claim({ limit: 2 })
    expect(deliveries).toMatchObject([{ notificationIds: [poison], alone: true, attempt: 3 }])
  })

  it("runs with others again once an attempt ended otherwise", async () => {
    const { plane, poison, claim } = await poisoned()
    await plane.mutate(api.service.notifications.fail, {
      ...fenceOf(first((await claim()).deliveries)),
      class: "TurnTimeout",
      error: "slow",
      nextAttemptAt: Date.now(),
      silence: false,
      silenceLimit: 3,
      maxHops: 12
    })
    expect(await claim()).toMatchObject({ deliveries: [{ notificationIds: [poison], alone: false }] })
  })
})

describe("a parked agent", () => {
  /** As a runtime whose gateway does not know the agent. */
  const unknown = (plane: Plane, delivery: { session: string; epoch: number }) =>
    plane.mutate(api.service.notifications.release, {
      ...fenceOf(delivery),
      nextAttemptAt: Date.now() + 30_000,
      class: "UnknownAgent",
      error: "400",
      sharedLimitMs: 86_400_000
    })

  it("is passed over while others are served, and its row comes spent after a day of shared failures", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer, plane.qa])
    const parkedAgents = [plane.engineer]
    const engineers = (await plane.claim()).deliveries
    for (const delivery of engineers) await unknown(plane, delivery)
    pass(30_000)
    const served = await plane.claim({ parkedAgents })
    expect(served.deliveries).toHaveLength(1)
    expect((await plane.row(first(first(served.deliveries).notificationIds))).agentId).toBe(plane.qa)
    await complete(plane, first(served.deliveries))
    expect((await plane.claim({ parkedAgents })).deliveries).toEqual([])
    pass(24 * 60 * 60 * 1_000)
    const [late] = (await plane.claim({ parkedAgents })).deliveries
    expect(late).toMatchObject({ spent: true, attempt: 0 })
  })
})

describe("a parked agent's untried row", () => {
  it("is not given up for another's day of failures, also by a claim that takes the oldest of all lanes", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane, [plane.engineer])
    pass(1)
    await plane.post(taskId, "@engineer please")
    const parkedAgents = [plane.engineer]
    const mention = first((await plane.claim()).deliveries)
    await plane.mutate(api.service.notifications.release, {
      ...fenceOf(mention),
      nextAttemptAt: Date.now() + 30_000,
      class: "UnknownAgent",
      sharedLimitMs: 86_400_000
    })
    expect((await plane.claim({ parkedAgents })).deliveries).toEqual([])
    expect((await plane.claim({ parkedAgents })).deliveries).toEqual([])
    pass(24 * 60 * 60 * 1_000)
    expect((await plane.claim({ parkedAgents })).deliveries).toEqual([])
    const fifth = await plane.claim({ parkedAgents })
    expect(fifth.deliveries).toMatchObject([{ notificationIds: mention.notificationIds, spent: true }])
  })
})

describe("an unusual database", () => {
  it("does not stop a claim: a deleted notification under a lease frees its session when the lease ends", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    const delivery = first((await plane.claim()).deliveries)
    await plane.t.run((ctx) => ctx.db.delete("notifications", first(delivery.notificationIds) as Id<"notifications">))
    await makeTask(plane, [plane.engineer])
    pass(90_001)
    expect((await plane.claim()).deliveries).toHaveLength(1)
  })

  it("answers broken contexts one by one, and the whole ones beside them", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane)
    await plane.post(taskId, "@engineer @qa @lead please")
    const { deliveries } = await plane.claim()
    const ids = deliveries.map((each) => first(each.notificationIds))
    const rows = await Promise.all(ids.map(plane.row))
    await plane.t.run(async (ctx) => {
      const agentId = rows[0]?.agentId
      if (agentId !== undefined) await ctx.db.delete("agents", agentId)
      const [second] = rows.slice(1)
      if (second !== undefined) await ctx.db.delete("notifications", second._id)
    })
    const answers = await plane.query(api.service.notifications.context, { ids })
    expect(answers.map((answer) => ("broken" in answer ? answer.broken : "whole"))).toEqual([
      "agent_missing",
      "notification_missing",
      "whole"
    ])
    const messageId = rows[2]?.messageId
    await plane.t.run(async (ctx) => {
      if (messageId !== undefined) await ctx.db.delete("messages", messageId)
    })
    const last = ids.slice(2)
    expect(await plane.query(api.service.notifications.context, { ids: last })).toEqual([
      { id: last[0], broken: "message_missing" }
    ])
    await plane.t.run((ctx) => ctx.db.delete("tasks", taskId as Id<"tasks">))
    expect(await plane.query(api.service.notifications.context, { ids: last })).toEqual([
      { id: last[0], broken: "task_missing" }
    ])
  })

  it.each(["account", "agent", "message", "session"])(
    "ends a delivery whose %s is gone, each in its stated way, and the next one is claimed",
    async (what) => {
      const plane = await seededPlane()
      const taskId = await makeTask(plane)
      await plane.post(taskId, "@engineer please")
      const delivery = first((await plane.claim()).deliveries)
      const row = await plane.row(first(delivery.notificationIds))
      await plane.t.run(async (ctx) => {
        const id = { account: row.accountId, agent: row.agentId, message: row.messageId, session: row.sessionId }[what]
        if (id !== undefined) await ctx.db.delete(id)
      })
      const [answer] = await plane.query(api.service.notifications.context, { ids: [row._id] })
      expect(answer).toEqual({ id: row._id, broken: what === "session" ? "damaged" : `${what}_missing` })
      const end = { ...fenceOf(delivery), outcome: "skipped" as const, reason: `${what}_missing`, maxHops: 12 }
      if (what === "session") {
        // Nothing is left that could be written under: the runtime goes on to the next.
        expect(await codeOf(plane.mutate(api.service.notifications.complete, end))).toBe("lease_lost")
      } else {
        await plane.mutate(api.service.notifications.complete, end)
        expect(await plane.row(row._id)).toMatchObject({ state: "delivered", outcome: "skipped" })
      }
      if (what === "account") return
      await plane.post(taskId, "@qa please")
      expect((await plane.claim()).deliveries).toHaveLength(1)
    }
  )

  it("ends a delivery whose task is gone with its outcome and no message", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane, [plane.engineer])
    const delivery = first((await plane.claim()).deliveries)
    await plane.t.run((ctx) => ctx.db.delete("tasks", taskId as Id<"tasks">))
    const answer = await plane.mutate(api.service.notifications.complete, {
      ...fenceOf(delivery),
      outcome: "replied",
      reply: "hello?",
      maxHops: 12
    })
    expect(answer.messageId).toBeNull()
    expect((await plane.row(first(delivery.notificationIds))).state).toBe("delivered")
  })
})

describe("an error", () => {
  it("is a ConvexError whose message says what to do and repeats no argument", async () => {
    const plane = await seededPlane()
    const secret = "mc_service_x_secret"
    const failed = await plane.t
      .mutation(api.service.notifications.claim, {
        accountId: plane.accountId,
        serviceToken: secret,
        requestId: "r",
        runtimeId: "r1",
        bootId: "b1",
        limit: 1,
        leaseMs: 90_000,
        maxAttempts: 8,
        parkedAgents: []
      })
      .then(
        () => null,
        (error: unknown) => error
      )
    expect(failed).toBeInstanceOf(ConvexError)
    expect(String(failed)).not.toContain(secret)
  })
})
