import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { fenceOf, first, type Plane, seededPlane } from "./controlPlane.ts"

const minute = 60_000

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

/** What a failure that is tried again says, but for its times and its trace. */
const timedOut = { class: "TurnTimeout", error: "took too long", silence: false, silenceLimit: 3, maxHops: 12 }

const pass = (ms: number) => vi.setSystemTime(Date.now() + ms)

/** What the next attempt of the claimed notification is told of the one before. */
const earlierOf = async (plane: Plane, id: string) => {
  const [answer] = await plane.query(api.service.notifications.context, { ids: [id] })
  if (answer === undefined || !("context" in answer)) throw new Error("no context")
  return answer.context.earlier.trace
}

describe("the trace of an attempt", () => {
  it("is told to the next one, whether it failed or was given back", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.tasks.create, { title: "Ship it", assigneeIds: [plane.engineer] })
    const delivery = first((await plane.claim()).deliveries)
    const id = first(delivery.notificationIds)
    expect(await earlierOf(plane, id)).toBeUndefined()
    await plane.mutate(api.service.notifications.fail, {
      ...fenceOf(delivery),
      ...timedOut,
      nextAttemptAt: Date.now(),
      traceId: "trace-1",
      spanId: "span-1"
    })
    const second = first((await plane.claim()).deliveries)
    expect(await earlierOf(plane, id)).toEqual({ traceId: "trace-1", spanId: "span-1" })
    await plane.mutate(api.service.notifications.release, {
      ...fenceOf(second),
      class: "GatewayUnreachable",
      error: "away",
      nextAttemptAt: Date.now(),
      traceId: "trace-2",
      spanId: "span-2"
    })
    const third = first((await plane.claim()).deliveries)
    expect(await earlierOf(plane, id)).toEqual({ traceId: "trace-2", spanId: "span-2" })
    // An attempt without a trace says nothing new.
    await plane.mutate(api.service.notifications.release, fenceOf(third))
    const fourth = first((await plane.claim()).deliveries)
    expect(await earlierOf(plane, id)).toEqual({ traceId: "trace-2", spanId: "span-2" })
    await plane.mutate(api.service.notifications.complete, {
      ...fenceOf(fourth),
      outcome: "replied",
      reply: "Done.",
      maxHops: 12,
      traceId: "trace-4",
      spanId: "span-4"
    })
    expect(await plane.row(id)).toMatchObject({ outcome: "replied", traceId: "trace-4" })
  })

  it("stands in the dead letter", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.tasks.create, { title: "Ship it", assigneeIds: [plane.engineer] })
    const delivery = first((await plane.claim()).deliveries)
    await plane.mutate(api.service.notifications.fail, {
      ...fenceOf(delivery),
      class: "TurnRefused",
      error: "no",
      silence: false,
      silenceLimit: 3,
      maxHops: 12,
      traceId: "t".repeat(1_000),
      spanId: "span"
    })
    const [letter] = await plane.query(api.service.notifications.deadLetters, {})
    expect(letter?.traceId).toMatch(/^t+/)
    expect(letter?.traceId?.length).toBeLessThanOrEqual(100)
  })

  it("of a heartbeat is told to its next attempt, and not to the next heartbeat", async () => {
    const plane = await seededPlane()
    let requests = 0
    const claimBeat = async () => {
      const answer = await plane.mutate(api.service.sessions.claimBeat, {
        requestId: `beat-${(requests += 1)}`,
        runtimeId: "r1",
        bootId: "b1",
        agentId: plane.engineer,
        leaseMs: 90_000,
        parkedAgents: []
      })
      return "claimed" in answer ? answer.claimed : undefined
    }
    await claimBeat()
    pass(2 * minute)
    const beat = await claimBeat()
    expect(beat?.context.earlier.trace).toBeUndefined()
    await plane.mutate(api.service.notifications.fail, {
      ...fenceOf(beat!),
      ...timedOut,
      nextAttemptAt: Date.now(),
      traceId: "trace-1",
      spanId: "span-1"
    })
    const again = await claimBeat()
    expect(again?.context.earlier.trace).toEqual({ traceId: "trace-1", spanId: "span-1" })
    await plane.mutate(api.service.agents.updateAgentHeartbeat, {
      ...fenceOf(again!),
      maxHops: 12,
      status: "idle",
      traceId: "trace-2",
      spanId: "span-2"
    })
    pass(20 * minute)
    const next = await claimBeat()
    expect(next?.heartbeatId).not.toBe(beat?.heartbeatId)
    expect(next?.context.earlier.trace).toBeUndefined()
    const rows = await plane.t.run((ctx) => ctx.db.query("heartbeats").collect())
    expect(rows.map(({ traceId }) => traceId)).toEqual(["trace-2"])
  })
})
