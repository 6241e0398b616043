import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { agentActor } from "../../convex/model/accounts/actor.ts"
import { fallbackMessage } from "../../convex/model/runs/fallbackMessage.ts"
import { postMessage } from "../../convex/model/threads/messages.ts"
import { pass, stopTime } from "./clock.ts"
import {
  complete,
  contextOf,
  fail,
  makeTask,
  only,
  type Plane,
  release,
  seededPlane,
  silence,
  taskWorkedOn,
  settings
} from "./controlPlane.ts"

stopTime()

/** Posts a message of an agent in the task, `hops` turns after a person's. */
const postAs = (plane: Plane, taskId: string, agentId: string, content: string, hops = 1) =>
  plane.t.run(async (context) => {
    const ctx = context as never as Parameters<typeof postMessage>[0]
    const task = await ctx.db.get("tasks", taskId as Id<"tasks">)
    const agent = await ctx.db.get("agents", agentId as Id<"agents">)
    if (task === null || agent === null) throw new Error("expected a task and an agent")
    const origin = { actor: agentActor(agent), hops, settings }
    await postMessage(ctx, task, { content, kind: "reply" }, origin)
  })

/** The notifications of an agent about a task, oldest first. */
const rowsOf = (plane: Plane, agentId: string, taskId: string) =>
  plane.t.run(async (ctx) =>
    (await ctx.db.query("notifications").collect()).filter(
      (row) => row.agentId === agentId && row.taskId === taskId && row.state !== "delivered"
    )
  )

/** A plane and a task on which the engineer has worked. */
const scene = async () => {
  const plane = await seededPlane()
  const taskId = await taskWorkedOn(plane)
  const engineers = () => rowsOf(plane, plane.engineer, taskId)
  return { plane, taskId, engineers }
}

describe("an event", () => {
  it("joins the ready, never claimed notification of the same agent and task, even if it is a mention", async () => {
    const { engineers, plane, taskId } = await scene()
    await plane.post(taskId, "one")
    const [before] = await engineers()
    pass(1_000)
    await plane.post(taskId, "@engineer two")
    pass(1_000)
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "in_progress" })
    const row = only(await engineers())
    expect(row._id).toBe(before?._id)
    expect(row.events.map(({ at, type }) => [type, Date.now() - at])).toEqual([
      ["thread_update", 2_000],
      ["mention", 1_000],
      ["status_change", 0]
    ])
    const run = await plane.takeOf("engineer")
    expect(contextOf(run).events.map(({ index, message, type }) => [index, type, message?.content])).toEqual([
      [0, "thread_update", "one"],
      [1, "mention", "@engineer two"],
      [2, "status_change", undefined]
    ])
  })

  it("starts a new notification next to one that runs or was claimed before", async () => {
    const { engineers, plane, taskId } = await scene()
    await plane.post(taskId, "@engineer one")
    const run = await plane.takeOf("engineer")
    await plane.post(taskId, "@engineer two")
    expect((await engineers()).map(({ events }) => events.length)).toEqual([1, 1])
    await plane.post(taskId, "@engineer three")
    expect((await engineers()).map(({ events }) => events.length)).toEqual([1, 2])
    await release(plane, run)
    await plane.post(taskId, "@engineer four")
    expect((await engineers()).map(({ claims, events }) => [claims, events.length])).toEqual([
      [1, 1],
      [0, 3]
    ])
  })

  it("starts a new notification next to a retry and a dead letter", async () => {
    const { engineers, plane, taskId } = await scene()
    await plane.post(taskId, "@engineer one")
    await fail(plane, await plane.takeOf("engineer"), { nextAttemptAt: Date.now() + 60_000 })
    await plane.post(taskId, "@engineer two")
    await fail(plane, await plane.takeOf("engineer"))
    await plane.post(taskId, "@engineer three")
    expect((await engineers()).map(({ events, state }) => [state, events.length])).toEqual([
      ["ready", 1],
      ["dead", 1],
      ["ready", 1]
    ])
  })

  it("starts a new notification for another task and for another agent", async () => {
    const { engineers, plane, taskId } = await scene()
    const other = await makeTask(plane)
    await plane.post(taskId, "@engineer one")
    await plane.post(other, "@engineer @qa two")
    expect((await engineers()).map(({ events }) => events.length)).toEqual([1])
    expect((await rowsOf(plane, plane.engineer, other)).map(({ events }) => events.length)).toEqual([1])
    expect((await rowsOf(plane, plane.qa, other)).map(({ events }) => events.length)).toEqual([1])
  })

  it("starts a new notification next to one with fifty events", async () => {
    const { engineers, plane, taskId } = await scene()
    for (let count = 0; count < 52; count += 1) await plane.post(taskId, `message ${count}`)
    expect((await engineers()).map(({ events }) => events.length)).toEqual([50, 2])
    const run = await plane.takeOf("engineer")
    expect(contextOf(run).events).toHaveLength(50)
    await complete(plane, run)
    expect(contextOf(await plane.takeOf("engineer")).events.map(({ message }) => message?.content)).toEqual([
      "message 50",
      "message 51"
    ])
  })

  it("from a person notifies each person separately", async () => {
    const { plane, taskId } = await scene()
    await plane.post(taskId, "I listen")
    await postAs(plane, taskId, plane.qa, "one")
    await postAs(plane, taskId, plane.qa, "two")
    const personNotifications = (await plane.notifications(taskId)).filter((row) => row.recipientType === "person")
    expect(personNotifications.map(({ events, state }) => [events.length, state])).toEqual([
      [1, "unread"],
      [1, "unread"]
    ])
  })
})

describe("a notification", () => {
  it("derives type, duty, hops and order from its events, again with each event", async () => {
    const { engineers, plane, taskId } = await scene()
    const derived = async () => {
      const { at, hops, isRequired, type } = only(await engineers())
      return { type, hops, isRequired, headStart: Date.now() - at }
    }
    await postAs(plane, taskId, plane.qa, "one", 3)
    expect(await derived()).toEqual({ type: "thread_update", hops: 3, isRequired: false, headStart: 0 })
    await postAs(plane, taskId, plane.qa, "two", 5)
    expect(await derived()).toMatchObject({ type: "thread_update", hops: 5, isRequired: false, headStart: 0 })
    await postAs(plane, taskId, plane.qa, "@engineer three", 2)
    expect(await derived()).toEqual({ type: "mention", hops: 5, isRequired: true, headStart: 0 })
    await plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds: [] })
    await plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds: [plane.engineer] })
    expect(await derived()).toEqual({ type: "mention", hops: 0, isRequired: true, headStart: 30_000 })
    pass(1_000)
    await plane.post(taskId, "and a person")
    expect(await derived()).toEqual({ type: "mention", hops: 0, isRequired: true, headStart: 300_000 })
  })

  it("keeps the order of its oldest event, and since when it can be claimed", async () => {
    const { engineers, plane, taskId } = await scene()
    await plane.post(taskId, "one")
    const { at, readyAt } = only(await engineers())
    pass(60_000)
    await plane.post(taskId, "@engineer two")
    expect(only(await engineers())).toMatchObject({ at, readyAt })
  })

  it("moves its session forward when an event with a larger head start joins", async () => {
    const { engineers, plane, taskId } = await scene()
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "in_progress" })
    pass(1_000)
    await plane.post(taskId, "one")
    const row = only(await engineers())
    const session = await plane.t.run((ctx) => ctx.db.get("sessions", row.sessionId as Id<"sessions">))
    expect([row.at, session?.at]).toEqual([Date.now() - 300_000, Date.now() - 300_000])
  })
})

describe("the policy's refusals", () => {
  /** A run with a person's message, a mention by an agent and a status change. */
  const threeEvents = async () => {
    const { plane, taskId } = await scene()
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "in_progress" })
    await plane.post(taskId, "hello")
    await postAs(plane, taskId, plane.qa, "@engineer please")
    const run = await plane.takeOf("engineer")
    expect(contextOf(run).events.map(({ type }) => type)).toEqual(["status_change", "thread_update", "mention"])
    return { plane, taskId, run }
  }
  const refusals = async (plane: Plane, id: string) => (await plane.row(id)).events.map(({ refusal }) => refusal)

  it("are stored with the events, and a reply answers the highest-ranking accepted event", async () => {
    const { plane, run, taskId } = await threeEvents()
    const refused = [{ event: 2, reason: "agents may not ask" }]
    await complete(plane, run, { outcome: "replied", reply: "Hello.", refused })
    expect(await refusals(plane, run.id)).toEqual([undefined, undefined, "agents may not ask"])
    expect((await plane.thread(taskId)).at(-1)).toMatchObject({ kind: "reply", answersType: "status_change" })
    const [listed] = (await plane.notifications(taskId)).filter(({ id }) => id === run.id)
    expect(listed?.events.map(({ refusal, type }) => [type, refusal])).toEqual([
      ["status_change", null],
      ["thread_update", null],
      ["mention", "agents may not ask"]
    ])
  })

  it("let a reply answer a thread update only if nothing else was accepted", async () => {
    const { plane, run, taskId } = await threeEvents()
    const refused = [0, 2].map((event) => ({ event, reason: "no" }))
    await complete(plane, run, { outcome: "replied", reply: "Hello.", refused })
    expect((await plane.thread(taskId)).at(-1)).toMatchObject({ answersType: "thread_update" })
  })

  it("leave a reply the highest-ranking type if all events are accepted", async () => {
    const { plane, run, taskId } = await threeEvents()
    await complete(plane, run, { outcome: "replied", reply: "Hello." })
    expect((await plane.thread(taskId)).at(-1)).toMatchObject({ answersType: "mention" })
    expect(await refusals(plane, run.id)).toEqual([undefined, undefined, undefined])
  })

  it("decide at the silence limit whether an answer is owed, and to what", async () => {
    const { plane, run, taskId } = await threeEvents()
    const refused = [{ event: 2, reason: "no" }]
    expect((await silence(plane, run, { silenceLimit: 1, refused })).state).toBe("delivered")
    expect(await plane.row(run.id)).toMatchObject({ outcome: "fallback", outcomeReason: "no response" })
    expect(await refusals(plane, run.id)).toEqual([undefined, undefined, "no"])
    expect((await plane.thread(taskId)).at(-1)).toMatchObject({
      kind: "fallback",
      content: fallbackMessage("Engineer", "status_change", { class: "TurnSilent", message: "" })
    })
  })

  it("end silence without a fallback if no accepted event requires an answer", async () => {
    const { plane, run, taskId } = await threeEvents()
    const refused = [1, 2].map((event) => ({ event, reason: "no" }))
    expect((await silence(plane, run, { silenceLimit: 1, refused })).state).toBe("delivered")
    expect(await plane.row(run.id)).toMatchObject({ outcome: "skipped", hasFallback: false })
    expect((await plane.thread(taskId)).filter(({ kind }) => kind === "fallback")).toEqual([])
  })

  it("are not kept by an attempt that did not end the notification", async () => {
    const { plane, run } = await threeEvents()
    await silence(plane, run, { refused: [{ event: 2, reason: "no" }] })
    expect(await refusals(plane, run.id)).toEqual([undefined, undefined, undefined])
  })

  it("are cut, and unknown indexes are ignored", async () => {
    const { plane, run } = await threeEvents()
    const refused = [
      { event: 0, reason: "x".repeat(2_000) },
      { event: 7, reason: "none" }
    ]
    await complete(plane, run, { refused })
    expect((await refusals(plane, run.id)).map((reason) => reason?.length)).toEqual([500, undefined, undefined])
  })
})

describe("the events of a dead letter", () => {
  it("are listed oldest first, and are all in its retry", async () => {
    const { plane, taskId } = await scene()
    await plane.post(taskId, "one")
    pass(1_000)
    await plane.post(taskId, "@engineer two")
    const run = await plane.takeOf("engineer")
    await fail(plane, run)
    const [letter] = await plane.query(api.service.notifications.deadLetters, {})
    expect(letter).toMatchObject({
      id: run.id,
      type: "mention",
      events: [
        { type: "thread_update", actorName: "Ana", at: Date.now() - 1_000 },
        { type: "mention", actorName: "Ana", at: Date.now() }
      ]
    })
    await plane.mutate(api.service.notifications.retryDeadLetter, { id: run.id })
    await plane.post(taskId, "@engineer three")
    const again = await plane.takeOf("engineer")
    expect(contextOf(again).events.map(({ message }) => message?.content)).toEqual(["@engineer three"])
    await complete(plane, again)
    const retried = await plane.takeOf("engineer")
    expect(retried.id).toBe(run.id)
    expect(contextOf(retried).events.map(({ message }) => message?.content)).toEqual(["one", "@engineer two"])
  })

  it("are shown to people with their authors, messages and the time of the retry", async () => {
    const { plane, taskId } = await scene()
    const { messageId } = await plane.post(taskId, "@engineer two")
    const run = await plane.takeOf("engineer")
    const listed = async () => (await plane.notifications(taskId)).find(({ id }) => id === run.id)
    expect(await listed()).toMatchObject({ state: "claimed", nextAttemptAt: null })
    const nextAttemptAt = Date.now() + 60_000
    await fail(plane, run, { nextAttemptAt })
    expect(await listed()).toMatchObject({
      state: "ready",
      type: "mention",
      attempts: 1,
      nextAttemptAt,
      events: [
        { type: "mention", actor: { type: "person", name: "Ana" }, createdAt: Date.now(), messageId, refusal: null }
      ]
    })
  })
})
