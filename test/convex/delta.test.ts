import { describe, expect, it } from "vitest"
import { api, internal } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { hour, pass, stopTime } from "./clock.ts"
import {
  complete,
  contextOf,
  type DeliveryContext,
  fail,
  makeTask,
  only,
  type Plane,
  release,
  resetLastCreationTime,
  type Run,
  seededPlane,
  silence
} from "./controlPlane.ts"

stopTime()

/** A person's message, a second after the previous one. */
const post = (plane: Plane, taskId: string, content: string) => {
  pass(1_000)
  return plane.post(taskId, content)
}

/** A task on which the engineer has answered. The next claim is about the message "@engineer go on". */
const answered = async (plane: Plane, more: object = {}) => {
  const taskId = await makeTask(plane)
  await post(plane, taskId, "before")
  await post(plane, taskId, "@engineer please")
  await complete(plane, await engineersRun(plane), { outcome: "replied", reply: "I begin.", ...more })
  return taskId
}

/** Returns the engineer's run and ends the runs of other agents. */
const engineersRun = async (plane: Plane): Promise<Run> => {
  const { runs } = await plane.take()
  const isEngineers = (run: Run) => "context" in run && run.context.agent.slug === "engineer"
  for (const run of runs) if (!isEngineers(run)) await complete(plane, run)
  return only(runs.filter(isEngineers))
}

/** The engineer's context after one more message. */
const next = async (plane: Plane, taskId: string, content = "@engineer go on"): Promise<DeliveryContext> => {
  await post(plane, taskId, content)
  return contextOf(await engineersRun(plane))
}

const contents = ({ thread }: DeliveryContext) => thread.map(({ content }) => content)
const sessionOf = (plane: Plane) =>
  plane.t.run(async (ctx) => {
    const sessions = await ctx.db.query("sessions").collect()
    return only(sessions.filter(({ agentId, kind }) => agentId === plane.engineer && kind === "notification"))
  })

describe("the context of a second turn on a task", () => {
  it("contains what is new, names the text on which it builds, and lists what is unchanged", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane)
    await post(plane, taskId, "before")
    await post(plane, taskId, "@engineer please")
    const run = await engineersRun(plane)
    expect(contextOf(run)).toMatchObject({ delta: null, textNumber: run.epoch })
    await post(plane, taskId, "came during the turn")
    await complete(plane, run, { outcome: "replied", reply: "I begin." })
    const context = await next(plane, taskId)
    expect(context.delta).toEqual({
      fullText: run.epoch,
      unchanged: ["task", "documents", "people", "briefing", "tasks"]
    })
    expect(contents(context)).toEqual(["came during the turn", "I begin.", "@engineer go on"])
  })

  it("builds on the first text while turns are answered", async () => {
    const plane = await seededPlane()
    const taskId = await answered(plane)
    for (let turn = 0; turn < 3; turn += 1) {
      await post(plane, taskId, `@engineer ${turn}`)
      const run = await engineersRun(plane)
      expect(contextOf(run).delta).toMatchObject({ fullText: 1 })
      await complete(plane, run, { outcome: "acted" })
    }
  })

  it("shows which parts changed: the task, its documents, the agents", async () => {
    const plane = await seededPlane()
    const taskId = await answered(plane)
    const unchanged = async () => {
      await post(plane, taskId, "@engineer and now")
      const run = await engineersRun(plane)
      await complete(plane, run, { outcome: "acted" })
      return contextOf(run).delta?.unchanged
    }
    expect(await unchanged()).toContain("task")
    await plane.asPerson(api.app.tasks.update, { taskId, description: "Other words." })
    expect(await unchanged()).not.toContain("task")
    const { documentId } = await plane.asPerson(api.app.documents.upsert, {
      taskId,
      title: "D",
      content: "c",
      type: "note"
    })
    expect(await unchanged()).not.toContain("documents")
    expect(await unchanged()).toContain("documents")
    await plane.asPerson(api.app.documents.remove, { documentId })
    expect(await unchanged()).not.toContain("documents")
    await plane.asPerson(api.app.agents.create, { slug: "new", name: "New" })
    expect(await unchanged()).toEqual(["task", "documents", "briefing", "tasks"])
  })

  it("shows a message that was committed late once", async () => {
    const plane = await seededPlane()
    const taskId = await answered(plane)
    await post(plane, taskId, "@engineer the newest")
    const run = await engineersRun(plane)
    // It began before that claim, is committed after it, and notifies no one.
    pass(-9_000)
    resetLastCreationTime(plane)
    await plane.t.run(async (ctx) => {
      const { accountId, author } = only(
        (await ctx.db.query("messages").collect()).filter(({ content }) => content === "before")
      )
      const late = { accountId, taskId: taskId as Id<"tasks">, author, content: "late", hops: 0 }
      await ctx.db.insert("messages", { ...late, kind: "note" })
    })
    pass(9_000)
    await complete(plane, run, { outcome: "acted" })
    await post(plane, taskId, "@engineer one")
    const second = await engineersRun(plane)
    expect(contents(contextOf(second))).toEqual(["late", "@engineer one"])
    await complete(plane, second, { outcome: "acted" })
    expect(contents(await next(plane, taskId, "@engineer two"))).toEqual(["@engineer two"])
  })

  it("contains everything if its message is as old as what the last turn saw", async () => {
    const plane = await seededPlane()
    const taskId = await answered(plane)
    await post(plane, taskId, "@engineer the newest")
    const run = await engineersRun(plane)
    pass(-9_000)
    await plane.post(taskId, "@engineer late")
    pass(9_000)
    await complete(plane, run, { outcome: "acted" })
    const context = contextOf(await engineersRun(plane))
    expect(context.delta).toBeNull()
  })
})

describe("everything is sent again", () => {
  const endings: ReadonlyArray<readonly [string, (plane: Plane, run: Run) => Promise<unknown>]> = [
    ["after a failed turn", (plane, run) => fail(plane, run, { nextAttemptAt: Date.now() })],
    ["after a silence", (plane, run) => silence(plane, run)],
    ["after a turn that was aborted", (plane, run) => release(plane, run)],
    ["after a turn with an unknown outcome", (plane, run) => complete(plane, run, { turn: "failed" })],
    ["after a crash", (plane) => plane.pulse("r1", "b2")]
  ]
  for (const [when, end] of endings) {
    it(when, async () => {
      const plane = await seededPlane()
      const taskId = await answered(plane)
      await post(plane, taskId, "@engineer go on")
      const run = await engineersRun(plane)
      expect(contextOf(run).delta).not.toBeNull()
      await end(plane, run)
      await post(plane, taskId, "@engineer once more")
      const { runs } = await plane.take(when === "after a crash" ? { bootId: "b2", number: 1 } : {})
      const contexts = runs.map((each) => contextOf(each)).filter(({ agent }) => agent.slug === "engineer")
      expect(contexts[0]).toMatchObject({ delta: null })
      expect(contents(contexts[0]!).slice(0, 2)).toEqual(["before", "@engineer please"])
    })
  }

  it("in another generation, after four hours, and once the gateway's history became shorter", async () => {
    const plane = await seededPlane()
    const taskId = await answered(plane)
    const turn = async (more: object = {}) => {
      await post(plane, taskId, "@engineer go on")
      const run = await engineersRun(plane)
      await complete(plane, run, { outcome: "acted", ...more })
      return contextOf(run).delta === null ? "full" : "delta"
    }
    expect(await turn()).toBe("delta")
    await plane.mutate(api.service.sessions.rotate, { agent: "engineer" })
    expect(await turn()).toBe("full")
    pass(4 * hour - 1_000)
    expect(await turn()).toBe("delta")
    pass(4 * hour + 1)
    expect(await turn({ requestTokens: { first: 10_000, least: 9_000 } })).toBe("full")
    expect(await turn({ requestTokens: { first: 9_500, least: 9_500 } })).toBe("delta")
    // This turn shows it, so the next one builds on it.
    expect(await turn({ requestTokens: { first: 8_000, least: 8_000 } })).toBe("delta")
    expect(await turn({ requestTokens: { first: 9_000, least: 9_000 } })).toBe("full")
    expect(await turn()).toBe("delta")
  })

  it("but not after an outcome that needed no turn", async () => {
    const plane = await seededPlane()
    const taskId = await answered(plane)
    await post(plane, taskId, "@engineer go on")
    await complete(plane, await engineersRun(plane), { turn: "none" })
    expect(contents(await next(plane, taskId, "@engineer again"))).toEqual([
      "I begin.",
      "@engineer go on",
      "@engineer again"
    ])
  })

  it("but not for the same task in another session", async () => {
    const plane = await seededPlane({ sessionScope: "task" })
    await answered(plane)
    const other = await makeTask(plane)
    expect(await next(plane, other)).toMatchObject({ delta: null })
  })

  it("and unused rows are deleted daily", async () => {
    const plane = await seededPlane()
    await answered(plane)
    const rows = () => plane.t.run((ctx) => ctx.db.query("seenTasks").collect())
    await plane.t.mutation(internal.scheduled.retention.sweep, {})
    expect((await rows()).length).toBeGreaterThan(0)
    pass(4 * hour + 1)
    await plane.t.mutation(internal.scheduled.retention.sweep, {})
    expect(await rows()).toHaveLength(0)
  })

  it("and the session stores how long its history is", async () => {
    const plane = await seededPlane()
    await answered(plane, { requestTokens: { first: 7_000, least: 6_000 } })
    expect(await sessionOf(plane)).toMatchObject({ historyTokens: 6_000 })
  })
})
