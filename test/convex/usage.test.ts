import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api, internal } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import {
  complete,
  fail,
  fenceOf,
  finish,
  type Leased,
  makeTask,
  noSteps,
  type Plane,
  release,
  seededPlane
} from "./controlPlane.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-03-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

const price = { input: 3, output: 15, cacheRead: 0.3, cacheWrite: 3.75 }
const model = "anthropic/claude"
/**
 * 1,000 tokens, of which 400 were read from the cache and 200 written to it: 690 weighted tokens with the output, or
 * $0.00207.
 */
const usage = {
  inputTokens: 1_000,
  outputTokens: 0,
  cacheReadTokens: 400,
  cacheWriteTokens: 200,
  rounds: 2,
  unanswered: 0,
  contextTokens: 600,
  model,
  price,
  ...noSteps
}
const nothing = { ...usage, inputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, rounds: 0, contextTokens: 0 }
const unanswered = { ...nothing, unanswered: 1, model: null, price: null }

const attemptsOf = (plane: Plane) => plane.t.run((ctx) => ctx.db.query("attempts").collect())
const daysOf = (plane: Plane) => plane.t.run((ctx) => ctx.db.query("usageDays").collect())
const totalsOf = (plane: Plane) => plane.t.run((ctx) => ctx.db.query("usageTotals").collect())
const record = (plane: Plane, run: Leased, spent: typeof usage | typeof unanswered) =>
  plane.mutate(api.service.usage.record, { ...fenceOf(run), usage: spent })

/** A claimed run of the engineer. */
const assigned = async () => {
  const plane = await seededPlane()
  const taskId = (await makeTask(plane, [plane.engineer])) as Id<"tasks">
  return { plane, taskId, run: await plane.takeOne() }
}

describe("usage", () => {
  it("names the model that answered in the reply, which people see in the thread", async () => {
    const { plane, run, taskId } = await assigned()
    await plane.post(taskId, "How far are you?")
    await complete(plane, run, { outcome: "replied", reply: "Done.", usage })
    const thread = await plane.thread(taskId)
    expect(thread.map(({ content, model: named }) => [content, named])).toEqual([
      ["How far are you?", null],
      ["Done.", model]
    ])
  })

  it.each([
    ["completed", (plane: Plane, run: any) => complete(plane, run, { outcome: "replied", reply: "Done.", usage })],
    ["failed", (plane: Plane, run: any) => fail(plane, run, { usage })],
    ["released", (plane: Plane, run: any) => release(plane, run, { usage })]
  ])("is recorded once for a run that is %s, with the sums of agent, day and task", async (_, end) => {
    const { plane, run, taskId } = await assigned()
    await end(plane, run)
    await end(plane, run)
    expect(await attemptsOf(plane)).toMatchObject([
      {
        agentId: plane.engineer,
        taskId,
        kind: "notification",
        run: run.id,
        epoch: run.epoch,
        usage: { inputTokens: 1_000, rounds: 2, model, weightedTokens: 690, isEstimated: false }
      }
    ])
    const sum = { attempts: 1, weightedTokens: 690, estimatedTokens: 0, unpricedTokens: 0 }
    const sums = { day: "2026-03-05", today: sum, month: sum, total: sum }
    expect(await daysOf(plane)).toMatchObject([{ agentId: plane.engineer, ...sums, models: [{ model, sum }] }])
    expect(await totalsOf(plane)).toMatchObject([{ agentId: plane.engineer, taskId, ...sums }])
    expect((await attemptsOf(plane))[0]?.usage?.cost).toBeCloseTo(0.00207)
  })

  it("is recorded for a heartbeat, which has no task", async () => {
    const plane = await seededPlane()
    vi.setSystemTime(Date.now() + 16 * 60_000)
    const [run] = (await plane.take({ heartbeatLimit: 1 })).runs
    if (run === undefined) throw new Error("expected a heartbeat")
    await finish(plane, run, { usage })
    expect(await attemptsOf(plane)).toMatchObject([{ kind: "heartbeat", run: run.id, usage: { weightedTokens: 690 } }])
    expect(await totalsOf(plane)).toEqual([])
  })

  it("is not recorded for an attempt that sent no request", async () => {
    const { plane, run } = await assigned()
    await complete(plane, run, { outcome: "skipped", reason: "policy" })
    expect(await attemptsOf(plane)).toMatchObject([{ usage: null }])
    expect(await daysOf(plane)).toEqual([])
  })

  it("of an unanswered request is estimated from the session's last request, and marked", async () => {
    const { plane, run } = await assigned()
    await fail(plane, run, { usage: unanswered, nextAttemptAt: Date.now() })
    const second = await plane.takeOne()
    await fail(plane, second, { usage, nextAttemptAt: Date.now() })
    await fail(plane, await plane.takeOne(), { usage: unanswered, nextAttemptAt: Date.now() })
    expect((await attemptsOf(plane)).map(({ usage: found }) => found)).toMatchObject([
      { inputTokens: 10_000, isEstimated: true, cost: null },
      { inputTokens: 1_000, isEstimated: false },
      // Model and price are also those of the session's last request.
      { inputTokens: 600, isEstimated: true, model, cost: 0.0018 }
    ])
  })

  it("of a process that is gone is estimated, and replaced by its report", async () => {
    const { plane, run } = await assigned()
    await plane.pulse("r1", "b2")
    // Its reservation, and one request.
    const estimated = { attempts: 1, weightedTokens: 50_000, estimatedTokens: 50_000, unpricedTokens: 50_000 }
    expect(await attemptsOf(plane)).toMatchObject([{ epoch: run.epoch, usage: { isEstimated: true } }])
    expect(await daysOf(plane)).toMatchObject([{ total: estimated }])
    await record(plane, run, usage)
    await record(plane, run, usage)
    await record(plane, run, { ...usage, inputTokens: 5_000 })
    const sum = { attempts: 1, weightedTokens: 690, estimatedTokens: 0, unpricedTokens: 0 }
    expect(await attemptsOf(plane)).toMatchObject([{ usage: { isEstimated: false, weightedTokens: 690 } }])
    expect(await daysOf(plane)).toMatchObject([{ today: sum, total: sum }])
    expect(await totalsOf(plane)).toMatchObject([{ total: sum }])
  })

  it("that was reported before the process was found gone is kept", async () => {
    const { plane, run } = await assigned()
    await record(plane, run, usage)
    await plane.pulse("r1", "b2")
    expect(await attemptsOf(plane)).toMatchObject([{ usage: { isEstimated: false, weightedTokens: 690 } }])
  })

  it("is refused for an unknown attempt, and for another account's", async () => {
    const { plane, run } = await assigned()
    const refused = (fence: object) => expect(record(plane, { ...run, ...fence }, usage)).rejects.toThrow("not_found")
    await refused({ epoch: run.epoch + 1 })
    await refused({ epoch: 0 })
    await refused({ session: "nowhere" })
    await refused({ id: "another" })
    const other = await plane.secondAccount()
    const call = plane.t.mutation(api.service.usage.record, { ...fenceOf(run), ...other, usage })
    await expect(call).rejects.toThrow("not_found")
  })

  it("costs the account's price if the runtime knows none", async () => {
    const { plane, run } = await assigned()
    const prices = [
      { model, price },
      { model: "*", price: { ...price, input: 1, cacheRead: 1, cacheWrite: 1 } }
    ]
    await plane.asPerson(api.app.accounts.configure, { prices })
    await fail(plane, run, { usage: { ...usage, price: null }, nextAttemptAt: Date.now() })
    await fail(plane, await plane.takeOne(), { usage: { ...usage, model: "other", price: null } })
    const costs = (await attemptsOf(plane)).map(({ usage: found }) => found?.cost ?? 0)
    expect(costs[0]).toBeCloseTo(0.00207)
    expect(costs[1]).toBeCloseTo(0.001)
  })

  it("belongs to the day and month of the account's time zone", async () => {
    const { plane, run } = await assigned()
    await plane.asPerson(api.app.accounts.configure, { timeZone: "Asia/Tokyo" })
    vi.setSystemTime(new Date("2026-03-31T14:59:00Z"))
    await fail(plane, run, { usage, nextAttemptAt: Date.now() })
    vi.setSystemTime(new Date("2026-03-31T15:01:00Z"))
    await fail(plane, await plane.takeOne(), { usage })
    expect(await daysOf(plane)).toMatchObject([
      { day: "2026-03-31", today: { attempts: 1 }, month: { attempts: 1 }, total: { attempts: 1 } },
      { day: "2026-04-01", today: { attempts: 1 }, month: { attempts: 1 }, total: { attempts: 2 } }
    ])
    expect(await totalsOf(plane)).toMatchObject([{ day: "2026-04-01", today: { attempts: 1 }, total: { attempts: 2 } }])
    await expect(plane.asPerson(api.app.accounts.configure, { timeZone: "Mars/Olympus" })).rejects.toThrow("invalid")
  })
})

describe("the report", () => {
  it("sums by agent, task, day and model", async () => {
    const { plane, run, taskId } = await assigned()
    await complete(plane, run, { outcome: "replied", reply: "Done.", usage })
    vi.setSystemTime(Date.now() + 24 * 60 * 60 * 1_000)
    await plane.post(taskId, "@engineer, go on")
    for (const next of (await plane.take()).runs) {
      await complete(plane, next, {
        outcome: "skipped",
        reason: "none",
        usage: { ...usage, model: "small", price: null }
      })
    }
    const report = (by: "agent" | "task" | "day" | "model", days = 7) => plane.seen(api.app.usage.report, { by, days })
    const lines = async (...args: Parameters<typeof report>) =>
      (await report(...args)).lines.map(({ name, sum }) => [name, sum.attempts, sum.weightedTokens, sum.unpricedTokens])
    expect(await lines("agent")).toEqual([
      ["engineer", 2, 1_380, 690],
      ["lead", 1, 690, 690]
    ])
    expect(await lines("task")).toEqual([["T", 3, 2_070, 1_380]])
    expect(await lines("day")).toEqual([
      ["2026-03-06", 2, 1_380, 1_380],
      ["2026-03-05", 1, 690, 0]
    ])
    expect(await lines("model")).toEqual([
      ["small", 2, 1_380, 1_380],
      [model, 1, 690, 0]
    ])
    expect(await lines("day", 1)).toEqual([["2026-03-06", 2, 1_380, 1_380]])
    expect(await report("agent")).toMatchObject({
      from: "2026-02-28",
      to: "2026-03-06",
      timeZone: "UTC",
      total: { attempts: 3, weightedTokens: 2_070 },
      isCut: false
    })
    expect(await plane.query(api.service.usage.report, { by: "agent", days: 7 })).toEqual(await report("agent"))
  })
})

describe("retention", () => {
  const day = 24 * 60 * 60 * 1_000

  it("keeps the attempts of a deleted notification for 90 days and sums for 13 months", async () => {
    const { plane, run } = await assigned()
    await fail(plane, run, { usage, nextAttemptAt: Date.now() })
    vi.setSystemTime(Date.now() + day)
    await complete(plane, await plane.takeOne(), { outcome: "skipped", reason: "none", usage })
    const kept = async () => [
      (await attemptsOf(plane)).length,
      (await daysOf(plane)).length,
      (await totalsOf(plane)).length
    ]
    const sweep = () => plane.t.mutation(internal.scheduled.retention.sweep, {})
    vi.setSystemTime(Date.now() + 80 * day)
    await sweep()
    expect(await kept()).toEqual([2, 2, 1])
    vi.setSystemTime(Date.now() + 20 * day)
    await sweep()
    expect(await kept()).toEqual([0, 2, 1])
    vi.setSystemTime(Date.now() + 296 * day)
    await sweep()
    expect(await kept()).toEqual([0, 1, 1])
    vi.setSystemTime(Date.now() + day)
    await sweep()
    expect(await kept()).toEqual([0, 0, 0])
  })
})
