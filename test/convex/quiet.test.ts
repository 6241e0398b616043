import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { agentActor } from "../../convex/model/accounts/actor.ts"
import { postMessage } from "../../convex/model/threads/messages.ts"
import { pass, stopTime } from "./clock.ts"
import {
  complete,
  contextOf,
  only,
  type Plane,
  seededPlane,
  settings,
  withoutHeartbeats,
  taskWorkedOn
} from "./controlPlane.ts"

stopTime()

const second = 1_000
const quiet = { ...settings, quietTimeMs: 60 * second, quietLimitMs: 150 * second }

/** A task that the engineer has worked on, and in which QA writes. */
const scene = async (made?: Plane) => {
  const plane = made ?? (await withoutHeartbeats(await seededPlane()))
  // QA's messages notify only the engineer.
  await plane.asPerson(api.app.agents.update, { agentId: plane.lead, isOrchestrator: false })
  const taskId = await taskWorkedOn(plane)
  /** QA posts in the task. */
  const postAsQa = (content = "news", changed: object = {}) =>
    plane.t.run(async (context) => {
      const ctx = context as never as Parameters<typeof postMessage>[0]
      const task = await ctx.db.get("tasks", taskId as Id<"tasks">)
      const agent = await ctx.db.get("agents", plane.qa)
      if (task === null || agent === null) throw new Error("expected a task and an agent")
      const origin = { actor: agentActor(agent), hops: 1, settings: { ...quiet, ...changed } }
      await postMessage(ctx, task, { content, kind: "reply" }, origin)
    })
  /** The engineer's runs in a claim. */
  const taken = async () => (await plane.take()).runs.filter((run) => contextOf(run).agent.slug === "engineer")
  const eventsTaken = async () => (await taken()).map((run) => contextOf(run).events.map(({ type }) => type))
  const wakes = async (act: () => Promise<unknown>) => {
    const before = await plane.wakes()
    await act()
    return (await plane.wakes()) - before
  }
  return { plane, taskId, postAsQa, taken, eventsTaken, wakes }
}

describe("an agent's message that mentions no one", () => {
  it("waits for quiet without a push, and the next claim and pulse return until when", async () => {
    const { eventsTaken, plane, postAsQa, wakes } = await scene()
    expect(await wakes(postAsQa)).toBe(0)
    const dueAt = Date.now() + quiet.quietTimeMs
    expect(await plane.take()).toMatchObject({ runs: [], oldest: null, nextDueAt: dueAt })
    expect(await plane.pulse()).toMatchObject({ oldest: null, nextDueAt: dueAt })
    pass(quiet.quietTimeMs - 1)
    expect(await eventsTaken()).toEqual([])
    pass(1)
    expect(await plane.pulse()).toMatchObject({ oldest: dueAt, nextDueAt: Date.now() })
    expect(await eventsTaken()).toEqual([["thread_update"]])
  })

  it("waits longer with each further message, at most for the limit after the first", async () => {
    const { eventsTaken, plane, postAsQa } = await scene()
    const start = Date.now()
    for (let count = 0; count < 4; count += 1) {
      await postAsQa()
      pass(40 * second)
      if (count < 3) expect(await plane.take()).toMatchObject({ runs: [] })
    }
    expect(Date.now() - start).toBe(160 * second)
    expect(await eventsTaken()).toEqual([Array.from({ length: 4 }, () => "thread_update")])
  })

  it("stays due after the first quiet, whatever is written before a claim", async () => {
    const { eventsTaken, postAsQa } = await scene()
    await postAsQa()
    pass(quiet.quietTimeMs)
    await postAsQa()
    expect(await eventsTaken()).toEqual([["thread_update", "thread_update"]])
  })

  it("does not wait with a quiet time of 0", async () => {
    const { eventsTaken, postAsQa, wakes } = await scene()
    expect(await wakes(() => postAsQa("news", { quietTimeMs: 0 }))).toBe(1)
    expect(await eventsTaken()).toEqual([["thread_update"]])
  })

  it.each([
    ["a person's message", (plane: Plane, taskId: string) => plane.post(taskId, "and?")],
    [
      "a change of status",
      (plane: Plane, taskId: string) => plane.asPerson(api.app.tasks.setStatus, { taskId, status: "in_progress" })
    ]
  ])("stops waiting once %s joins it, which wakes the runtimes", async (_, act) => {
    const { plane, postAsQa, taken, taskId, wakes } = await scene()
    await postAsQa()
    pass(20 * second)
    expect(await wakes(() => act(plane, taskId))).toBeGreaterThan(0)
    const run = only(await taken())
    expect(contextOf(run).events).toHaveLength(2)
    expect(run.readyAt).toBe(Date.now())
    await complete(plane, run)
    pass(quiet.quietLimitMs)
    expect(await plane.take()).toMatchObject({ runs: [], nextDueAt: null })
  })

  it("stops waiting once another agent's mention joins it", async () => {
    const { eventsTaken, postAsQa, wakes } = await scene()
    await postAsQa()
    expect(await wakes(() => postAsQa("@engineer look"))).toBe(1)
    expect(await eventsTaken()).toEqual([["thread_update", "mention"]])
  })

  it("waits for the agent's next turn if it arrives during one, and for quiet after the end of that turn", async () => {
    const { eventsTaken, plane, postAsQa, taken, taskId, wakes } = await scene()
    await plane.post(taskId, "@engineer go")
    const run = only(await taken())
    await postAsQa()
    pass(20 * second)
    expect(await wakes(() => complete(plane, run))).toBe(0)
    expect(await eventsTaken()).toEqual([])
    pass(40 * second)
    expect(await eventsTaken()).toEqual([["thread_update"]])
  })

  it("is due at the end of a turn that outlasts the quiet time, which wakes the runtimes", async () => {
    const { plane, postAsQa, taken, taskId, wakes } = await scene()
    await plane.post(taskId, "@engineer go")
    const run = only(await taken())
    await postAsQa()
    pass(quiet.quietTimeMs)
    expect(await wakes(() => complete(plane, run))).toBe(1)
  })

  it("delays neither other work of the agent nor its heartbeat, and is not due before its time", async () => {
    const plane = await seededPlane()
    const { postAsQa } = await scene(plane)
    pass(60 * 60 * second)
    await postAsQa()
    const { runs } = await plane.claim({ heartbeatLimit: 8 })
    expect(runs.filter(({ kind }) => kind === "notification")).toEqual([])
    expect(runs.some(({ id }) => id.startsWith(plane.engineer))).toBe(true)
  })

  it("comes after due work on another task, even in the same session", async () => {
    const { eventsTaken, plane, postAsQa } = await scene()
    await postAsQa()
    await plane.asPerson(api.app.tasks.create, { title: "Other", assigneeIds: [plane.engineer] })
    expect(await eventsTaken()).toEqual([["assignment"]])
  })
})
