import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { complete, contextOf, type Plane, seededPlane, settings } from "./controlPlane.ts"

/** The recipients of events about a task since the last call: `recipient:type`, sorted. */
const eventsSince = async (plane: Plane, taskId: string, seen: Map<string, number> = new Map()) => {
  const fresh: Array<string> = []
  for (const { events, id, recipientName } of await plane.notifications(taskId)) {
    for (const event of events.slice(seen.get(id) ?? 0)) fresh.push(`${recipientName}:${event.type}`)
    seen.set(id, events.length)
  }
  return fresh.toSorted()
}

/** A task, its new events, and a function that posts an agent's message in its own turn. */
const scene = async (more: { assignees?: ReadonlyArray<"lead" | "engineer" | "qa">; labels?: Array<string> } = {}) => {
  const plane = await seededPlane()
  const { taskId } = await plane.asPerson(api.app.tasks.create, {
    title: "T",
    labels: more.labels ?? [],
    assigneeIds: (more.assignees ?? []).map((slug) => plane[slug])
  })
  const seen = new Map<string, number>()
  const newEvents = () => eventsSince(plane, taskId, seen)
  /** Ends all due runs, and lets the agent reply to a mention. */
  const replyAs = async (agent: "lead" | "engineer" | "qa", reply: string, maxHops = settings.maxHops) => {
    const limited = { settings: { ...settings, maxHops } }
    await plane.post(taskId, `@${agent} go`)
    for (;;) {
      const { runs } = await plane.take()
      const ownRun = runs.find((run) => {
        const { agent: recipient, notification } = contextOf(run)
        return recipient.slug === agent && notification.type === "mention"
      })
      for (const run of runs) if (run !== ownRun) await complete(plane, run, limited)
      if (ownRun === undefined) continue
      await newEvents()
      await complete(plane, ownRun, { outcome: "replied", reply, ...limited })
      return
    }
  }
  const status = (to: "assigned" | "in_progress" | "review" | "done" | "blocked" | "archived") =>
    plane.asPerson(api.app.tasks.setStatus, {
      taskId,
      status: to,
      ...(to === "blocked" ? { blockedReason: "waits" } : {})
    })
  return { plane, taskId, newEvents, replyAs, status }
}

describe("an assignment", () => {
  it("notifies only the new assignees, and subscribes them and the orchestrator", async () => {
    const { plane, taskId, newEvents } = await scene({ assignees: ["engineer"] })
    expect(await newEvents()).toEqual(["Engineer:assignment"])
    await plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds: [plane.engineer, plane.qa] })
    expect(await newEvents()).toEqual(["QA:assignment"])
    await plane.post(taskId, "hello all")
    expect(await newEvents()).toEqual(["Engineer:thread_update", "QA:thread_update", "Squad Lead:thread_update"])
  })

  it("ends an unassigned agent's subscription unless it participated", async () => {
    const { plane, taskId, newEvents, replyAs } = await scene({ assignees: ["engineer", "qa"] })
    await replyAs("qa", "I was here.")
    await plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds: [plane.lead] })
    await newEvents()
    await plane.post(taskId, "who listens?")
    expect(await newEvents()).toEqual(["QA:thread_update", "Squad Lead:thread_update"])
  })

  it("sets a task in the inbox to assigned, and back when no one is left", async () => {
    const { plane, taskId } = await scene()
    const status = async () => (await plane.query(api.service.tasks.get, { taskId })).task.status
    expect(await status()).toBe("inbox")
    await plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds: [plane.qa] })
    expect(await status()).toBe("assigned")
    await plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds: [] })
    expect(await status()).toBe("inbox")
  })
})

describe("a message", () => {
  it("notifies mentioned agents of the mention, and other agents then get no thread update", async () => {
    const { plane, taskId, newEvents } = await scene({ assignees: ["engineer"] })
    await newEvents()
    await plane.post(taskId, "@qa, what do you think?")
    expect(await newEvents()).toEqual(["QA:mention"])
    await plane.post(taskId, "and all of you?")
    expect(await newEvents()).toEqual(["Engineer:thread_update", "QA:thread_update", "Squad Lead:thread_update"])
  })

  it("notifies participating people, whatever it mentions, but never its author", async () => {
    const { plane, taskId, newEvents, replyAs } = await scene({ assignees: ["engineer"] })
    await replyAs("engineer", "@qa can you test this?")
    expect(await newEvents()).toEqual(["Ana:thread_update", "QA:mention"])
    const rows = (await plane.notifications(taskId)).filter((row) => row.recipientType === "person")
    expect(rows.every((row) => row.state === "unread")).toBe(true)
  })

  it("mentions people by name, and everyone with @all", async () => {
    const { plane, taskId, newEvents } = await scene()
    await plane.asPerson(api.app.members.add, { tokenIdentifier: "x|bob", name: "Bob Builder", role: "member" })
    await plane.post(taskId, '@"bob builder" look')
    expect(await newEvents()).toEqual(["Bob Builder:mention", "Squad Lead:thread_update"])
    await plane.post(taskId, "@all meeting")
    expect(await newEvents()).toEqual(["Bob Builder:mention", "Engineer:mention", "QA:mention", "Squad Lead:mention"])
  })

  it("mentions agents by their current name, in upper or lower case, and all agents that share it", async () => {
    const { plane, taskId, newEvents } = await scene()
    await plane.asPerson(api.app.agents.update, { agentId: plane.qa, name: "Test Lead" })
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, name: "TEST LEAD" })
    await plane.post(taskId, '@"test lead" look')
    expect(await newEvents()).toEqual(["TEST LEAD:mention", "Test Lead:mention"])
    await plane.post(taskId, '@"QA" look')
    expect((await newEvents()).filter((each) => each.endsWith(":mention"))).toEqual([])
  })

  it("finds mentioned names even with more mentions than are looked up one by one", async () => {
    const { plane, taskId, newEvents } = await scene()
    const strangers = Array.from({ length: 30 }, (_, index) => `@stranger-${index}`).join(" ")
    await plane.asPerson(api.app.members.add, { tokenIdentifier: "x|bob", name: "Bob Builder", role: "member" })
    await plane.post(taskId, `${strangers} @engineer @"Bob Builder" @"qa"`)
    expect(await newEvents()).toEqual(["Bob Builder:mention", "Engineer:mention", "QA:mention"])
  })

  it("does not notify a subscriber that left the roster", async () => {
    const { plane, taskId, newEvents } = await scene({ assignees: ["engineer", "qa"] })
    await plane.asPerson(api.app.agents.remove, { agentId: plane.qa })
    await newEvents()
    await plane.post(taskId, "hello @qa")
    expect(await newEvents()).toEqual(["Engineer:thread_update", "Squad Lead:thread_update"])
  })

  it("from an agent that may not mention agents notifies subscribers with a thread update instead", async () => {
    const { plane, newEvents, replyAs } = await scene({ assignees: ["engineer", "qa"] })
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, flags: { canMentionAgents: false } })
    await replyAs("engineer", "@qa please")
    expect(await newEvents()).toEqual([
      "Ana:thread_update",
      "QA:status_change",
      "QA:thread_update",
      "Squad Lead:thread_update"
    ])
  })

  it("on a done or archived task notifies no subscribed agent, on a blocked one only if a person or the orchestrator wrote it", async () => {
    const { plane, taskId, newEvents, replyAs, status } = await scene({ assignees: ["engineer"] })
    await plane.post(taskId, "I listen")
    await status("blocked")
    await newEvents()
    await plane.post(taskId, "from a person")
    expect(await newEvents()).toEqual(["Engineer:thread_update", "Squad Lead:thread_update"])
    await replyAs("lead", "from the orchestrator")
    expect(await newEvents()).toEqual(["Ana:thread_update", "Engineer:thread_update"])
    await replyAs("engineer", "from an agent")
    expect(await newEvents()).toEqual(["Ana:thread_update"])
    await status("in_progress")
    await status("done")
    await newEvents()
    await plane.post(taskId, "thanks")
    expect(await newEvents()).toEqual([])
    await plane.post(taskId, "@engineer one more thing")
    expect(await newEvents()).toEqual(["Engineer:mention"])
  })

  it("in the orchestrator's chat notifies only the orchestrator, and agents cannot mention anyone there", async () => {
    const { plane, taskId, newEvents, replyAs } = await scene({ labels: ["system:orchestrator-chat"] })
    await plane.post(taskId, "hello @engineer")
    expect(await newEvents()).toEqual(["Squad Lead:thread_update"])
    await replyAs("lead", "@engineer and @qa, listen")
    expect(await newEvents()).toEqual(["Ana:thread_update"])
  })

  it("that is a fallback or a note notifies no agent", async () => {
    const { plane, taskId, newEvents } = await scene({ assignees: ["engineer", "qa"] })
    await plane.post(taskId, "I listen")
    const [one, two] = (await plane.take()).runs
    await newEvents()
    if (one === undefined || two === undefined) throw new Error("expected two runs")
    await complete(plane, one, { outcome: "fallback" })
    expect(await newEvents()).toEqual(["Ana:thread_update"])
    await complete(plane, two, { note: "Wrote to @lead." })
    expect(await newEvents()).toEqual(["Ana:thread_update"])
  })
})

describe("a change of status", () => {
  it("notifies the assignees but the actor, and for a review also the orchestrator and subscribed reviewers", async () => {
    const { plane, taskId, newEvents, status } = await scene({ assignees: ["engineer"] })
    await plane.post(taskId, "@qa follow this")
    await newEvents()
    await status("in_progress")
    expect(await newEvents()).toEqual(["Engineer:status_change"])
    await status("review")
    expect(await newEvents()).toEqual(["Engineer:status_change", "QA:status_change", "Squad Lead:status_change"])
  })

  it("over several steps notifies of the last one only", async () => {
    const { plane, taskId, newEvents, status } = await scene({ assignees: ["engineer"] })
    await newEvents()
    await status("review")
    expect(await newEvents()).toEqual(["Engineer:status_change", "Squad Lead:status_change"])
    expect(await plane.seen(api.app.activities.list, { taskId, limit: 1 })).toMatchObject([
      { summary: "assigned -> in_progress -> review" }
    ])
  })
})

describe("hops", () => {
  it("grow along a chain of agents, restart with a person, and end the chain at the limit with one notice", async () => {
    const { plane, taskId, newEvents, replyAs } = await scene({ assignees: ["engineer", "qa"] })
    /** The hops of the agents' mentions. */
    const mentionHops = async () =>
      plane.t.run(async (ctx) =>
        (await ctx.db.query("notifications").collect())
          .filter((row) => row.recipientType === "agent")
          .flatMap(({ events }) => events)
          .filter((event) => event.type === "mention" && event.actor.type === "agent")
          .map(({ hops }) => hops)
      )
    await replyAs("engineer", "@qa your turn", 1)
    expect(await mentionHops()).toEqual([1])
    await newEvents()
    for (let turn = 0; turn < 2; turn += 1) {
      for (const run of (await plane.take()).runs) {
        const isHandOver = contextOf(run).notification.type === "mention"
        const reply = { outcome: "replied", reply: "@engineer back to you" }
        await complete(plane, run, { ...(isHandOver ? reply : {}), settings: { ...settings, maxHops: 1 } })
      }
    }
    const people = (await plane.notifications(taskId)).filter((row) => row.recipientType === "person")
    expect(await mentionHops()).toEqual([1])
    expect(people.filter((row) => row.type === "thread_update").length).toBeGreaterThan(0)
    const notices = await plane.t.run(async (ctx) =>
      (await ctx.db.query("notifications").collect()).filter(({ events }) =>
        events.some(({ request }) => request?.includes("hop limit"))
      )
    )
    expect(notices).toMatchObject([{ memberId: plane.memberId, recipientType: "person" }])
    // The person reads it in the list of notifications.
    const texts = people.flatMap(({ events }) => events).flatMap(({ text }) => text ?? [])
    expect(texts).toEqual([
      "A chain of agents' turns reached the hop limit (MAX_AGENT_HOPS=1). " +
        "No agent is notified of the last one until a person writes in the thread."
    ])
    await plane.post(taskId, "@qa again")
    expect(await newEvents()).toContain("QA:mention")
  })
})
