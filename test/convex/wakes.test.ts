import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { minute, pass, stopTime } from "./clock.ts"
import {
  complete,
  fail,
  fenceOf,
  finish,
  leaseOf,
  makeTask,
  type Plane,
  release,
  seededPlane,
  withoutHeartbeats,
  taskWorkedOn,
  settings
} from "./controlPlane.ts"

stopTime()

/** How often this wakes the runtimes. */
const wakesBy = async (plane: Plane, act: () => Promise<unknown>): Promise<number> => {
  const before = await plane.wakes()
  await act()
  return (await plane.wakes()) - before
}

const scene = async (settings: { readonly sessionScope?: "agent" | "task" } = {}) =>
  withoutHeartbeats(await seededPlane(settings))

describe("runtimes are woken", () => {
  it("by an insert that makes a session due, once for each agent", async () => {
    const plane = await scene()
    expect(await wakesBy(plane, () => makeTask(plane, [plane.engineer, plane.qa]))).toBe(2)
  })

  it("by an operator's retry of a dead letter", async () => {
    const plane = await scene()
    await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    await fail(plane, run)
    const retry = () => plane.mutate(api.service.notifications.retryDeadLetter, { id: run.id })
    expect(await wakesBy(plane, retry)).toBe(1)
  })

  it("by a release without a retry time", async () => {
    const plane = await scene()
    await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    expect(await wakesBy(plane, () => release(plane, run))).toBe(1)
  })

  it("by the last claim of a process, for each agent whose work it releases", async () => {
    const plane = await scene()
    await makeTask(plane, [plane.engineer, plane.qa])
    const { runs } = await plane.take()
    expect(await wakesBy(plane, () => plane.claim({ limit: 0, held: runs.slice(1).map(leaseOf) }))).toBe(1)
  })

  it("by a rescue: by the next boot's pulse, and by a claim that takes another runtime's expired lease", async () => {
    const plane = await scene()
    await plane.pulse("r2", "c1")
    await makeTask(plane, [plane.engineer, plane.qa])
    await plane.take({ limit: 1 })
    await plane.take({ limit: 1, runtimeId: "r2", bootId: "c1" })
    expect(await wakesBy(plane, () => plane.pulse("r1", "b2"))).toBe(1)
    pass(90_001)
    expect(await wakesBy(plane, () => plane.take({ bootId: "b2" }))).toBe(1)
  })

  it.each(["agent", "task"] as const)(
    "by an outcome that frees a session of an agent with due work, with a session per %s",
    async (sessionScope) => {
      const plane = await scene({ sessionScope })
      await makeTask(plane, [plane.engineer])
      await makeTask(plane, [plane.engineer])
      const run = await plane.takeOne({ limit: 1 })
      expect(await wakesBy(plane, () => complete(plane, run))).toBe(1)
    }
  )

  it("by the end of a heartbeat that delayed deliveries, and of a delivery that delayed a heartbeat", async () => {
    const plane = await seededPlane()
    pass(2 * minute)
    const heartbeats = (await plane.take({ heartbeatLimit: 8 })).runs
    const engineers = heartbeats.find(({ id }) => id.startsWith(plane.engineer))
    if (engineers === undefined) throw new Error("expected the engineer's heartbeat")
    expect(await wakesBy(plane, () => makeTask(plane, [plane.engineer]))).toBe(0)
    expect(await wakesBy(plane, () => finish(plane, engineers))).toBe(1)
    const run = await plane.takeOne()
    pass(15 * minute)
    expect(await wakesBy(plane, () => complete(plane, run))).toBe(1)
  })

  it("by an event that joins work which was not due, if its head start makes it due", async () => {
    const plane = await scene()
    const taskId = await taskWorkedOn(plane)
    await plane.post(taskId, "@engineer first")
    await release(plane, await plane.takeOne(), { nextAttemptAt: Date.now() + minute })
    expect(await wakesBy(plane, () => plane.post(taskId, "@engineer second"))).toBe(1)
  })

  it("by a new agent and by a changed schedule, because the next due time may change", async () => {
    const plane = await seededPlane()
    const { create, update } = api.app.agents
    const add = () => plane.asPerson(create, { slug: "new", name: "New" })
    expect(await wakesBy(plane, add)).toBe(1)
    expect(await wakesBy(plane, () => plane.asPerson(update, { agentId: plane.qa, heartbeat: 5 }))).toBe(1)
    expect(await wakesBy(plane, () => plane.asPerson(update, { agentId: plane.qa, role: "Tester" }))).toBe(0)
  })
})

describe("runtimes are not woken", () => {
  it("by a claim, full or empty", async () => {
    const plane = await scene()
    expect(await wakesBy(plane, () => plane.take())).toBe(0)
    await makeTask(plane, [plane.engineer, plane.qa])
    expect(await wakesBy(plane, () => plane.take({ limit: 1 }))).toBe(0)
    expect(await wakesBy(plane, () => plane.take())).toBe(0)
  })

  it("by a claim that returns a lease again", async () => {
    const plane = await scene()
    await makeTask(plane, [plane.engineer])
    await plane.claim()
    expect(await wakesBy(plane, () => plane.claim())).toBe(0)
  })

  it("by a renewal or a pulse of the same boot", async () => {
    const plane = await scene()
    await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    const boot = { runtimeId: "r1", bootId: "b1", leaseMs: 90_000 }
    expect(
      await wakesBy(plane, () => plane.mutate(api.service.notifications.renew, { ...boot, leases: [leaseOf(run)] }))
    ).toBe(0)
    expect(await wakesBy(plane, () => plane.pulse())).toBe(0)
  })

  it("by the end of a single delivery", async () => {
    const plane = await scene()
    const taskId = await makeTask(plane, [plane.engineer])
    expect(await wakesBy(plane, async () => complete(plane, await plane.takeOne()))).toBe(0)
    await plane.post(taskId, "@engineer hello")
    const run = await plane.takeOne()
    // The reply notifies the orchestrator, which is a subscriber.
    expect(await wakesBy(plane, () => complete(plane, run, { outcome: "replied", reply: "Hello." }))).toBe(1)
  })

  it.each(["agent", "task"] as const)(
    "by the end of one agent's run if only another agent has due work, with a session per %s",
    async (sessionScope) => {
      const plane = await scene({ sessionScope })
      await makeTask(plane, [plane.engineer])
      const run = await plane.takeOne()
      await makeTask(plane, [plane.qa])
      expect(await wakesBy(plane, () => complete(plane, run))).toBe(0)
    }
  )

  it("by a failure or a shared failure that is retried later", async () => {
    const plane = await scene()
    await makeTask(plane, [plane.engineer])
    const nextAttemptAt = Date.now() + minute
    const run = await plane.takeOne()
    expect(await wakesBy(plane, () => fail(plane, run, { nextAttemptAt }))).toBe(0)
    pass(minute)
    const again = await plane.takeOne()
    const later = { nextAttemptAt: Date.now() + minute, class: "ProviderFailed" }
    expect(await wakesBy(plane, () => release(plane, again, later))).toBe(0)
  })

  it("by an insert into a leased session, or behind earlier work", async () => {
    const plane = await scene()
    const taskId = await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    expect(await wakesBy(plane, () => plane.post(taskId, "@engineer more"))).toBe(0)
    await complete(plane, run)
    expect(await wakesBy(plane, () => makeTask(plane, [plane.engineer]))).toBe(0)
    expect(await wakesBy(plane, () => plane.post(taskId, "@engineer even more"))).toBe(0)
  })

  it("by an event that joins work which is due already, even if it moves it forward", async () => {
    const plane = await scene()
    const taskId = await taskWorkedOn(plane)
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "in_progress" })
    expect(await wakesBy(plane, () => plane.post(taskId, "@engineer now"))).toBe(0)
  })

  it("by notifications of people, and by what a run does to its own task", async () => {
    const plane = await scene()
    const taskId = await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    const fence = { ...fenceOf(run), settings }
    const document = { title: "D", content: "c", type: "note" as const }
    expect(await wakesBy(plane, () => plane.mutate(api.service.documents.upsert, { ...fence, ...document }))).toBe(0)
    expect(
      await wakesBy(plane, () => plane.mutate(api.service.tasks.setStatus, { ...fence, taskId, status: "in_progress" }))
    ).toBe(0)
    expect(await wakesBy(plane, () => complete(plane, run, { outcome: "acted", note: "Done." }))).toBe(0)
  })

  it("by the removal of an agent or a task", async () => {
    const plane = await scene()
    await makeTask(plane, [plane.engineer])
    expect(await wakesBy(plane, () => plane.asPerson(api.app.agents.remove, { agentId: plane.engineer }))).toBe(0)
  })
})

describe("the push", () => {
  it("changes with every wake-up", async () => {
    const plane = await scene()
    const seen = new Set([await plane.wakes()])
    for (let count = 0; count < 5; count += 1) {
      const taskId = await makeTask(plane, [plane.engineer, plane.qa])
      seen.add(await plane.wakes())
      for (const run of (await plane.take()).runs) await complete(plane, run)
      expect(taskId).not.toBe("")
    }
    expect(seen.size).toBe(6)
  })

  it("of a pause and a resume comes with the commands", async () => {
    const plane = await scene()
    await makeTask(plane, [plane.engineer])
    const paused = async () => (await plane.query(api.service.runtimes.commands, { runtimeId: "r1" })).paused
    await plane.asPerson(api.app.runtimes.pause, {})
    expect(await paused()).toBe(true)
    await plane.asPerson(api.app.runtimes.resume, {})
    expect(await paused()).toBe(false)
  })
})
