import { describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { fallbackMessage } from "../../convex/model/runs/fallbackMessage.ts"
import { hour, pass, stopTime } from "./clock.ts"
import {
  type Plane,
  codeOf,
  complete,
  contextOf,
  fail,
  fenceOf,
  finish,
  type Leased,
  makeTask,
  release,
  seededPlane,
  silence,
  settings,
  spent
} from "./controlPlane.ts"

stopTime()

/** A task whose assignment the engineer's session has leased. */
const assigned = async () => {
  const plane = await seededPlane()
  const taskId = await makeTask(plane, [plane.engineer], "Ship it")
  const run = await plane.takeOne()
  const status = async () => (await plane.query(api.service.tasks.get, { taskId })).task.status
  return { plane, taskId, run, id: run.id, status }
}

/** The same task with a leased status change, which requires no answer. */
const passive = async () => {
  const { plane, run, taskId } = await assigned()
  await complete(plane, run)
  await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "in_progress" })
  return { plane, taskId, run: await plane.takeOne() }
}

describe("completing a run", () => {
  it("stores reply, outcome and the task's progress in one transaction, and frees the session", async () => {
    const { plane, taskId, run, id, status } = await assigned()
    const end = { outcome: "replied", reply: "On it.", traceId: "t1", truncated: true }
    const { messageId } = await complete(plane, run, end)
    expect(await plane.thread(taskId)).toMatchObject([
      { id: messageId, content: "On it.", kind: "reply", answersType: "assignment", author: { slug: "engineer" } }
    ])
    expect(await plane.row(id)).toMatchObject({ state: "delivered", outcome: "replied", traceId: "t1" })
    expect(await status()).toBe("in_progress")
    const sessions = await plane.t.run((ctx) => ctx.db.query("sessions").collect())
    expect(sessions.filter(({ lease }) => lease !== undefined)).toEqual([])
  })

  it("gives a repeated call the first answer and writes nothing more", async () => {
    const { plane, taskId, run } = await assigned()
    const end = { outcome: "replied", reply: "Once." }
    const answer = await complete(plane, run, end)
    expect(await complete(plane, run, end)).toEqual(answer)
    expect(await plane.thread(taskId)).toHaveLength(1)
    expect(await codeOf(fail(plane, run))).toBe("lease_lost")
  })

  it("gives a repeated call the first answer however many runs of the session have ended since", async () => {
    const { plane, taskId, run } = await assigned()
    const end = { outcome: "replied", reply: "Once." }
    const answer = await complete(plane, run, end)
    for (let count = 0; count < 7; count += 1) {
      await plane.post(taskId, `@engineer again ${count}`)
      for (const each of (await plane.take()).runs) await complete(plane, each)
    }
    expect(await complete(plane, run, end)).toEqual(answer)
    expect(await plane.thread(taskId)).toHaveLength(8)
  })

  it.each([
    [{ outcome: "acted", note: "Moved the task." }, "note", "in_progress"],
    [{ outcome: "skipped", reason: "nothing to add" }, null, "assigned"],
    [{ outcome: "fallback" }, "fallback", "assigned"],
    [{ outcome: "stopped", note: "Stopped at the limit." }, "note", "assigned"]
  ] as const)("%j posts %s and leaves the task %s", async (end, kind, after) => {
    const { plane, taskId, run, id, status } = await assigned()
    await complete(plane, run, end)
    expect((await plane.thread(taskId)).map((message) => message.kind)).toEqual(kind === null ? [] : [kind])
    expect(await status()).toBe(after)
    expect((await plane.row(id)).outcome).toBe(end.outcome)
  })

  it("stores with the reply which model wrote it", async () => {
    const { plane, run } = await assigned()
    const usage = { ...spent(1), model: "openai/gpt-5" }
    await complete(plane, run, { outcome: "replied", reply: "On it.", usage })
    const [message] = await plane.t.run((ctx) => ctx.db.query("messages").collect())
    expect(message).toMatchObject({ kind: "reply", model: "openai/gpt-5" })
  })

  it("names a run that ended as stopped to the session's next turn, whose history may contain its text", async () => {
    const { plane, taskId, run } = await assigned()
    await complete(plane, run, { outcome: "stopped", turn: "failed", note: "Stopped in OpenClaw." })
    await plane.post(taskId, "@engineer something else")
    expect(contextOf(await plane.takeOne()).stoppedRuns).toEqual([run.id])
  })

  it("does not move a task for an assignee that may not change statuses", async () => {
    const { plane, run, status } = await assigned()
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, flags: { canModifyTaskStatus: false } })
    await complete(plane, run, { outcome: "replied", reply: "On it." })
    expect(await status()).toBe("assigned")
  })

  it("does not move a task that is no longer assigned, or whose assignee did not answer", async () => {
    const { plane, taskId, run, status } = await assigned()
    await plane.post(taskId, "@qa please look")
    await complete(plane, await plane.takeOne(), { outcome: "replied", reply: "Looked." })
    expect(await status()).toBe("assigned")
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "blocked", blockedReason: "waits" })
    await complete(plane, run, { outcome: "replied", reply: "Hm." })
    expect(await status()).toBe("blocked")
  })

  it("refuses a reply without text, and keeps the lease", async () => {
    const { plane, run, id } = await assigned()
    expect(await codeOf(complete(plane, run, { outcome: "replied", reply: "  " }))).toBe("invalid")
    expect((await plane.row(id)).state).toBe("claimed")
    await complete(plane, run, { outcome: "replied", reply: "Better." })
  })

  const documentsOf = async (plane: Plane, taskId: string) => {
    const list = await plane.seen(api.app.documents.list, { taskId })
    return await Promise.all(list.map(({ id }) => plane.seen(api.app.documents.get, { documentId: id })))
  }

  it("stores a reply of more than 100,000 characters as a document that the thread names, with its mentions", async () => {
    const { plane, taskId, run } = await assigned()
    const reply = `${"😀".repeat(60_000)} @qa please look`
    await complete(plane, run, { outcome: "replied", reply })
    const [message] = await plane.thread(taskId)
    const documents = await documentsOf(plane, taskId)
    expect(documents).toHaveLength(1)
    expect(documents[0]).toMatchObject({ content: reply, taskId, type: "note", author: message?.author })
    expect(message?.content).toContain(documents[0]?.id ?? "no document")
    expect(message?.content.length).toBeLessThan(200)
    expect((await plane.take()).runs.map((each) => contextOf(each).agent.slug)).toContain("qa")
  })

  it("cuts a reply that is too long for a document, never in the middle of a character", async () => {
    const { plane, taskId, run } = await assigned()
    await complete(plane, run, { outcome: "replied", reply: `x${"😀".repeat(110_000)}` })
    const [document] = await documentsOf(plane, taskId)
    expect(document?.content.length).toBeLessThanOrEqual(200_000)
    expect(document?.content).toContain("[cut:")
    expect(document?.content.isWellFormed()).toBe(true)
  })
})

describe("failing a run", () => {
  it("stores the error and retries at the given time", async () => {
    const { plane, run, id } = await assigned()
    const nextAttemptAt = Date.now() + 5_000
    expect((await fail(plane, run, { nextAttemptAt, error: "x".repeat(900) })).state).toBe("ready")
    const row = await plane.row(id)
    expect(row).toMatchObject({ state: "ready", at: nextAttemptAt, failures: 1, error: { class: "TurnTimeout" } })
    expect(row.error?.message).toHaveLength(500)
    expect((await plane.take()).runs).toEqual([])
    vi.setSystemTime(nextAttemptAt)
    const again = await plane.takeOne()
    expect(again).toMatchObject({ id, attempt: 2, failures: 1, readyAt: nextAttemptAt })
    expect(contextOf(again).earlier).toMatchObject({ attempts: 1, lastError: { class: "TurnTimeout" } })
  })

  it("without a next attempt makes one dead letter, and posts the fallback if an answer was owed", async () => {
    const { plane, taskId, run, id } = await assigned()
    const answer = await fail(plane, run)
    expect(answer.state).toBe("dead")
    expect(await fail(plane, run)).toEqual(answer)
    expect(await plane.thread(taskId)).toMatchObject([
      { kind: "fallback", content: fallbackMessage("Engineer", "assignment", { class: "TurnTimeout", message: "" }) }
    ])
    expect(await plane.query(api.service.notifications.deadLetters, {})).toMatchObject([
      { id, agentSlug: "engineer", hasFallback: true, error: { class: "TurnTimeout" } }
    ])
  })

  it("gives the reason in the fallback after a day of shared failures or at the silence limit", async () => {
    const dead = await assigned()
    const day = { class: "ProviderFailed", error: "429", nextAttemptAt: Date.now(), sharedLimitMs: -1 }
    expect((await release(dead.plane, dead.run, day)).state).toBe("dead")
    expect((await dead.plane.thread(dead.taskId))[0]?.content).toContain("provider has failed for a day")
    const silent = await assigned()
    await silence(silent.plane, silent.run, { class: "TurnAmbiguous", silenceLimit: 1 })
    expect((await silent.plane.thread(silent.taskId))[0]?.content).toContain("internal error")
  })

  it("posts no fallback if no answer was owed", async () => {
    const { plane, run, taskId } = await passive()
    expect((await fail(plane, run)).state).toBe("dead")
    expect(await plane.thread(taskId)).toEqual([])
  })

  it("posts one fallback at the silence limit, which counts all attempts of all boots", async () => {
    const { plane, taskId, run, id } = await assigned()
    expect((await silence(plane, run)).state).toBe("ready")
    await plane.pulse("r1", "b2")
    const claim = () => plane.takeOne({ bootId: "b2" })
    expect((await silence(plane, await claim())).state).toBe("ready")
    const last = await claim()
    expect(last.silences).toBe(2)
    const answer = await silence(plane, last)
    expect(answer.state).toBe("delivered")
    expect(await silence(plane, last)).toEqual(answer)
    expect(await plane.row(id)).toMatchObject({ state: "delivered", outcome: "fallback", hasFallback: true })
    expect(await plane.thread(taskId)).toMatchObject([{ kind: "fallback" }])
  })

  it("skips work that requires no answer at the silence limit, without a message", async () => {
    const { plane, run, taskId } = await passive()
    expect((await silence(plane, run, { silenceLimit: 1 })).state).toBe("delivered")
    expect((await plane.row(run.id)).outcome).toBe("skipped")
    expect(await plane.thread(taskId)).toEqual([])
  })

  it("runs the retry in the next generation on request, and keeps that generation only if the retry completes", async () => {
    const { plane, run } = await assigned()
    const generation = (each: typeof run) => [contextOf(each).generation, contextOf(each).sessionKey]
    const base = `agent:engineer:${plane.accountId}`.toLowerCase()
    await silence(plane, run, { rotate: true })
    const tried = await plane.takeOne()
    expect(generation(tried)).toEqual([2, `${base}:g2`])
    await silence(plane, tried)
    const back = await plane.takeOne()
    expect(generation(back)).toEqual([1, base])
    await fail(plane, back, { nextAttemptAt: Date.now(), rotate: true })
    await complete(plane, await plane.takeOne(), { outcome: "replied", reply: "Fresh." })
    const sessions = await plane.t.run((ctx) => ctx.db.query("sessions").collect())
    expect(sessions.find(({ _id }) => _id === run.session)?.generation).toBe(2)
  })
})

describe("releasing a run", () => {
  const failing = { class: "ProviderFailed", error: "429", sharedLimitMs: 24 * hour }

  it("makes it claimable at once, in its place, without counting the attempt", async () => {
    const { plane, run, id } = await assigned()
    const { at, readyAt } = await plane.row(id)
    pass(1_000)
    expect((await release(plane, run)).state).toBe("ready")
    expect(await plane.row(id)).toMatchObject({ state: "ready", at, readyAt, attempts: 0, claims: 1 })
    expect(await plane.takeOne()).toMatchObject({ id, attempt: 1, failures: 0 })
  })

  it("gives a repeated call the first answer", async () => {
    const { plane, run, id } = await assigned()
    const answer = await release(plane, run, { nextAttemptAt: Date.now() + 1_000, ...failing })
    expect(await release(plane, run, { nextAttemptAt: Date.now() + 1_000, ...failing })).toEqual(answer)
    expect(await plane.row(id)).toMatchObject({ failures: 1, attempts: 0 })
  })

  it("keeps the start of a series of shared failures, which the run's own failure ends", async () => {
    const { plane, run, id } = await assigned()
    const again = async () => release(plane, await plane.takeOne(), { nextAttemptAt: Date.now(), ...failing })
    const since = Date.now()
    await release(plane, run, { nextAttemptAt: Date.now(), ...failing })
    pass(1_000)
    await again()
    expect(await plane.row(id)).toMatchObject({ sharedSince: since, failures: 2, attempts: 0 })
    await fail(plane, await plane.takeOne(), { nextAttemptAt: Date.now() })
    expect((await plane.row(id)).sharedSince).toBeUndefined()
  })

  it("does not count time in which the gateway was unavailable: a failure without a limit ends the series", async () => {
    const { plane, run, id } = await assigned()
    const unavailable = { class: "GatewayUnreachable", error: "ECONNREFUSED" }
    const end = (each: Leased, more: object) => release(plane, each, { nextAttemptAt: Date.now(), ...more })
    const endNext = async (more: object) => end(await plane.takeOne(), more)
    await end(run, unavailable)
    expect((await plane.row(id)).sharedSince).toBeUndefined()
    pass(25 * hour)
    expect((await endNext(failing)).state).toBe("ready")
    const since = Date.now()
    pass(20 * hour)
    await endNext(failing)
    expect((await plane.row(id)).sharedSince).toBe(since)
    await endNext(unavailable)
    expect((await plane.row(id)).sharedSince).toBeUndefined()
    pass(20 * hour)
    expect((await endNext(failing)).state).toBe("ready")
    pass(25 * hour)
    expect((await endNext(failing)).state).toBe("dead")
  })

  it("makes a dead letter after only shared failures for longer than the limit", async () => {
    const { plane, taskId, run } = await assigned()
    const shared = { class: "ProviderFailed", sharedLimitMs: 60_000 }
    expect((await release(plane, run, { nextAttemptAt: Date.now(), ...shared })).state).toBe("ready")
    pass(60_001)
    const last = await plane.takeOne()
    const end = { nextAttemptAt: Date.now(), ...shared }
    expect((await release(plane, last, end)).state).toBe("dead")
    expect((await release(plane, last, end)).state).toBe("dead")
    expect(await plane.thread(taskId)).toMatchObject([{ kind: "fallback" }])
  })
})

describe("a dead letter", () => {
  it("is retried with a new budget, behind ready work, and its fallback is not posted twice", async () => {
    const { plane, taskId, run, id } = await assigned()
    await fail(plane, run)
    pass(1_000)
    await plane.mutate(api.service.notifications.retryDeadLetter, { id })
    expect(await plane.row(id)).toMatchObject({ state: "ready", at: Date.now(), readyAt: Date.now() })
    const again = await plane.takeOne()
    expect(again).toMatchObject({ id, attempt: 1, failures: 0 })
    await fail(plane, again)
    expect((await plane.thread(taskId)).filter((message) => message.kind === "fallback")).toHaveLength(1)
    await plane.mutate(api.service.notifications.retryDeadLetter, { id })
    await complete(plane, await plane.takeOne(), { outcome: "replied", reply: "At last." })
    expect((await plane.row(id)).state).toBe("delivered")
  })

  it("is discarded with a reason, once", async () => {
    const { plane, run, id } = await assigned()
    await fail(plane, run)
    await plane.mutate(api.service.notifications.discardDeadLetter, { id, reason: "obsolete" })
    expect(await plane.row(id)).toMatchObject({ state: "discarded", outcomeReason: "obsolete" })
    expect(await plane.query(api.service.notifications.deadLetters, {})).toEqual([])
    expect(await codeOf(plane.mutate(api.service.notifications.discardDeadLetter, { id }))).toBe("conflict")
    expect(await codeOf(plane.mutate(api.service.notifications.retryDeadLetter, { id }))).toBe("conflict")
    expect(await codeOf(plane.mutate(api.service.notifications.retryDeadLetter, { id: "nonsense" }))).toBe("not_found")
  })
})

describe("a person's decision about a dead letter", () => {
  it("is recorded in the person's name", async () => {
    const { plane, run, id } = await assigned()
    await fail(plane, run)
    expect(await plane.seen(api.app.notifications.deadLetters, {})).toMatchObject([{ id, agentSlug: "engineer" }])
    await plane.asPerson(api.app.notifications.retry, { id })
    const decision = async () => (await plane.notifications()).find((each) => each.id === id)?.decision
    expect(await decision()).toMatchObject({ kind: "retried", by: { type: "person", name: "Ana" }, at: Date.now() })
    await fail(plane, await plane.takeOne())
    await plane.asPerson(api.app.notifications.discard, { id, reason: "answered by hand" })
    expect(await plane.row(id)).toMatchObject({ state: "discarded", outcomeReason: "answered by hand" })
    expect(await decision()).toMatchObject({ kind: "discarded", by: { type: "person", name: "Ana" } })
    expect((await plane.seen(api.app.runs.get, { run: id })).decision).toMatchObject({ byName: "Ana" })
    const activities = await plane.seen(api.app.activities.list, { limit: 20 })
    const decisions = activities.filter(({ type }) => /retried|discarded/.test(type))
    expect(decisions.map(({ actor, type }) => [type, actor.type])).toEqual([
      ["dead_letter_discarded", "person"],
      ["dead_letter_retried", "person"]
    ])
    expect(await codeOf(plane.asPerson(api.app.notifications.retry, { id }))).toBe("conflict")
  })
})

describe("the fence", () => {
  const everyWrite = ({ plane, run, taskId }: Awaited<ReturnType<typeof assigned>>, changed: object = {}) => {
    const fence = { ...fenceOf(run), settings, ...changed }
    const { service } = api
    return [
      () => complete(plane, run, { outcome: "replied", reply: "late", ...changed }),
      () => fail(plane, run, changed),
      () => release(plane, run, changed),
      () => finish(plane, run, changed),
      () => plane.mutate(service.tasks.setStatus, { ...fence, taskId, status: "in_progress" }),
      () => plane.mutate(service.tasks.update, { ...fence, taskId, title: "late" }),
      () => plane.mutate(service.tasks.create, { ...fence, title: "late" }),
      () => plane.mutate(service.tasks.assign, { ...fence, taskId, assigneeSlugs: ["qa"] }),
      () => plane.mutate(service.tasks.remove, { ...fence, taskId, reason: "late" }),
      () => plane.mutate(service.tasks.linkPullRequest, { ...fence, taskId, prNumber: 1 }),
      () => plane.mutate(service.documents.upsert, { ...fence, title: "late", content: "", type: "note" }),
      () => plane.mutate(service.messages.post, { ...fence, taskId, content: "late" }),
      () => plane.mutate(service.responseRequests.create, { ...fence, recipientSlugs: ["qa"], message: "late" })
    ]
  }
  const everything = ({ plane }: Awaited<ReturnType<typeof assigned>>) =>
    plane.t.run(async (ctx) => [
      await ctx.db.query("activities").collect(),
      await ctx.db.query("messages").collect(),
      await ctx.db.query("sessions").collect(),
      await ctx.db.query("notifications").collect()
    ])

  it("refuses every write of a run whose session was taken over, before anything is written", async () => {
    const scene = await assigned()
    await scene.plane.pulse("r1", "b2")
    const before = await everything(scene)
    for (const call of everyWrite(scene)) expect(await codeOf(call())).toBe("lease_lost")
    expect(await everything(scene)).toEqual(before)
  })

  it("refuses every write under an earlier epoch of the same lease", async () => {
    const scene = await assigned()
    await scene.plane.claim()
    const before = await everything(scene)
    for (const call of everyWrite(scene)) expect(await codeOf(call())).toBe("lease_lost")
    expect(await everything(scene)).toEqual(before)
  })

  it("refuses every write for a run other than the leased one", async () => {
    const scene = await assigned()
    const taskId = await makeTask(scene.plane, [scene.plane.qa])
    const { id } = await scene.plane.takeOne()
    expect((await scene.plane.row(id)).taskId).toBe(taskId)
    const before = await everything(scene)
    for (const call of everyWrite(scene, { run: id })) expect(await codeOf(call())).toBe("lease_lost")
    expect(await everything(scene)).toEqual(before)
  })

  it("refuses sessions of other accounts and unknown sessions", async () => {
    const { plane, run } = await assigned()
    const other = await plane.secondAccount()
    const end = { outcome: "skipped" as const, turn: "none" as const, settings }
    const otherAccount = plane.t.mutation(api.service.notifications.complete, { ...other, ...fenceOf(run), ...end })
    expect(await codeOf(otherAccount)).toBe("lease_lost")
    expect(await codeOf(complete(plane, { ...run, session: "nonsense" }))).toBe("lease_lost")
    expect(await codeOf(complete(plane, { ...run, epoch: Number.NaN }))).toBe("lease_lost")
  })
})
