import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { pass, stopTime } from "./clock.ts"
import {
  codeOf,
  complete,
  contextOf,
  fail,
  fenceOf,
  first,
  leaseOf,
  makeTask,
  only,
  type Leased,
  type Plane,
  refusalOf,
  release,
  runningTurn,
  seededPlane,
  settings,
  silence
} from "./controlPlane.ts"

stopTime()
const { app, service } = api

/** The engineer's turn on a task, which has run for a second. */
const turn = async () => {
  const running = await runningTurn()
  pass(1_000)
  return running
}
/** Agents' updates wait. */
const quiet = { maxHops: 12, quietTimeMs: 60_000, quietLimitMs: 300_000 }
const join = (plane: Plane, run: Leased, known = 0) =>
  plane.mutate(service.notifications.join, { ...fenceOf(run), known, settings: quiet })
const news = async (plane: Plane) => (await plane.query(service.notifications.wake, {})).news
const wordsOf = ({ events }: Awaited<ReturnType<typeof join>>) => events.map(({ message }) => message?.content)
/** The engineer's notifications on the task, oldest first. */
const rowsOf = (plane: Plane, taskId: string) =>
  plane.t.run(async (ctx) => {
    const rows = await ctx.db.query("notifications").collect()
    return rows.filter((row) => row.agentId === plane.engineer && row.taskId === taskId)
  })
const answer = { outcome: "replied", reply: "Done." }

describe("a person's message for a running turn", () => {
  it("is durable at once, and announced by push and renewals until it has joined", async () => {
    const { plane, run, taskId } = await turn()
    expect(await news(plane)).toEqual([])
    const { messageId } = await plane.post(taskId, "One more thing.")
    expect(await rowsOf(plane, taskId)).toMatchObject([{ state: "claimed" }, { state: "ready", claims: 0 }])
    const listed = [{ ...leaseOf(run), message: messageId }]
    expect(await news(plane)).toEqual(listed)
    const renewal = { runtimeId: "r1", bootId: "b1", leaseMs: 90_000, leases: [leaseOf(run)] }
    expect((await plane.mutate(service.notifications.renew, renewal)).news).toEqual(listed)
    await join(plane, run)
    expect(await news(plane)).toEqual([])
  })

  it("is announced under its own id each time, so that each changes the push", async () => {
    const { plane, taskId } = await turn()
    await plane.post(taskId, "one")
    const { messageId } = await plane.post(taskId, "two")
    expect((await news(plane)).map(({ message }) => message)).toEqual([messageId])
  })

  it("moves into the running notification with the others, and leaves nothing waiting", async () => {
    const { plane, run, taskId } = await turn()
    await plane.post(taskId, "one")
    await plane.post(taskId, "@engineer two")
    const joined = await join(plane, run)
    expect(wordsOf(joined)).toEqual(["one", "@engineer two"])
    expect(joined.events.map(({ index, type }) => [index, type])).toEqual([
      [1, "thread_update"],
      [2, "mention"]
    ])
    const row = only(await rowsOf(plane, taskId))
    expect(row).toMatchObject({ _id: run.id, state: "claimed", type: "mention", hops: 0, isRequired: true })
    expect(row.events.map(({ joined: epoch }) => epoch)).toEqual([undefined, run.epoch, run.epoch])
  })

  it("is returned again to a repeated call, and not to one that knows it", async () => {
    const { plane, run, taskId } = await turn()
    await plane.post(taskId, "one")
    const joined = await join(plane, run)
    expect(await join(plane, run)).toEqual(joined)
    await plane.post(taskId, "two")
    expect(wordsOf(await join(plane, run, 1))).toEqual(["two"])
    expect(await join(plane, run, 2)).toEqual({ events: [] })
  })

  it("leaves the other events where they waited, with the place of their response requests", async () => {
    const { plane, run, taskId } = await turn()
    await plane.asPerson(app.tasks.create, { title: "Other", assigneeIds: [plane.qa] })
    const asker = only((await plane.take()).runs)
    await plane.post(taskId, "@engineer first")
    await plane.asPerson(app.tasks.assign, { taskId, assigneeIds: [plane.engineer, plane.qa] })
    const ask = { ...fenceOf(asker), settings, taskId, recipientSlugs: ["engineer"], message: "Ready?" }
    await plane.t.run(async (ctx) => {
      const row = await ctx.db.get("notifications", asker.id as Id<"notifications">)
      await ctx.db.patch("notifications", row!._id, { taskId: taskId as Id<"tasks"> })
    })
    await plane.mutate(service.responseRequests.create, ask)
    await plane.post(taskId, "last")
    expect(wordsOf(await join(plane, run))).toEqual(["@engineer first", "last"])
    const [, waiting] = await rowsOf(plane, taskId)
    expect(waiting).toMatchObject({ type: "response_request", hops: 1, isRequired: true })
    expect(waiting?.events.map(({ type }) => type)).toEqual(["response_request"])
    expect(waiting?.at).toBe(Date.now() - 60_000)
    const requests = await plane.t.run((ctx) => ctx.db.query("responseRequests").collect())
    expect(only(requests)).toMatchObject({ notificationId: waiting?._id, event: 0 })
  })

  it("lets agents' updates that are left wait for quiet as if the message had never been among them", async () => {
    const { plane, run, taskId } = await turn()
    await plane.asPerson(app.tasks.create, { title: "Other", assigneeIds: [plane.lead] })
    const lead = await plane.takeOf("lead")
    const said = { ...fenceOf(lead), settings: quiet, taskId, content: "the lead says" }
    await plane.mutate(service.messages.post, said)
    const since = Date.now()
    pass(20_000)
    await plane.post(taskId, "one")
    const [, mixed] = await rowsOf(plane, taskId)
    expect(mixed).toMatchObject({ readyAt: Date.now(), isRequired: true })
    await join(plane, run)
    const [, left] = await rowsOf(plane, taskId)
    const quietAt = since + quiet.quietTimeMs
    expect(left).toMatchObject({ at: quietAt, readyAt: quietAt, retryAt: quietAt, isRequired: false })
  })

  it("is not taken from other tasks, agents or notifications that were tried", async () => {
    const { plane, run, taskId } = await turn()
    const other = await makeTask(plane, [plane.engineer, plane.qa], "Other")
    await plane.post(other, "@engineer elsewhere")
    await plane.post(taskId, "@qa only you")
    expect(await news(plane)).toEqual([])
    expect(await join(plane, run)).toEqual({ events: [] })
    expect(await plane.notifications()).toHaveLength(4)
  })

  it("does not join a heartbeat, which reads the thread anyway", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane, [plane.engineer])
    await complete(plane, await plane.takeOne(), answer)
    pass(16 * 60_000)
    const { runs } = await plane.take({ heartbeatLimit: 8 })
    const heartbeat = first(runs.filter(({ id, kind }) => kind === "heartbeat" && id.startsWith(plane.engineer)))
    await plane.post(taskId, "hello")
    expect((await news(plane)).map(({ session }) => session)).not.toContain(heartbeat.session)
    expect(await codeOf(join(plane, heartbeat))).toBe("invalid")
  })

  it("waits for a separate turn if the notification is full", async () => {
    const { plane, run, taskId } = await turn()
    for (let count = 0; count < 3; count += 1) {
      for (let post = 0; post < 20; post += 1) await plane.post(taskId, `message ${count} ${post}`)
      await join(plane, run)
    }
    const rows = await rowsOf(plane, taskId)
    expect(rows.map(({ events }) => events.length).toSorted()).toEqual([11, 50])
  })

  it.each(["stopped", "paused"] as const)("is refused if the lease was %s", async (how) => {
    const { plane, run, taskId } = await turn()
    if (how === "paused") await plane.asPerson(app.agents.pause, { agentId: plane.engineer, release: true })
    await plane.post(taskId, "one")
    if (how === "stopped") await plane.asPerson(app.runs.stop, { run: run.id })
    expect(await news(plane)).toEqual([])
    expect(await refusalOf(join(plane, run))).toMatchObject({ code: "lease_lost", reason: how })
    expect(await rowsOf(plane, taskId)).toHaveLength(2)
  })

  it("is refused after the run's end, and then waits for its own turn", async () => {
    const { plane, run, taskId } = await turn()
    await plane.post(taskId, "one")
    await complete(plane, run, answer)
    expect(await news(plane)).toEqual([])
    expect(await codeOf(join(plane, run))).toBe("lease_lost")
    expect(contextOf(await plane.takeOf("engineer")).events).toHaveLength(1)
  })
})

describe("a notification with joined messages", () => {
  /** A turn on its second attempt, after a silence, which one message has joined. */
  const joinedTurn = async () => {
    const { plane, run, taskId } = await turn()
    await silence(plane, run)
    const again = await plane.takeOne()
    const { messageId } = await plane.post(taskId, "@engineer one more thing")
    await join(plane, again)
    return { plane, taskId, run: again, messageId }
  }

  it("gets the full number of attempts, of which the running one is the first", async () => {
    const { plane, run } = await joinedTurn()
    expect(await plane.row(run.id)).toMatchObject({ attempts: 1, failures: 0, silences: 0, claims: 2 })
    await fail(plane, run, { nextAttemptAt: Date.now(), joined: 1 })
    const next = await plane.takeOne({ maxAttempts: 2 })
    expect(next).toMatchObject({ id: run.id, attempt: 2, failures: 1 })
  })

  it.each([
    ["failure", (plane: Plane, run: Leased) => fail(plane, run, { nextAttemptAt: Date.now() })],
    ["release", (plane: Plane, run: Leased) => release(plane, run)],
    ["rescue", (plane: Plane, run: Leased) => plane.claim({ limit: 1, abandoned: [leaseOf(run)], number: 50 })],
    ["crash of its process", (plane: Plane) => plane.pulse("r1", "b2")]
  ] as const)("keeps them after a %s, whether or not they were shown, and the retry shows them", async (how, end) => {
    const { plane, run } = await joinedTurn()
    await end(plane, run)
    const boot = how === "crash of its process" ? { bootId: "b2", number: 1 } : { number: 60, recoverUnnamed: true }
    const next = only((await plane.claim(boot)).runs)
    const { delta, events } = contextOf(next)
    expect(events.map(({ message }) => message?.content)).toEqual([undefined, "@engineer one more thing"])
    expect(delta).toBeNull()
  })

  it("ends with those that its turn showed; the others become a separate notification", async () => {
    const { messageId, plane, run, taskId } = await joinedTurn()
    const { messageId: second } = await plane.post(taskId, "another")
    await join(plane, run, 1)
    const before = await plane.wakes()
    await complete(plane, run, { ...answer, joined: 1 })
    const [ended, own, ...more] = await rowsOf(plane, taskId)
    expect(more).toEqual([])
    expect(ended?.events.map((event) => event.messageId)).toEqual([undefined, messageId])
    expect(own).toMatchObject({ state: "ready", claims: 0, attempts: 0, type: "thread_update", isRequired: true })
    expect(own?.events.map((event) => [event.messageId, event.joined])).toEqual([[second, undefined]])
    expect(await plane.wakes()).toBeGreaterThan(before)
    expect(await plane.takeOf("engineer")).toMatchObject({ id: own?._id, attempt: 1 })
  })

  it("lets those that were not shown start their own work if its last attempt fails", async () => {
    const { plane, run, taskId } = await joinedTurn()
    await fail(plane, run)
    const [dead, own] = await rowsOf(plane, taskId)
    expect(dead).toMatchObject({ state: "dead", type: "assignment" })
    expect(dead?.events).toHaveLength(1)
    expect(own).toMatchObject({ state: "ready", claims: 0, type: "mention" })
  })

  it("dies with those that were shown if its last attempt fails", async () => {
    const { plane, run, taskId } = await joinedTurn()
    await fail(plane, run, { joined: 1 })
    expect(await rowsOf(plane, taskId)).toMatchObject([{ state: "dead", events: [{}, { joined: run.epoch }] }])
  })

  it("ends with all of them when it is stopped", async () => {
    const { plane, run, taskId } = await joinedTurn()
    await plane.asPerson(app.runs.stop, { run: run.id })
    expect(await rowsOf(plane, taskId)).toMatchObject([{ state: "delivered", outcome: "stopped", events: [{}, {}] }])
  })

  it("shows people and operators which events joined", async () => {
    const { plane, run, taskId } = await joinedTurn()
    const { events } = await plane.query(service.runs.get, { run: run.id })
    expect(events.map(({ hasJoined }) => hasJoined)).toEqual([false, true])
    expect(only(await plane.notifications(taskId)).events.map(({ hasJoined }) => hasJoined)).toEqual([false, true])
  })
})

describe("the next delta after a turn with joined messages", () => {
  it("does not show them again, and shows agents' messages that came before them", async () => {
    const { plane, run, taskId } = await turn()
    await complete(plane, run, { outcome: "acted" })
    pass(60_000)
    await plane.post(taskId, "@engineer go on")
    const second = await plane.takeOf("engineer")
    pass(60_000)
    await plane.asPerson(app.tasks.create, { title: "Other", assigneeIds: [plane.lead] })
    const lead = await plane.takeOf("lead")
    await plane.mutate(service.messages.post, { ...fenceOf(lead), settings, taskId, content: "the lead says" })
    pass(60_000)
    await plane.post(taskId, "one more thing")
    expect(wordsOf(await join(plane, second))).toEqual(["one more thing"])
    await complete(plane, second, { ...answer, joined: 1 })
    pass(60_000)
    await plane.post(taskId, "@engineer and now")
    const third = await plane.takeOf("engineer")
    const { delta, thread } = contextOf(third)
    expect(delta).not.toBeNull()
    expect(thread.map(({ content }) => content)).toEqual(["the lead says", "Done.", "@engineer and now"])
  })
})
