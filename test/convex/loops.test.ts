import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { hour, pass, stopTime } from "./clock.ts"
import {
  complete,
  contextOf,
  fail,
  fenceOf,
  finish,
  heartbeatOf,
  makeTask,
  only,
  type Plane,
  refusalOf,
  type Run,
  seededPlane,
  settings
} from "./controlPlane.ts"

stopTime()

const maxTurns = 3

/** A task on which the engineer and QA hand work to each other until no one is notified. */
const scene = async () => {
  const plane = await seededPlane()
  await plane.asPerson(api.app.agents.update, { agentId: plane.lead, isOrchestrator: false })
  const taskId = await makeTask(plane)
  const take = async () => (await plane.take({ maxTurns })).runs
  const handOver = (run: Run) => {
    const other = contextOf(run).agent.slug === "qa" ? "engineer" : "qa"
    return complete(plane, run, { outcome: "replied", reply: `@${other} your turn` })
  }
  /** The agents in the order of their turns. */
  const play = async () => {
    const turns: Array<string> = []
    for (;;) {
      const runs = await take()
      if (runs.length === 0) return turns
      for (const run of runs) {
        turns.push(contextOf(run).agent.slug)
        await handOver(run)
      }
    }
  }
  const notes = async () => (await plane.thread(taskId)).filter(({ kind }) => kind === "note")
  return { plane, taskId, take, handOver, play, notes }
}

const notifiedOf = (plane: Plane, taskId: string) =>
  plane.t.run(async (ctx) =>
    (await ctx.db.query("notifications").collect()).filter(
      (row) =>
        row.taskId === taskId &&
        row.memberId === plane.memberId &&
        row.events.some(({ actor }) => actor.type === "system")
    )
  )

describe("the limit of agents' turns on a task", () => {
  it("ends a chain of agents, and notifies the task's creator once of how to let them continue", async () => {
    const { notes, plane, play, taskId } = await scene()
    await plane.post(taskId, "@engineer begin")
    expect(await play()).toEqual(["engineer", "qa", "engineer"])
    const note = only(await notes())
    expect(note.author).toMatchObject({ type: "system" })
    expect(note.content).toBe(
      "Agents have had 3 turns on this task since a person last acted on it, which is the limit " +
        "(MAX_AGENT_TURNS_PER_TASK). From now on their messages here notify no agent, and their heartbeats skip the task. " +
        "Write a message here to let them continue."
    )
    expect(await notifiedOf(plane, taskId)).toHaveLength(1)
    await plane.post(taskId, "@qa go on")
    expect(await play()).toEqual(["qa", "engineer", "qa"])
    expect(await notes()).toHaveLength(2)
  })

  it("is known to the agent in its last turn", async () => {
    const { handOver, plane, take, taskId } = await scene()
    await plane.post(taskId, "@engineer begin")
    for (let turn = 1; turn < maxTurns; turn += 1) await handOver(only(await take()))
    const { thread } = contextOf(only(await take()))
    expect(thread.at(-1)?.content).toContain("MAX_AGENT_TURNS_PER_TASK")
  })

  it("notifies the account's owner for a task that an agent created", async () => {
    const { plane, play } = await scene()
    await plane.asPerson(api.app.accounts.configure, { agentFlags: { canCreateTasks: true } })
    await plane.asPerson(api.app.agents.update, { agentId: plane.engineer, isOrchestrator: true })
    await plane.post(await makeTask(plane), "@engineer make a task")
    const run = await plane.takeOne()
    const made = { ...fenceOf(run), settings, title: "Made", assigneeSlugs: ["qa"] }
    const { taskId } = await plane.mutate(api.service.tasks.create, made)
    await complete(plane, run)
    await play()
    expect(await notifiedOf(plane, taskId)).toHaveLength(1)
  })

  it("skips pending work that only agents caused, and keeps work with an event from a person", async () => {
    const { plane, take, taskId } = await scene()
    await plane.post(taskId, "@engineer @qa begin")
    const [first, second] = await take()
    if (first === undefined || second === undefined) throw new Error("expected two runs")
    await complete(plane, first, { outcome: "replied", reply: "@squad-lead @lead look" })
    await complete(plane, second, { outcome: "replied", reply: "@engineer look" })
    const third = only((await plane.take({ maxTurns, limit: 1 })).runs)
    const states = async () =>
      plane.t.run(async (ctx) =>
        (await ctx.db.query("notifications").collect())
          .filter(({ outcomeReason }) => outcomeReason?.includes("turns") === true)
          .map(({ outcome, state }) => [state, outcome])
      )
    expect(await states()).toEqual([["delivered", "skipped"]])
    await complete(plane, third, { outcome: "replied", reply: "@qa look" })
    expect(await take()).toEqual([])
    await plane.post(taskId, "@engineer and you")
    expect(contextOf(only(await take())).agent.slug).toBe("engineer")
  })

  it.each([
    ["a person's message", (plane: Plane, taskId: string) => plane.post(taskId, "@qa go on")],
    [
      "a person's assignment",
      (plane: Plane, taskId: string) => plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds: [plane.qa] })
    ]
  ])("starts again with %s", async (_, act) => {
    const { plane, play, taskId } = await scene()
    await plane.post(taskId, "@engineer begin")
    await play()
    await act(plane, taskId)
    expect(await play()).toHaveLength(maxTurns)
  })

  it("counts a turn once, however often it is retried", async () => {
    const { handOver, plane, play, take, taskId } = await scene()
    await plane.post(taskId, "@engineer begin")
    for (let attempt = 1; attempt < 5; attempt += 1) {
      await fail(plane, only(await take()), { nextAttemptAt: Date.now() })
    }
    await handOver(only(await take()))
    expect(await play()).toEqual(["qa", "engineer"])
  })

  it("leaves the task out of heartbeats until a person acts on it", async () => {
    const { plane, play, taskId } = await scene()
    await plane.asPerson(api.app.tasks.assign, { taskId, assigneeIds: [plane.engineer] })
    const shown = async () => {
      pass(hour)
      const { runs } = await plane.take({ maxTurns, heartbeatLimit: 8 })
      const tasks: Array<string> = []
      for (const run of runs) {
        if (run.kind === "heartbeat") {
          if (heartbeatOf(run).agent.slug === "engineer")
            tasks.push(...heartbeatOf(run).tasks.map(({ task }) => task.id))
          await finish(plane, run)
        } else await complete(plane, run)
      }
      return tasks
    }
    await play()
    expect(await shown()).toEqual([])
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "review" })
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "in_progress" })
    await shown()
    expect(await shown()).toEqual([taskId])
  })

  it("is the reason why a response request asks no one", async () => {
    const { handOver, plane, take, taskId } = await scene()
    await plane.post(taskId, "@engineer begin")
    for (let turn = 1; turn < maxTurns; turn += 1) await handOver(only(await take()))
    const run = only(await take())
    const asked = { ...fenceOf(run), settings, recipientSlugs: ["qa"], message: "Help?", taskId }
    expect(await plane.mutate(api.service.responseRequests.create, asked)).toMatchObject({
      asked: [],
      skipped: [{ slug: "qa", reason: "agents have used up their turns on this task until a person acts on it" }]
    })
  })
})

describe("the limits of created tasks", () => {
  const creator = async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.accounts.configure, { agentFlags: { canCreateTasks: true } })
    const taskId = await makeTask(plane)
    const create = (run: Run, title: string, more: object = {}) =>
      plane.mutate(api.service.tasks.create, { ...fenceOf(run), settings, title, ...more })
    return { plane, taskId, create }
  }

  it("let a run create 20 tasks, and give a repeated call its first answer", async () => {
    const { create, plane, taskId } = await creator()
    await plane.post(taskId, "@engineer plan")
    const run = await plane.takeOne()
    for (let count = 0; count < 20; count += 1) await create(run, `task ${count}`)
    expect(await refusalOf(create(run, "one more"))).toMatchObject({
      code: "limit",
      message: "This turn has created 20 tasks, which is the limit of one turn. Leave the others for later."
    })
    expect(await create(run, "task 3")).toMatchObject({ repeated: true })
  })

  it("let a chain of agents' turns create 100 tasks, and another chain as many", async () => {
    const { create, plane, taskId } = await creator()
    const agents = ["engineer", "qa"]
    await plane.post(taskId, "@engineer plan")
    for (let turn = 0; turn < 5; turn += 1) {
      const run = await plane.takeOne()
      for (let count = 0; count < 20; count += 1) await create(run, `task ${turn} ${count}`)
      await complete(plane, run, { outcome: "replied", reply: `@${agents[(turn + 1) % 2]} go on` })
    }
    const last = await plane.takeOne()
    expect(await refusalOf(create(last, "one more"))).toMatchObject({
      code: "limit",
      message:
        "This chain of agents' turns has created 100 tasks, which is the limit. " +
        "Write in the thread what else is needed, and wait for a person to answer."
    })
    await complete(plane, last)
    await plane.post(taskId, "@engineer once more")
    await create(await plane.takeOne(), "of a new chain")
  })
})
