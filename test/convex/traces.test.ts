import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { minute, pass, stopTime } from "./clock.ts"
import { complete, contextOf, fail, finish, heartbeatOf, makeTask, only, release, seededPlane } from "./controlPlane.ts"

stopTime()

describe("the trace of an attempt", () => {
  it("is passed to the next one, whether it failed or was released", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    expect(contextOf(run).earlier.trace).toBeUndefined()
    await fail(plane, run, { nextAttemptAt: Date.now(), traceId: "trace-1", spanId: "span-1" })
    const second = await plane.takeOne()
    expect(contextOf(second).earlier.trace).toEqual({ traceId: "trace-1", spanId: "span-1" })
    const shared = { class: "GatewayUnreachable", error: "down", nextAttemptAt: Date.now() }
    await release(plane, second, { ...shared, traceId: "trace-2", spanId: "span-2" })
    const third = await plane.takeOne()
    expect(contextOf(third).earlier.trace).toEqual({ traceId: "trace-2", spanId: "span-2" })
    // An attempt without a trace changes nothing.
    await release(plane, third)
    const fourth = await plane.takeOne()
    expect(contextOf(fourth).earlier.trace).toEqual({ traceId: "trace-2", spanId: "span-2" })
    await complete(plane, fourth, { outcome: "replied", reply: "Done.", traceId: "trace-4", spanId: "span-4" })
    expect(await plane.row(run.id)).toMatchObject({ outcome: "replied", traceId: "trace-4" })
  })

  it("is in the dead letter", async () => {
    const plane = await seededPlane()
    await makeTask(plane, [plane.engineer])
    await fail(plane, await plane.takeOne(), { traceId: "t".repeat(1_000), spanId: "span" })
    const [letter] = await plane.query(api.service.notifications.deadLetters, {})
    expect(letter?.traceId).toMatch(/^t+/)
    expect(letter?.traceId?.length).toBeLessThanOrEqual(100)
  })

  it("of a heartbeat is passed to its next attempt, but not to the next heartbeat", async () => {
    const plane = await seededPlane()
    const claim = async () => {
      const { runs } = await plane.take({ heartbeatLimit: 8 })
      return only(runs.filter((run) => heartbeatOf(run).agent.slug === "engineer"))
    }
    pass(2 * minute)
    const run = await claim()
    expect(heartbeatOf(run).earlier.trace).toBeUndefined()
    await fail(plane, run, { nextAttemptAt: Date.now(), traceId: "trace-1", spanId: "span-1" })
    const again = await claim()
    expect(heartbeatOf(again).earlier.trace).toEqual({ traceId: "trace-1", spanId: "span-1" })
    await finish(plane, again, { status: "idle", traceId: "trace-2", spanId: "span-2" })
    pass(20 * minute)
    const next = await claim()
    expect(next.id).not.toBe(run.id)
    expect(heartbeatOf(next).earlier.trace).toBeUndefined()
    const rows = await plane.t.run((ctx) => ctx.db.query("heartbeats").collect())
    expect(rows.flatMap(({ traceId }) => traceId ?? [])).toEqual(["trace-2"])
  })
})
