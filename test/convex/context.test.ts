import { describe, expect, it, vi } from "vitest"
import { api, internal } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { previews } from "../../convex/model/contexts/deliveryPreviews.ts"
import {
  complete,
  contextOf,
  fail,
  fenceOf,
  first,
  makeTask,
  type Plane,
  seededPlane,
  settings
} from "./controlPlane.ts"
import { footprintOf } from "./footprint.ts"

/** The context of the engineer's run. Other agents' runs are claimed too. */
const engineersContext = async (plane: Plane) => contextOf(await plane.takeOf("engineer"))

describe("the context of a notification", () => {
  it("contains the recipient, the author, the subject and the other agents", async () => {
    const plane = await seededPlane()
    const { taskId } = await plane.asPerson(api.app.tasks.create, {
      title: "Ship it",
      description: "By Friday.",
      labels: ["urgent"],
      priority: 1
    })
    await plane.asPerson(api.app.documents.upsert, { taskId, title: "Plan", content: "Step 1", type: "note" })
    await plane.asPerson(api.app.documents.upsert, {
      title: "Repository",
      content: "git@example.org:acme/pump",
      type: "reference",
      isRepository: true
    })
    await plane.post(taskId, "Earlier words")
    await plane.post(taskId, "@engineer can you start?")
    const context = await engineersContext(plane)
    expect(context).toMatchObject({
      notification: { type: "mention", hops: 0, isRequired: true },
      events: [
        {
          index: 0,
          type: "mention",
          message: { content: "@engineer can you start?" },
          actor: { type: "person", name: "Ana" },
          previousStatus: null,
          request: null
        }
      ],
      account: { id: plane.accountId, name: "Acme" },
      agent: { slug: "engineer", isOrchestrator: false, flags: { canModifyTaskStatus: true } },
      generation: 1,
      task: { id: taskId, labels: ["urgent"], priority: 1, status: "inbox", createdBy: { name: "Ana" } },
      recipientIsAssignee: false,
      orchestrator: { slug: "lead" },
      primaryPerson: { name: "Ana" },
      repositoryDocument: { title: "Repository", content: "git@example.org:acme/pump" },
      documents: [{ title: "Plan", content: "Step 1", type: "note" }],
      briefing: null,
      taskOverview: null,
      earlier: { attempts: 0, lastError: null, effects: [] }
    })
    expect(context.thread.map((message) => message.content)).toEqual(["Earlier words", "@engineer can you start?"])
    expect(context.mentionableAgents.map((agent) => agent.slug).toSorted()).toEqual(["lead", "qa"])
  })

  it("of the orchestrator's chat contains briefing and overview; that of other tasks neither", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.accounts.configure, { briefing: "Be brief." })
    await plane.asPerson(api.app.tasks.create, { title: "Work", assigneeIds: [plane.qa] })
    const chat = await plane.asPerson(api.app.tasks.create, { title: "Chat", labels: ["system:orchestrator-chat"] })
    await plane.post(chat.taskId, "How are we doing?")
    const contexts = (await plane.take()).runs.map((run) => contextOf(run))
    expect(contexts.map((context) => [context.agent.slug, context.briefing, context.taskOverview])).toEqual([
      ["lead", "Be brief.", [expect.objectContaining({ title: "Work", status: "assigned", assigneeSlugs: ["qa"] })]],
      ["qa", null, null]
    ])
  })

  it("cuts long texts and marks them as cut", async () => {
    const plane = await seededPlane()
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T" })
    await plane.asPerson(api.app.documents.upsert, { taskId, title: "D", content: "d".repeat(9_000), type: "note" })
    for (let count = 0; count < 60; count += 1) await plane.post(taskId, `message ${count}`)
    await plane.post(taskId, `@engineer ${"x".repeat(90_000)}`)
    const context = await engineersContext(plane)
    expect(context.thread).toHaveLength(26)
    expect(context.thread.at(-1)).toMatchObject({ isCut: true })
    expect(context.thread.at(-1)?.content).toHaveLength(4_000)
    expect(context.events[0]?.message?.content).toHaveLength(75_000)
    expect(context.documents[0]?.content).toHaveLength(4_000)
  })

  it("contains the 25 messages before its request, however many the request has", async () => {
    const plane = await seededPlane()
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T" })
    for (let count = 0; count < 30; count += 1) await plane.post(taskId, `before ${count}`)
    await plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds: [plane.engineer] })
    for (const run of (await plane.take()).runs) await complete(plane, run, { turn: "none" })
    for (let count = 0; count < 40; count += 1) await plane.post(taskId, `request ${count}`)
    const context = await engineersContext(plane)
    expect(context.events).toHaveLength(40)
    expect(context.thread.map((message) => message.content)).toEqual([
      ...Array.from({ length: 25 }, (_, index) => `before ${index + 5}`),
      ...Array.from({ length: 40 }, (_, index) => `request ${index}`)
    ])
  })

  it("with a hundred messages of maximum length stays within a transaction's limits", async () => {
    const plane = await seededPlane()
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    await complete(plane, await plane.takeOne())
    for (let count = 0; count < 45; count += 1) await plane.post(taskId, "長".repeat(100_000))
    const { runs } = await plane.take()
    expect(runs).toHaveLength(2)
    for (const run of runs) {
      const { events } = contextOf(run)
      expect(events).toHaveLength(45)
      expect(events.reduce((sum, each) => sum + (each.message?.content.length ?? 0), 0)).toBeLessThanOrEqual(75_000)
      expect(events.at(-1)?.message?.content.length).toBeGreaterThan(0)
      expect(events[0]?.message?.isCut).toBe(true)
    }
  })

  it("of a dry run is that of the next attempt, or the reason why there is none", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    const preview = async () =>
      first(await plane.query(api.service.notifications.context, { ids: [run.id, "nonsense"] }))
    expect(await preview()).toEqual({ id: run.id, state: "claimed", context: contextOf(run) })
    await fail(plane, run, { nextAttemptAt: Date.now() })
    expect(await preview()).toMatchObject({ state: "ready", context: { earlier: { attempts: 1 } } })
    await plane.t.run((ctx) => ctx.db.delete("tasks", taskId as Id<"tasks">))
    expect(await preview()).toEqual({ id: run.id, broken: "task_missing" })
    const [, unknown] = await plane.query(api.service.notifications.context, { ids: [run.id, "nonsense"] })
    expect(unknown).toEqual({ id: "nonsense", broken: "notification_missing" })
  })
})

describe("the contexts of many notifications", () => {
  it("with a roster of long texts stay within a transaction's limits", async () => {
    const plane = await seededPlane()
    const slugs = Array.from({ length: 40 }, (_, index) => `colleague-${index}`)
    for (const slug of slugs) {
      await plane.asPerson(api.app.agents.create, { slug, name: slug, soul: "long ".repeat(10_000) })
    }
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [] })
    const mentions = slugs.slice(0, 20).map((slug) => `@${slug}`)
    await plane.post(taskId, mentions.join(" "))
    const { runs } = await plane.take({ limit: 20 })
    const ids = runs.map(({ id }) => id)
    expect(ids.length).toBeGreaterThanOrEqual(20)
    const answers = await plane.query(api.service.notifications.context, { ids })
    expect(answers.filter((answer) => "broken" in answer)).toEqual([])
    const { ranges } = await footprintOf(plane, (ctx, accountId) => previews(ctx, accountId, ids))
    expect(ranges.map(({ table }) => table)).toContain("agents")
    expect(ranges.map(({ table }) => table)).not.toContain("agentTexts")
  })
})

describe("retention", () => {
  it("deletes what ended ninety days ago with its effects, and keeps dead letters and pending work", async () => {
    const plane = await seededPlane()
    const { taskId } = await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    const { id } = await plane.takeOne()
    await plane.t.run(async (ctx) => {
      const row = await ctx.db.get("notifications", id as Id<"notifications">)
      if (row === null) throw new Error("expected a row")
      const { _id, _creationTime, ...rest } = row
      for (const state of ["delivered", "discarded", "dead"] as const) {
        await ctx.db.insert("notifications", { ...rest, state, endedAt: 1 })
        await ctx.db.insert("notifications", { ...rest, state, endedAt: Date.now() })
      }
    })
    await plane.t.mutation(internal.scheduled.retention.sweep, {})
    const states = (await plane.notifications(taskId)).map((row) => row.state).toSorted()
    expect(states).toEqual(["claimed", "dead", "dead", "delivered", "discarded"])
  })

  it("deletes runtimes that were offline for seven days, with their boots", async () => {
    const plane = await seededPlane()
    await plane.claim()
    await plane.t.run(async (ctx) => {
      const row = await ctx.db.query("runtimes").first()
      if (row === null) throw new Error("expected a runtime")
      const { _id, _creationTime, ...rest } = row
      for (let count = 0; count < 120; count += 1) {
        const runtimeId = `a-pod-${count}`
        await ctx.db.insert("runtimes", { ...rest, runtimeId, status: "offline", lastPulseAt: 1 })
        const boot = { bootId: "b", formerBootIds: [], lastClaim: 0, hasEnded: false }
        await ctx.db.insert("boots", { accountId: rest.accountId, runtimeId, ...boot })
      }
      const ago = (days: number) => Date.now() - days * 86_400_000
      await ctx.db.insert("runtimes", { ...rest, runtimeId: "last-week", status: "offline", lastPulseAt: ago(6.9) })
      await ctx.db.insert("runtimes", { ...rest, runtimeId: "before", status: "offline", lastPulseAt: ago(7.1) })
      await ctx.db.patch("runtimes", _id, { runtimeId: "the-last", status: "online", lastPulseAt: 1 })
    })
    vi.useFakeTimers()
    try {
      await plane.t.mutation(internal.scheduled.retention.sweep, {})
      await plane.t.finishAllScheduledFunctions(vi.runAllTimers)
    } finally {
      vi.useRealTimers()
    }
    const left = await plane.t.run(async (ctx) => ({
      runtimes: (await ctx.db.query("runtimes").collect()).map(({ runtimeId }) => runtimeId),
      boots: (await ctx.db.query("boots").collect()).map(({ runtimeId }) => runtimeId)
    }))
    expect(left).toEqual({ runtimes: ["the-last", "last-week"], boots: ["r1"] })
  })

  it("keeps the effects of a run while the run may be retried, whatever their age", async () => {
    vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
    try {
      const plane = await seededPlane()
      await plane.asPerson(api.app.accounts.configure, { agentFlags: { canCreateTasks: true } })
      const runs: Record<string, string> = {}
      for (const name of ["delivered", "discarded", "dead", "retried"] as const) {
        await plane.asPerson(api.app.tasks.create, {
          title: name,
          assigneeIds: [name === "retried" ? plane.qa : plane.engineer]
        })
        const run = await plane.takeOne()
        const fence = { ...fenceOf(run), settings }
        await plane.mutate(api.service.tasks.create, { ...fence, title: `made in ${name}` })
        const { id } = run
        runs[id] = name
        const failure = { ...fenceOf(run), class: "TurnTimeout", error: "late", silence: false, silenceLimit: 3 }
        if (name === "delivered") await complete(plane, run, { outcome: "acted" })
        else if (name === "retried") {
          const nextAttemptAt = Date.now() + 60_000
          await plane.mutate(api.service.notifications.fail, { ...failure, nextAttemptAt })
        } else await plane.mutate(api.service.notifications.fail, failure)
        if (name === "discarded") await plane.mutate(api.service.notifications.discardDeadLetter, { id })
      }
      await plane.t.run(async (ctx) => {
        const effect = await ctx.db.query("effects").first()
        if (effect === null) throw new Error("expected an effect")
        const { _creationTime, _id, ...rest } = effect
        await ctx.db.insert("effects", { ...rest, runId: `${plane.engineer}:1` })
      })
      const left = async () => {
        await plane.t.mutation(internal.scheduled.retention.sweep, {})
        const effects = await plane.t.run((ctx) => ctx.db.query("effects").collect())
        return effects.map(({ runId }) => runs[runId] ?? "heartbeat")
      }
      vi.setSystemTime(Date.now() + 89 * 86_400_000)
      expect(await left()).toEqual(["delivered", "discarded", "dead", "retried", "heartbeat"])
      vi.setSystemTime(Date.now() + 2 * 86_400_000)
      expect(await left()).toEqual(["dead", "retried"])
      const [dead = ""] = Object.keys(runs).filter((id) => runs[id] === "dead")
      await plane.mutate(api.service.notifications.retryDeadLetter, { id: dead })
      const tried = (await plane.take()).runs.find(({ id }) => id === dead)
      if (tried === undefined) throw new Error("expected the dead letter to be tried again")
      const again = { ...fenceOf(tried), settings, title: "made in dead" }
      expect(await plane.mutate(api.service.tasks.create, again)).toMatchObject({ repeated: true })
    } finally {
      vi.useRealTimers()
    }
  })

  it("continues after rows that it keeps, however many there are", async () => {
    vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
    try {
      const plane = await seededPlane()
      await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
      const { id: runId } = await plane.takeOne()
      const made = {
        accountId: plane.accountId as Id<"accounts">,
        tool: "task_create",
        summary: "made",
        result: null,
        epoch: 1
      }
      for (const [run, count] of [
        [runId, 600],
        [`${plane.engineer}:1`, 3]
      ] as const) {
        await plane.t.run(async (ctx) => {
          for (let index = 0; index < count; index += 1) await ctx.db.insert("effects", { ...made, runId: run })
        })
      }
      vi.setSystemTime(Date.now() + 91 * 86_400_000)
      await plane.t.mutation(internal.scheduled.retention.sweep, {})
      await plane.t.finishAllScheduledFunctions(vi.runAllTimers)
      const effects = await plane.t.run((ctx) => ctx.db.query("effects").collect())
      expect(effects).toHaveLength(600)
      expect(effects.every((effect) => effect.runId === runId)).toBe(true)
    } finally {
      vi.useRealTimers()
    }
  })
})
