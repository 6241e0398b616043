import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { fallbackMessage } from "../../convex/model/fallbackMessage.ts"
import { codeOf, fenceOf, first, type Plane, seededPlane } from "./controlPlane.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

type Delivery = { readonly session: string; readonly epoch: number; readonly notificationIds: ReadonlyArray<string> }

/** A task whose assignment the engineer's session holds. */
const assigned = async () => {
  const plane = await seededPlane()
  const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "Ship it", assigneeIds: [plane.engineer] })
  const delivery = first((await plane.claim()).deliveries)
  const id = first(delivery.notificationIds)
  const status = async () => (await plane.query(api.service.tasks.get, { taskId })).task.status
  return { plane, taskId, delivery, id, status }
}

const complete = (plane: Plane, delivery: Delivery, more: object = {}) =>
  plane.mutate(api.service.notifications.complete, { ...fenceOf(delivery), outcome: "skipped", maxHops: 12, ...more })

const fail = (plane: Plane, delivery: Delivery, more: object = {}) =>
  plane.mutate(api.service.notifications.fail, {
    ...fenceOf(delivery),
    class: "TurnTimeout",
    error: "took too long",
    silence: false,
    silenceLimit: 3,
    maxHops: 12,
    ...more
  })

const silence = (plane: Plane, delivery: Delivery, more: object = {}) =>
  fail(plane, delivery, { class: "TurnSilent", error: "", silence: true, nextAttemptAt: Date.now(), ...more })

describe("completing a delivery", () => {
  it("writes reply, outcome, usage and the task's progress at once, and frees the session", async () => {
    const { plane, taskId, delivery, id, status } = await assigned()
    const usage = { inputTokens: 10, outputTokens: 2, totalTokens: 12 }
    const { messageId } = await complete(plane, delivery, {
      outcome: "replied",
      reply: "On it.",
      usage,
      traceId: "t1",
      truncated: true
    })
    expect(await plane.thread(taskId)).toMatchObject([
      { id: messageId, content: "On it.", kind: "reply", answersType: "assignment", author: { slug: "engineer" } }
    ])
    expect(await plane.row(id)).toMatchObject({ state: "delivered", outcome: "replied", usage, traceId: "t1" })
    expect(await status()).toBe("in_progress")
    const session = await plane.t.run((ctx) => ctx.db.query("sessions").first())
    expect(session).toMatchObject({ isLeased: false })
    expect(session?.lease).toBeUndefined()
  })

  it("answers a repeated call as the first time and writes nothing more", async () => {
    const { plane, taskId, delivery } = await assigned()
    const end = { outcome: "replied", reply: "Once." }
    const answer = await complete(plane, delivery, end)
    expect(await complete(plane, delivery, end)).toEqual(answer)
    expect(await plane.thread(taskId)).toHaveLength(1)
    expect(await codeOf(fail(plane, delivery))).toBe("lease_lost")
  })

  it("answers for the last five leases of a session, not only the last", async () => {
    const { plane, taskId, delivery } = await assigned()
    const answer = await complete(plane, delivery, { outcome: "replied", reply: "Once." })
    for (let count = 0; count < 4; count += 1) {
      await plane.post(taskId, `again ${count}`)
      await complete(plane, first((await plane.claim()).deliveries))
    }
    expect(await complete(plane, delivery, { outcome: "replied", reply: "Once." })).toEqual(answer)
    await plane.post(taskId, "one too many")
    await complete(plane, first((await plane.claim()).deliveries))
    expect(await codeOf(complete(plane, delivery))).toBe("lease_lost")
  })

  it.each([
    [{ outcome: "acted", note: "Moved the task." }, "note", "in_progress"],
    [{ outcome: "skipped", reason: "nothing to add" }, null, "assigned"],
    [{ outcome: "fallback" }, "fallback", "assigned"]
  ] as const)("%j posts %s and leaves the task %s", async (end, kind, after) => {
    const { plane, taskId, delivery, id, status } = await assigned()
    await complete(plane, delivery, end)
    expect((await plane.thread(taskId)).map((message) => message.kind)).toEqual(kind === null ? [] : [kind])
    expect(await status()).toBe(after)
    expect((await plane.row(id)).outcome).toBe(end.outcome)
  })

  it("does not move a task that is no longer assigned, or whose assignee did not answer", async () => {
    const { plane, taskId, delivery, status } = await assigned()
    await plane.post(taskId, "@qa please look")
    const qas = first((await plane.claim()).deliveries)
    await complete(plane, qas, { outcome: "replied", reply: "Looked." })
    expect(await status()).toBe("assigned")
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "blocked", blockedReason: "waits" })
    await complete(plane, delivery, { outcome: "replied", reply: "Hm." })
    expect(await status()).toBe("blocked")
  })

  it("refuses a reply without text, and leaves the lease as it was", async () => {
    const { plane, delivery, id } = await assigned()
    expect(await codeOf(complete(plane, delivery, { outcome: "replied", reply: "  " }))).toBe("invalid")
    expect((await plane.row(id)).state).toBe("claimed")
    await complete(plane, delivery, { outcome: "replied", reply: "Better." })
  })

  it("cuts a reply beyond 100,000 characters, never in the middle of a character", async () => {
    const { plane, taskId, delivery } = await assigned()
    await complete(plane, delivery, { outcome: "replied", reply: "😀".repeat(60_000) })
    const { content } = first(await plane.thread(taskId))
    expect(content.length).toBeLessThanOrEqual(100_000)
    expect(content).toContain("[cut:")
    expect(content.isWellFormed()).toBe(true)
  })

  it("skips the rows the policy refused, each with its reason, and gives the outcome to one of the rest", async () => {
    const { plane, taskId, delivery } = await assigned()
    await complete(plane, delivery)
    for (const content of ["one", "two", "three"]) {
      await plane.post(taskId, content)
      vi.setSystemTime(Date.now() + 1)
    }
    const fold = first((await plane.claim()).deliveries)
    const [kept = "", ...others] = fold.notificationIds
    const refused = [{ id: kept, reason: "the task is done" }]
    await complete(plane, fold, { outcome: "replied", reply: "Two of three.", refused })
    expect(await plane.row(kept)).toMatchObject({ outcome: "skipped", outcomeReason: "the task is done" })
    const outcomes = await Promise.all(others.map(async (id) => (await plane.row(id)).outcome))
    expect(outcomes.toSorted()).toEqual(["coalesced", "replied"])
  })

  it("ends what was folded as coalesced only now, and leaves nothing behind", async () => {
    const { plane, taskId, delivery } = await assigned()
    await complete(plane, delivery)
    await plane.post(taskId, "one")
    await plane.post(taskId, "two")
    const fold = first((await plane.claim()).deliveries)
    await complete(plane, fold, { outcome: "replied", reply: "Both." })
    const rows = await Promise.all(fold.notificationIds.map(plane.row))
    expect(rows.map((row) => [row.state, row.outcome])).toEqual([
      ["delivered", "replied"],
      ["delivered", "coalesced"]
    ])
    expect((await plane.claim()).deliveries).toEqual([])
  })
})

describe("failing a delivery", () => {
  it("waits with the error and the time given, and tries again when that has come", async () => {
    const { plane, delivery, id } = await assigned()
    const nextAttemptAt = Date.now() + 5_000
    expect((await fail(plane, delivery, { nextAttemptAt, error: "x".repeat(900) })).state).toBe("waiting")
    const row = await plane.row(id)
    expect(row).toMatchObject({ state: "waiting", nextAttemptAt, failures: 1, error: { class: "TurnTimeout" } })
    expect(row.error?.message).toHaveLength(500)
    expect((await plane.claim()).deliveries).toEqual([])
    vi.setSystemTime(nextAttemptAt)
    const again = first((await plane.claim()).deliveries)
    expect(again).toMatchObject({ attempt: 2, failures: 1 })
    const [answer] = await plane.query(api.service.notifications.context, { ids: [id] })
    expect(answer).toMatchObject({ context: { earlier: { attempts: 1, lastError: { class: "TurnTimeout" } } } })
  })

  it("without a next attempt ends as one dead letter, and posts the fallback when an answer was owed", async () => {
    const { plane, taskId, delivery, id } = await assigned()
    const answer = await fail(plane, delivery)
    expect(answer.state).toBe("dead")
    expect(await fail(plane, delivery)).toEqual(answer)
    expect(await plane.thread(taskId)).toMatchObject([
      { kind: "fallback", content: fallbackMessage("Engineer", "assignment") }
    ])
    expect(await plane.query(api.service.notifications.deadLetters, {})).toMatchObject([
      { id, agentSlug: "engineer", hasFallback: true, error: { class: "TurnTimeout" } }
    ])
  })

  it("posts no fallback for a passive row", async () => {
    const { plane, taskId, delivery } = await assigned()
    await complete(plane, delivery)
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "in_progress" })
    await fail(plane, first((await plane.claim()).deliveries))
    expect(await plane.thread(taskId)).toEqual([])
  })

  it("posts one fallback at the silence limit, counted in Convex over all attempts", async () => {
    const { plane, taskId, delivery, id } = await assigned()
    expect((await silence(plane, delivery)).state).toBe("waiting")
    await plane.pulse("r1", "b2")
    const claim = async () => first((await plane.claim({ bootId: "b2" })).deliveries)
    expect((await silence(plane, await claim())).state).toBe("waiting")
    const last = await claim()
    expect(last.silences).toBe(2)
    expect((await silence(plane, last)).state).toBe("delivered")
    expect(await plane.row(id)).toMatchObject({ state: "delivered", outcome: "fallback", hasFallback: true })
    expect(await plane.thread(taskId)).toMatchObject([{ kind: "fallback" }])
  })

  it("at the silence limit ends what the policy refused of the fold as skipped, not as coalesced", async () => {
    const { plane, taskId, delivery } = await assigned()
    await complete(plane, delivery)
    for (const content of ["one", "two", "three"]) {
      await plane.post(taskId, content)
      vi.setSystemTime(Date.now() + 1)
    }
    const fold = first((await plane.claim()).deliveries)
    const [kept = "", second = "", third = ""] = fold.notificationIds
    const refused = [{ id: second, reason: "not for this agent" }]
    expect((await silence(plane, fold, { silenceLimit: 1, refused })).state).toBe("delivered")
    expect(await plane.row(kept)).toMatchObject({ outcome: "fallback", outcomeReason: "no response" })
    expect(await plane.row(second)).toMatchObject({ outcome: "skipped", outcomeReason: "not for this agent" })
    expect(await plane.row(third)).toMatchObject({ outcome: "coalesced" })
  })

  it("skips a passive row at its limit without a word", async () => {
    const { plane, taskId, delivery } = await assigned()
    await complete(plane, delivery)
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "in_progress" })
    const passive = first((await plane.claim()).deliveries)
    expect((await silence(plane, passive, { silenceLimit: 1 })).state).toBe("delivered")
    expect((await plane.row(first(passive.notificationIds))).outcome).toBe("skipped")
    expect(await plane.thread(taskId)).toEqual([])
  })

  it("runs the next try in the next generation when told so, and keeps that only if the try completes", async () => {
    const { plane, delivery } = await assigned()
    const generation = async (id: string) => {
      const [answer] = await plane.query(api.service.notifications.context, { ids: [id] })
      return answer !== undefined && "context" in answer ? [answer.context.generation, answer.context.sessionKey] : null
    }
    const base = `agent:engineer:${plane.accountId}`.toLowerCase()
    const id = first(delivery.notificationIds)
    await silence(plane, delivery, { rotate: true })
    const tried = first((await plane.claim()).deliveries)
    expect(await generation(id)).toEqual([2, `${base}:g2`])
    await silence(plane, tried)
    const back = first((await plane.claim()).deliveries)
    expect(await generation(id)).toEqual([1, base])
    await fail(plane, back, { nextAttemptAt: Date.now(), rotate: true })
    await complete(plane, first((await plane.claim()).deliveries), { outcome: "replied", reply: "Fresh." })
    const session = await plane.t.run((ctx) => ctx.db.query("sessions").first())
    expect(session?.generation).toBe(2)
  })
})

describe("releasing a delivery", () => {
  it("keeps the first of a row of shared failures, which an own failure ends", async () => {
    const { plane, delivery, id } = await assigned()
    const release = (each: Delivery) =>
      plane.mutate(api.service.notifications.release, {
        ...fenceOf(each),
        nextAttemptAt: Date.now(),
        class: "ProviderFailed",
        error: "529",
        sharedLimitMs: 86_400_000
      })
    const since = Date.now()
    await release(delivery)
    vi.setSystemTime(since + 1_000)
    await release(first((await plane.claim()).deliveries))
    expect(await plane.row(id)).toMatchObject({ sharedSince: since, failures: 2, attempts: 0 })
    await fail(plane, first((await plane.claim()).deliveries), { nextAttemptAt: Date.now() })
    expect((await plane.row(id)).sharedSince).toBeUndefined()
  })

  it("counts no time in which the gateway was merely away: a failure without a limit ends the count", async () => {
    const { plane, delivery, id } = await assigned()
    const release = (each: Delivery, more: object) =>
      plane.mutate(api.service.notifications.release, { ...fenceOf(each), nextAttemptAt: Date.now(), ...more })
    const away = { class: "GatewayUnreachable", error: "ECONNREFUSED" }
    const failing = { class: "ProviderFailed", error: "429", sharedLimitMs: 86_400_000 }
    const again = async () => first((await plane.claim()).deliveries)
    await release(delivery, away)
    expect((await plane.row(id)).sharedSince).toBeUndefined()
    vi.setSystemTime(Date.now() + 25 * 3_600_000)
    expect((await release(await again(), failing)).state).toBe("waiting")
    const since = Date.now()
    vi.setSystemTime(since + 20 * 3_600_000)
    await release(await again(), failing)
    expect((await plane.row(id)).sharedSince).toBe(since)
    await release(await again(), away)
    expect((await plane.row(id)).sharedSince).toBeUndefined()
    vi.setSystemTime(since + 40 * 3_600_000)
    expect((await release(await again(), failing)).state).toBe("waiting")
    vi.setSystemTime(since + 65 * 3_600_000)
    expect((await release(await again(), failing)).state).toBe("dead")
  })

  it("ends the row dead when nothing but shared failures happened for longer than the limit", async () => {
    const { plane, taskId, delivery } = await assigned()
    const release = (each: Delivery) =>
      plane.mutate(api.service.notifications.release, {
        ...fenceOf(each),
        nextAttemptAt: Date.now(),
        class: "ProviderFailed",
        sharedLimitMs: 60_000
      })
    expect((await release(delivery)).state).toBe("waiting")
    vi.setSystemTime(Date.now() + 60_001)
    const last = first((await plane.claim()).deliveries)
    const answer = await release(last)
    expect(answer.state).toBe("dead")
    expect((await release(last)).state).toBe("dead")
    expect(await plane.thread(taskId)).toMatchObject([{ kind: "fallback" }])
  })
})

describe("a dead letter", () => {
  it("is tried again with a new budget and its fold, and its fallback is not posted twice", async () => {
    const { plane, taskId, delivery } = await assigned()
    await complete(plane, delivery)
    await plane.post(taskId, "one")
    await plane.post(taskId, "two")
    const fold = first((await plane.claim()).deliveries)
    const id = first(fold.notificationIds)
    await fail(plane, fold)
    expect(await plane.query(api.service.notifications.deadLetters, {})).toMatchObject([{ id, folded: 1 }])
    await plane.mutate(api.service.notifications.retryDeadLetter, { id })
    const again = first((await plane.claim()).deliveries)
    expect(again).toMatchObject({ notificationIds: fold.notificationIds, attempt: 1, failures: 0 })
    await fail(plane, again)
    expect((await plane.thread(taskId)).filter((message) => message.kind === "fallback")).toHaveLength(1)
    await plane.mutate(api.service.notifications.retryDeadLetter, { id })
    await complete(plane, first((await plane.claim()).deliveries), { outcome: "replied", reply: "At last." })
    const states = await Promise.all(fold.notificationIds.map(async (each) => (await plane.row(each)).state))
    expect(states).toEqual(["delivered", "delivered"])
  })

  it("is discarded with its fold and a reason, once", async () => {
    const { plane, delivery, id } = await assigned()
    await fail(plane, delivery)
    await plane.mutate(api.service.notifications.discardDeadLetter, { id, reason: "obsolete" })
    expect(await plane.row(id)).toMatchObject({ state: "discarded", outcomeReason: "obsolete" })
    expect(await plane.query(api.service.notifications.deadLetters, {})).toEqual([])
    expect(await codeOf(plane.mutate(api.service.notifications.discardDeadLetter, { id }))).toBe("conflict")
    expect(await codeOf(plane.mutate(api.service.notifications.retryDeadLetter, { id }))).toBe("conflict")
    expect(await codeOf(plane.mutate(api.service.notifications.retryDeadLetter, { id: "nonsense" }))).toBe("not_found")
  })
})

describe("the fence", () => {
  it("refuses every write of a run whose session was taken over, before anything is written", async () => {
    const { plane, taskId, delivery } = await assigned()
    await plane.pulse("r1", "b2")
    const fence = { ...fenceOf(delivery), maxHops: 12 }
    const { service } = api
    const calls = [
      () => complete(plane, delivery, { outcome: "replied", reply: "late" }),
      () => fail(plane, delivery),
      () => plane.mutate(service.notifications.release, fenceOf(delivery)),
      () => plane.mutate(service.tasks.setStatus, { ...fence, taskId, status: "in_progress" }),
      () => plane.mutate(service.tasks.update, { ...fence, taskId, title: "late" }),
      () => plane.mutate(service.tasks.create, { ...fence, title: "late" }),
      () => plane.mutate(service.tasks.assign, { ...fence, taskId, assigneeSlugs: ["qa"] }),
      () => plane.mutate(service.tasks.remove, { ...fence, taskId, reason: "late" }),
      () => plane.mutate(service.tasks.linkPullRequest, { ...fence, taskId, prNumber: 1 }),
      () => plane.mutate(service.documents.upsert, { ...fence, title: "late", content: "", type: "note" }),
      () => plane.mutate(service.messages.post, { ...fence, taskId, content: "late" }),
      () => plane.mutate(service.responseRequests.create, { ...fence, recipientSlugs: ["qa"], message: "late" }),
      () => plane.mutate(service.agents.updateAgentHeartbeat, { ...fence, status: "ok" })
    ]
    const before = await plane.t.run(async (ctx) => [
      await ctx.db.query("activities").collect(),
      await ctx.db.query("messages").collect(),
      await ctx.db.query("notifications").collect()
    ])
    for (const call of calls) expect(await codeOf(call())).toBe("lease_lost")
    const after = await plane.t.run(async (ctx) => [
      await ctx.db.query("activities").collect(),
      await ctx.db.query("messages").collect(),
      await ctx.db.query("notifications").collect()
    ])
    expect(after).toEqual(before)
  })

  it("knows no session of another account, and none that is no session", async () => {
    const { plane, delivery } = await assigned()
    const other = await plane.secondAccount()
    const theirs = plane.t.mutation(api.service.notifications.complete, {
      ...other,
      ...fenceOf(delivery),
      outcome: "skipped",
      maxHops: 12
    })
    expect(await codeOf(theirs)).toBe("lease_lost")
    expect(await codeOf(complete(plane, { ...delivery, session: "nonsense" }))).toBe("lease_lost")
    expect(await codeOf(complete(plane, { ...delivery, epoch: Number.NaN }))).toBe("lease_lost")
  })
})
