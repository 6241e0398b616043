import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { hour, pass, stopTime } from "./clock.ts"
import { codeOf, complete, contextOf, makeTask, release, seededPlane, silence } from "./controlPlane.ts"

stopTime()

describe("rotating a session", () => {
  it("takes effect at the next claim, and repeating it changes nothing more", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    const rotate = () => plane.mutate(api.service.sessions.rotate, { agent: "engineer" })
    // The sessions of deliveries and of heartbeats.
    expect(await rotate()).toEqual({ rotated: 2 })
    await rotate()
    const [preview] = await plane.query(api.service.notifications.context, { ids: [run.id] })
    expect(preview).toMatchObject({ context: { generation: 1 } })
    await release(plane, run)
    expect(contextOf(await plane.takeOne()).sessionKey).toMatch(/:g2$/)
  })

  it("is not lost if a run already uses the next generation, which is kept when the run completes", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane, [plane.engineer])
    await silence(plane, await plane.takeOne(), { rotate: true })
    const tried = await plane.takeOne()
    await plane.mutate(api.service.sessions.rotate, { agent: "engineer" })
    await complete(plane, tried, { outcome: "acted" })
    await plane.post(taskId, "@engineer and now?")
    const { runs } = await plane.take()
    const contexts = runs.map((run) => contextOf(run))
    expect(contexts.find(({ agent }) => agent.slug === "engineer")).toMatchObject({ generation: 3 })
  })

  it("starts automatically after a turn with a long history, once the session has no waiting work", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane, [plane.engineer])
    const first = await plane.takeOne()
    await plane.post(taskId, "@engineer one more thing")
    const end = { outcome: "acted", isHistoryLong: true }
    await complete(plane, first, end)
    const second = await plane.takeOne()
    expect(contextOf(second)).toMatchObject({ generation: 1, delta: {} })
    await complete(plane, second, end)
    await plane.post(taskId, "@engineer and now?")
    const contexts = (await plane.take()).runs.map((run) => contextOf(run))
    expect(contexts.find(({ agent }) => agent.slug === "engineer")).toMatchObject({ generation: 2, delta: null })
  })

  it("starts automatically after fourteen days without use, because gateways delete unused sessions", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane, [plane.engineer])
    await complete(plane, await plane.takeOne(), { outcome: "acted" })
    const generationAfter = async (silence: number) => {
      pass(silence)
      await plane.post(taskId, "@engineer and now?")
      const { runs } = await plane.take()
      for (const run of runs) await complete(plane, run, { outcome: "acted" })
      return runs.map((run) => contextOf(run)).find(({ agent }) => agent.slug === "engineer")?.generation
    }
    expect(await generationAfter(14 * 24 * hour)).toBe(1)
    expect(await generationAfter(14 * 24 * hour + 1)).toBe(2)
    expect(await generationAfter(hour)).toBe(2)
  })

  it("does not change a lease that is returned again", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    await plane.takeOne()
    await plane.mutate(api.service.sessions.rotate, { agent: "engineer" })
    const { runs } = await plane.claim()
    expect(runs.map((run) => contextOf(run).generation)).toEqual([1])
  })

  it("refuses an unknown agent or task, and a task on which the agent has no session", async () => {
    const plane = await seededPlane({ sessionScope: "task" })
    const taskId = await makeTask(plane)
    const rotate = (args: { agent: string; taskId?: string }) => plane.mutate(api.service.sessions.rotate, args)
    expect(await codeOf(rotate({ agent: "nobody" }))).toBe("not_found")
    expect(await codeOf(rotate({ agent: "engineer", taskId: "nonsense" }))).toBe("not_found")
    expect(await codeOf(rotate({ agent: "engineer", taskId }))).toBe("not_found")
  })
})
