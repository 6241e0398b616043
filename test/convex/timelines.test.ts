import { describe, expect, it } from "vitest"
import { api, internal } from "../../convex/_generated/api.js"
import { pass, stopTime } from "./clock.ts"
import {
  codeOf,
  complete,
  fail,
  fenceOf,
  finish,
  type Leased,
  type Plane,
  runningTurn,
  release,
  seededPlane,
  spent
} from "./controlPlane.ts"

stopTime()

const round = {
  kind: "round" as const,
  round: 1,
  startMs: 40,
  durationMs: 1_200,
  inputTokens: 1_000,
  outputTokens: 10,
  error: null
}
const tool = { kind: "tool" as const, tool: "task_status", durationMs: 30, error: "forbidden" }
const usage = { ...spent(1_000), outputTokens: 10, steps: [round, tool] }

const timelineOf = async (plane: Plane, run: Leased) => (await plane.seen(api.app.runs.get, { run: run.id })).timeline
const record = (plane: Plane, run: Leased, more: object = {}) =>
  plane.mutate(api.service.usage.record, { ...fenceOf(run), usage: { ...usage, ...more } })

describe("the timeline of a run", () => {
  it("shows each attempt with its claim, context, steps, usage, end and trace", async () => {
    const { plane, run } = await runningTurn()
    const claimedAt = Date.now()
    pass(5_000)
    await fail(plane, run, { usage, nextAttemptAt: Date.now(), traceId: "trace-1", spanId: "span-1" })
    const second = await plane.takeOne()
    pass(2_000)
    await complete(plane, second, {
      outcome: "replied",
      reply: "Done.",
      usage: { ...usage, isDelta: true, steps: [round] }
    })
    expect(await timelineOf(plane, run)).toEqual([
      {
        epoch: run.epoch,
        claimedAt,
        runtimeId: "r1",
        endedAt: claimedAt + 5_000,
        end: "failed",
        reason: "TurnTimeout: took too long",
        traceId: "trace-1",
        isDelta: false,
        steps: [round, tool],
        stepsLeftOut: 0,
        usage: expect.objectContaining({ rounds: 1, model: "m", isEstimated: false })
      },
      expect.objectContaining({
        epoch: second.epoch,
        claimedAt: claimedAt + 5_000,
        endedAt: claimedAt + 7_000,
        end: "replied",
        reason: null,
        traceId: null,
        isDelta: true,
        steps: [round]
      })
    ])
  })

  it("shows the claim of the attempt that is running", async () => {
    const { plane, run } = await runningTurn()
    expect(await timelineOf(plane, run)).toMatchObject([
      { epoch: run.epoch, claimedAt: Date.now(), runtimeId: "r1", endedAt: null, end: null, steps: [], usage: null }
    ])
  })

  it("shows attempts that sent no request", async () => {
    const { plane, run } = await runningTurn()
    const nextAttemptAt = Date.now()
    await release(plane, run, { nextAttemptAt, class: "GatewayUnreachable", error: "ECONNREFUSED" })
    await complete(plane, await plane.takeOne(), { outcome: "skipped", reason: "task archived" })
    expect(await timelineOf(plane, run)).toMatchObject([
      { end: "released", reason: "GatewayUnreachable: ECONNREFUSED", isDelta: null, usage: null },
      { end: "skipped", reason: "task archived", isDelta: null, usage: null }
    ])
  })

  it("shows only the claim of a process that ended, and its report once it arrives", async () => {
    const { plane, run } = await runningTurn()
    await plane.pulse("r1", "b2")
    const claimed = { claimedAt: Date.now(), runtimeId: "r1" }
    expect(await timelineOf(plane, run)).toMatchObject([
      { ...claimed, end: "process_ended", isDelta: null, steps: [], usage: { isEstimated: true } }
    ])
    await record(plane, run)
    expect(await timelineOf(plane, run)).toMatchObject([
      { ...claimed, end: "lease_lost", isDelta: false, steps: [round, tool], usage: { isEstimated: false } }
    ])
  })

  it.each([
    ["before its session is free", false],
    ["after its session is free", true]
  ])("shows a stopped attempt once, with what it reports %s", async (_, isFreeBefore) => {
    const { plane, run } = await runningTurn()
    await plane.asPerson(api.app.runs.stop, { run: run.id })
    const free = () => plane.claim({ held: [] })
    if (isFreeBefore) await free()
    await record(plane, run)
    if (!isFreeBefore) await free()
    expect(await timelineOf(plane, run)).toMatchObject([
      { end: "stopped", runtimeId: "r1", steps: [round, tool], usage: { isEstimated: false } }
    ])
  })

  it("keeps the latest 60 steps of what a runtime reports, and cuts their texts", async () => {
    const { plane, run } = await runningTurn()
    const long = { ...tool, tool: "t".repeat(1_000), error: "e".repeat(1_000) }
    const steps = [round, ...Array.from({ length: 70 }, () => long)]
    await fail(plane, run, { usage: { ...usage, steps, stepsLeftOut: 2 }, error: "x".repeat(5_000) })
    const [attempt] = await timelineOf(plane, run)
    expect(attempt?.steps).toHaveLength(60)
    expect(attempt?.steps[0]).toEqual({ ...tool, tool: "t".repeat(64), error: "e".repeat(64) })
    expect(attempt?.stepsLeftOut).toBe(13)
    expect(attempt?.reason).toHaveLength(300)
  })

  it("is kept with a dead letter, and deleted with its notification", async () => {
    const { plane, run } = await runningTurn()
    await fail(plane, run, { usage })
    const attempts = async () => {
      await plane.t.mutation(internal.scheduled.retention.sweep, {})
      return (await plane.t.run((ctx) => ctx.db.query("attempts").collect())).length
    }
    pass(200 * 24 * 60 * 60_000)
    expect(await attempts()).toBe(1)
    await plane.mutate(api.service.notifications.discardDeadLetter, { id: run.id })
    expect(await attempts()).toBe(0)
  })
})

describe("the details of a heartbeat", () => {
  /** The first heartbeat of the account, claimed. */
  const claimed = async () => {
    const plane = await seededPlane()
    pass(15 * 60_000)
    return { plane, run: await plane.takeOne({ limit: 1, heartbeatLimit: 1 }) }
  }
  const detailsOf = (plane: Plane, run: Leased) => plane.seen(api.app.runs.get, { run: run.id })

  it("show its claim while it runs", async () => {
    const { plane, run } = await claimed()
    const dueAt = Number(run.id.split(":")[1])
    expect(await detailsOf(plane, run)).toMatchObject({
      run: { id: run.id, kind: "heartbeat", taskId: null, state: "running", runtimeId: "r1", attempts: 1 },
      createdAt: dueAt,
      claims: 1,
      events: [],
      timeline: [{ epoch: run.epoch, claimedAt: Date.now(), end: null }]
    })
  })

  it("show the recorded attempts of one that ended, and nothing of one that spent nothing", async () => {
    const { plane, run } = await claimed()
    await finish(plane, run, { usage })
    expect(await detailsOf(plane, run)).toMatchObject({
      run: { state: "delivered", attempts: 1 },
      timeline: [{ epoch: run.epoch, end: "finished", steps: [round, tool] }]
    })
    const next = await plane.takeOne({ limit: 1, heartbeatLimit: 1 })
    await finish(plane, next)
    expect(await codeOf(detailsOf(plane, next))).toBe("not_found")
  })

  it("are not shown to another account", async () => {
    const { plane, run } = await claimed()
    const other = await plane.secondAccount()
    expect(await codeOf(plane.t.query(api.service.runs.get, { ...other, run: run.id }))).toBe("not_found")
  })
})
