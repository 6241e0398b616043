import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { hour, pass, stopTime } from "./clock.ts"
import { complete, contextOf, fenceOf, first, makeTask, type Plane, seededPlane, settings } from "./controlPlane.ts"

stopTime()
const { app, service } = api

/** A run of the engineer on a task, and a way to ask from it. */
const asking = async () => {
  const plane = await seededPlane()
  const taskId = await makeTask(plane, [plane.engineer], "Login")
  const run = await plane.takeOne()
  const fence = { ...fenceOf(run), settings }
  const ask = (recipientSlugs: Array<string>, message = "Which database?") =>
    plane.mutate(service.responseRequests.create, { ...fence, recipientSlugs, message })
  const inbox = () => plane.seen(app.notifications.inbox, {})
  const questions = async () =>
    (await plane.notifications(taskId)).filter(
      ({ recipientType, type }) => recipientType === "person" && type === "response_request"
    )
  return { plane, taskId, run, fence, ask, inbox, questions }
}
/** The answers that a run's events contain, with the messages. */
const answersIn = (run: Parameters<typeof contextOf>[0]) =>
  contextOf(run).events.map(({ answers, message, type }) => ({ type, answers, content: message?.content }))

/** A second member of the account. */
const kimIn = async (plane: Plane, name = "Kim") => {
  const { memberId } = await plane.asPerson(app.members.add, {
    tokenIdentifier: "https://convex.test|kim",
    name,
    role: "member"
  })
  const kim = plane.t.withIdentity({ subject: "kim", issuer: "https://convex.test", name })
  return {
    memberId,
    post: (taskId: string, content: string) =>
      kim.mutation(app.messages.post, { accountId: plane.accountId, taskId, content }),
    inbox: () => kim.query(app.notifications.inbox, { accountId: plane.accountId })
  }
}

describe("a question to a person", () => {
  it.each(["Ana", "ana", "@ana", '@"Ana"', "“Ana”"])("finds %s by name", async (name) => {
    const { ask, inbox, plane, taskId } = await asking()
    const { asked, skipped } = await ask([name])
    expect(asked).toEqual([{ slug: "Ana", notificationId: expect.any(String) }])
    expect(skipped).toEqual([])
    expect(await inbox()).toMatchObject([
      { type: "response_request", from: { slug: "engineer" }, taskId, taskTitle: "Login", text: "Which database?" }
    ])
    expect((await plane.thread(taskId)).at(-1)).toMatchObject({
      kind: "note",
      content: "Question to Ana: Which database?",
      author: { slug: "engineer" }
    })
  })

  it("is sent to each person of that name, and to agents of the same request", async () => {
    const { ask, plane, questions } = await asking()
    await kimIn(plane, "Ana")
    const { asked } = await ask(["qa", "Ana"])
    expect(asked.map(({ slug }) => slug)).toEqual(["qa", "Ana", "Ana"])
    expect(await questions()).toHaveLength(2)
  })

  it("is skipped without such a person, with the names that exist", async () => {
    const { ask } = await asking()
    expect(await ask(["Pat"])).toMatchObject({
      asked: [],
      skipped: [{ slug: "pat", reason: expect.stringContaining("the people are: Ana") }]
    })
  })

  it("notifies the person once, even if the person is subscribed or named in the text", async () => {
    const { ask, inbox, plane, taskId } = await asking()
    await plane.post(taskId, "please begin")
    await ask(["Ana"], '@"Ana" which database?')
    expect(await inbox()).toHaveLength(1)
  })

  it("is sent to the account's webhooks", async () => {
    const { ask, plane, taskId } = await asking()
    const { id } = await plane.asPerson(app.webhooks.add, {
      url: "https://hooks.example.com/in",
      types: ["question.asked"]
    })
    await ask(["Ana"])
    const rows = await plane.t.run((ctx) => ctx.db.query("webhookDeliveries").collect())
    expect(rows).toMatchObject([{ webhookId: id, type: "question.asked", state: "pending" }])
    expect(JSON.parse(first(rows).body)).toMatchObject({
      data: { taskId, agentId: plane.engineer, memberId: plane.memberId, text: "Engineer asks: Which database?" }
    })
  })

  it("notifies no agent", async () => {
    const { ask, plane } = await asking()
    await ask(["Ana"], "Shall @qa or @lead test it?")
    expect((await plane.take()).runs).toEqual([])
  })

  it("is asked once in four hours until it is answered, and then replaces the earlier one", async () => {
    const { ask, inbox, plane, questions, taskId } = await asking()
    const count = async (message: string) => (await ask(["Ana"], message)).asked.length
    expect(await count("one")).toBe(1)
    expect(await count("one")).toBe(1)
    expect(await ask(["Ana"], "two")).toMatchObject({ skipped: [{ reason: expect.stringContaining("4 hours") }] })
    expect(await inbox()).toHaveLength(1)
    pass(4 * hour + 1)
    expect(await count("three")).toBe(1)
    expect((await inbox()).map(({ text }) => text)).toEqual(["three"])
    expect((await questions()).map(({ outcome }) => outcome)).toEqual([null, "stopped"])
    await plane.post(taskId, "Postgres.")
    expect(await count("four")).toBe(1)
  })
})

describe("the answer of a person", () => {
  it("is their next message in the thread, and reaches the agent that asked with its question", async () => {
    const { ask, inbox, plane, questions, run, taskId } = await asking()
    await ask(["Ana"])
    await complete(plane, run, { outcome: "replied", reply: "I asked Ana." })
    await plane.post(taskId, "Postgres.")
    const answer = await plane.takeOf("engineer")
    expect(answersIn(answer)).toEqual([{ type: "mention", answers: "Which database?", content: "Postgres." }])
    expect(await inbox()).toEqual([])
    expect(await questions()).toMatchObject([{ state: "delivered", outcome: "replied" }])
    expect((await plane.seen(app.runs.get, { run: answer.id })).events).toMatchObject([{ answers: "Which database?" }])
  })

  it("reaches the agent although it is not assigned any more, and counts once", async () => {
    const { ask, plane, run, taskId } = await asking()
    await ask(["Ana"])
    await complete(plane, run)
    await plane.t.run(async (ctx) => {
      for (const { _id } of await ctx.db.query("subscriptions").collect()) await ctx.db.delete("subscriptions", _id)
    })
    await plane.asPerson(app.tasks.assign, { taskId, assigneeIds: [] })
    await plane.post(taskId, "Postgres.")
    await plane.post(taskId, "In version 18.")
    expect(answersIn(await plane.takeOf("engineer"))).toEqual([
      { type: "mention", answers: "Which database?", content: "Postgres." },
      { type: "thread_update", answers: undefined, content: "In version 18." }
    ])
  })

  it("joins the turn that asked if that still runs, with its question", async () => {
    const { ask, plane, run, taskId } = await asking()
    await ask(["Ana"])
    await plane.post(taskId, "Postgres.")
    const joined = await plane.mutate(service.notifications.join, { ...fenceOf(run), known: 0, settings })
    expect(joined.events).toMatchObject([
      { type: "mention", answers: "Which database?", message: { content: "Postgres." } }
    ])
    await complete(plane, run, { outcome: "replied", reply: "Postgres it is.", joined: 1 })
    const { runs } = await plane.take()
    expect(runs.filter((each) => contextOf(each).agent.slug === "engineer")).toEqual([])
  })

  it("does not come from another person", async () => {
    const { ask, inbox, plane, run, taskId } = await asking()
    const kim = await kimIn(plane)
    await ask(["Ana"])
    await complete(plane, run)
    await kim.post(taskId, "I would take Postgres.")
    expect(answersIn(await plane.takeOf("engineer"))).toEqual([
      { type: "thread_update", answers: undefined, content: "I would take Postgres." }
    ])
    expect(await inbox()).toMatchObject([{ type: "response_request" }])
  })

  it("does not come from a message in another task", async () => {
    const { ask, inbox, plane } = await asking()
    await ask(["Ana"])
    await plane.post(await makeTask(plane), "Postgres.")
    expect(await inbox()).toHaveLength(1)
  })

  it("answers everyone who asked, or only those that it mentions, whose other readers it does not notify", async () => {
    const { ask, plane, run, taskId } = await asking()
    await ask(["Ana"])
    await complete(plane, run)
    await plane.post(taskId, "@qa @lead any questions?")
    // Ana's message has answered the engineer, who is not mentioned.
    const answered = await plane.take()
    expect(answered.runs.map((each) => contextOf(each).agent.slug).toSorted()).toEqual(["engineer", "lead", "qa"])
    for (const each of answered.runs) {
      const { slug } = contextOf(each).agent
      const fence = { ...fenceOf(each), settings }
      await plane.mutate(service.responseRequests.create, {
        ...fence,
        recipientSlugs: ["ana"],
        message: `A question of ${slug}`
      })
      await complete(plane, each)
    }
    await plane.post(taskId, "@qa Yes.")
    expect(answersIn(await plane.takeOne())).toMatchObject([{ answers: "A question of qa" }])
    await plane.post(taskId, "Yes to both.")
    const { runs } = await plane.take()
    expect(
      runs
        .flatMap(answersIn)
        .map(({ answers }) => answers)
        .toSorted()
    ).toEqual(["A question of engineer", "A question of lead"])
  })
})

describe("an open question", () => {
  it("stays unread until it is answered", async () => {
    const { ask, inbox, plane, run, taskId } = await asking()
    await ask(["Ana"])
    await plane.post(await makeTask(plane), "hello")
    await complete(plane, run, { outcome: "replied", reply: '@"Ana" I wait.' })
    expect((await inbox()).map(({ type }) => type).toSorted()).toEqual(["mention", "response_request"])
    expect(await plane.asPerson(app.notifications.markRead, {})).toEqual({ count: 1 })
    expect(await inbox()).toMatchObject([{ type: "response_request", taskId }])
  })

  it("is shown with a blocked task, to people and to agents, until it is answered", async () => {
    const { ask, fence, plane, run, taskId } = await asking()
    await ask(["Ana"])
    const listed = async () => first(await plane.seen(app.tasks.list, {}))
    expect((await listed()).openQuestions).toBeUndefined()
    await plane.mutate(service.tasks.setStatus, { ...fence, taskId, status: "blocked", blockedReason: "waits for Ana" })
    const open = [
      { text: "Which database?", person: "Ana", askedAt: Date.now(), askedBy: { slug: "engineer", type: "agent" } }
    ]
    expect(await listed()).toMatchObject({ status: "blocked", openQuestions: open })
    expect((await plane.query(service.tasks.get, { taskId })).task).toMatchObject({ openQuestions: open })
    await complete(plane, run)
    await plane.post(taskId, "@qa do you know?")
    expect((await plane.take()).runs.map((each) => contextOf(each).task)).toMatchObject([
      { status: "blocked" },
      { status: "blocked" }
    ])
    expect(await listed()).toMatchObject({ status: "blocked" })
    expect((await listed()).openQuestions).toBeUndefined()
  })

  it("is among the five shown if it is one of the oldest, whoever joined the account first", async () => {
    const { ask, fence, plane, taskId } = await asking()
    for (const name of ["Ben", "Cem", "Dan", "Eve", "Fay"]) {
      await plane.asPerson(app.members.add, { tokenIdentifier: `https://convex.test|${name}`, name, role: "member" })
    }
    const asked = ["Fay", "Eve", "Dan", "Cem", "Ben", "Ana"]
    for (const name of asked) await ask([name])
    await plane.mutate(service.tasks.setStatus, { ...fence, taskId, status: "blocked", blockedReason: "waits" })
    const { openQuestions } = first(await plane.seen(app.tasks.list, {}))
    expect(openQuestions?.map(({ person }) => person)).toEqual(asked.slice(0, 5))
  })

  it.each([
    [
      "a person archives its task",
      ({ plane, taskId }) => plane.asPerson(app.tasks.setStatus, { taskId, status: "archived" })
    ],
    [
      "an agent marks its task as done",
      async ({ fence, plane, taskId }) => {
        const to = (status: "review" | "done") => plane.mutate(service.tasks.setStatus, { ...fence, taskId, status })
        await plane.asPerson(app.agents.update, { agentId: plane.engineer, flags: { canMarkDone: true } })
        await to("review")
        await to("done")
      }
    ],
    ["its task is stopped", ({ plane, taskId }) => plane.asPerson(app.runs.stop, { task: taskId })],
    ["its agent is stopped", ({ plane }) => plane.asPerson(app.runs.stop, { agent: "engineer" })],
    ["its run is stopped", ({ plane, run }) => plane.asPerson(app.runs.stop, { run: run.id })],
    ["its agent is removed", ({ plane }) => plane.asPerson(app.agents.remove, { agentId: plane.engineer })]
  ] satisfies ReadonlyArray<readonly [string, (of: Awaited<ReturnType<typeof asking>>) => Promise<unknown>]>)(
    "ends when %s",
    async (_, end) => {
      const made = await asking()
      await made.ask(["Ana"])
      await end(made)
      expect(await made.questions()).toMatchObject([{ state: "delivered", outcome: "stopped" }])
      expect((await made.inbox()).filter(({ type }) => type === "response_request")).toEqual([])
      await made.plane.post(made.taskId, "Postgres.")
      const events = (await made.plane.notifications(made.taskId)).flatMap((row) => row.events)
      expect(events.filter(({ answers }) => answers !== null)).toEqual([])
    }
  )

  it("does not end when another run of its agent is stopped", async () => {
    const { ask, inbox, plane, run, taskId } = await asking()
    await ask(["Ana"])
    await complete(plane, run)
    const kim = await kimIn(plane)
    await kim.post(taskId, "@engineer go on")
    await plane.asPerson(app.runs.stop, { run: (await plane.takeOne()).id })
    expect((await inbox()).filter(({ type }) => type === "response_request")).toHaveLength(1)
  })
})
