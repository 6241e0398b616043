import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import {
  codeOf,
  complete,
  contextOf,
  fail,
  fenceOf,
  first,
  type Leased,
  makeTask,
  type Plane,
  seededPlane,
  settings,
  spent
} from "./controlPlane.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-03-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

const allow = (plane: Plane, run: Leased, usedTokens: number) =>
  plane.mutate(api.service.usage.allow, { ...fenceOf(run), usedTokens })
/** Ends the run after it asked for, and spent, this many tokens. */
const spend = async (plane: Plane, run: Leased, count: number) => {
  await allow(plane, run, count - 10)
  return await complete(plane, run, { outcome: "skipped", reason: "none", usage: spent(count) })
}

type Budget = Parameters<typeof set>[1]
const set = (
  plane: Plane,
  budget: {
    readonly limit: number
    readonly period?: "day" | "month" | "lifetime"
    readonly unit?: "usd" | "tokens"
    readonly agentId?: string
    readonly taskId?: string
  }
) => plane.asPerson(api.app.budgets.set, { period: "day", unit: "tokens", ...budget })

/** An account without heartbeats whose only budget is this one, and a task of the engineer. */
const limited = async (budget: Budget, sessionScope: "agent" | "task" = "agent") => {
  const plane = await seededPlane({ sessionScope })
  await plane.t.run(async (ctx) => {
    for (const { _id } of await ctx.db.query("heartbeats").collect()) await ctx.db.delete("heartbeats", _id)
    for (const { _id } of await ctx.db.query("budgets").collect()) await ctx.db.delete("budgets", _id)
  })
  await set(plane, budget)
  const taskId = await makeTask(plane, [plane.engineer])
  return { plane, taskId, run: await plane.takeOne() }
}

const heldOf = async (plane: Plane, taskId: string) =>
  (await plane.notifications(taskId)).filter(({ recipientType }) => recipientType === "agent").map(({ held }) => held)
const finishJobs = (plane: Plane) => plane.t.finishAllScheduledFunctions(() => vi.runAllTimers())

describe("a run that a budget holds", () => {
  it("is listed with the budget's reason, until when, and since when it waits", async () => {
    const { plane, run, taskId } = await limited({ limit: 1_000 })
    await spend(plane, run, 1_000)
    const since = Date.now()
    await plane.post(taskId, "@engineer more")
    await plane.take()
    const [row] = await plane.seen(api.app.runs.list, {})
    expect(row).toMatchObject({
      state: "waiting",
      at: since,
      wait: { reason: "budget", detail: expect.any(String), until: Date.parse("2026-03-06T00:00:00Z") }
    })
  })
})

describe("a budget", () => {
  it("lets a claim reserve one slice of it, and a run ask for more until it is used up", async () => {
    const { plane, run } = await limited({ limit: 1_000 })
    expect(run.allowance).toBe(10)
    expect(await allow(plane, run, 500)).toEqual({ allowance: 510 })
    expect(await allow(plane, run, 995)).toEqual({ allowance: 1_000 })
    // The first call again, after a later one.
    expect(await allow(plane, run, 500)).toEqual({ allowance: 1_000 })
    expect(await allow(plane, run, 1_000)).toMatchObject({ until: Date.parse("2026-03-06T00:00:00Z") })
  })

  it.each([
    ["the account's", () => ({})],
    ["the agent's", (plane: Plane) => ({ agentId: plane.engineer as string })],
    ["the task's", (_: Plane, taskId: string) => ({ taskId })]
  ])("that is %s holds further work without counting an attempt, until its next window", async (_, scope) => {
    const { plane, run, taskId } = await limited({ limit: 1_000_000 })
    await set(plane, { limit: 1_000, ...scope(plane, taskId) })
    await spend(plane, run, 1_000)
    await plane.post(taskId, "@engineer and now?")
    expect(await plane.take()).toMatchObject({ heldBack: 1, runs: [] })
    const until = Date.parse("2026-03-06T00:00:00Z")
    expect((await heldOf(plane, taskId))[0]).toMatchObject({ reason: expect.stringContaining("100 %"), until })
    expect(await plane.take()).toMatchObject({ heldBack: 0, runs: [], nextDueAt: until })
    vi.setSystemTime(until)
    const next = await plane.takeOne()
    expect(next).toMatchObject({ attempt: 1, allowance: 10 })
    expect(await heldOf(plane, taskId)).toEqual([null, null])
  })

  it.each([
    ["the account's", "@qa please", () => ({})],
    ["the agent's", "@engineer please", (plane: Plane) => ({ agentId: plane.engineer as string })],
    ["the task's", "@qa please", (_: Plane, taskId: string) => ({ taskId })]
  ])(
    "that is %s and reserved by others holds work for a minute at a time, without a notice",
    async (_, text, scope) => {
      const { plane, run, taskId } = await limited({ limit: 1_000_000 }, "task")
      await set(plane, { limit: 1_000, ...scope(plane, taskId) })
      expect(await allow(plane, run, 995)).toEqual({ allowance: 1_000 })
      // The agent's own work on another task, or another agent's on the same.
      const other = text.startsWith("@qa") ? taskId : await makeTask(plane, [])
      await plane.post(other, text)
      const nextMinute = async () => {
        const until = Date.now() + 60_000
        expect(await plane.take()).toMatchObject({ heldBack: 1, runs: [], nextDueAt: until })
        expect((await heldOf(plane, other))[0]).toEqual({ reason: expect.stringContaining("other runs"), until })
        vi.setSystemTime(until)
      }
      await nextMinute()
      await nextMinute()
      await complete(plane, run, { outcome: "skipped", reason: "none", usage: spent(500) })
      expect(await plane.takeOne()).toMatchObject({ attempt: 1, allowance: 10 })
      const texts = (await plane.notifications(other)).flatMap(({ events }) => events.map((event) => event.text))
      expect(texts.filter((each) => each?.includes("Work waits"))).toEqual([])
    }
  )

  it("is in the report of usage, with the work that it holds and until when", async () => {
    const { plane, run, taskId } = await limited({ limit: 1_000 })
    await set(plane, { limit: 5, unit: "usd", period: "lifetime", agentId: plane.qa })
    await spend(plane, run, 1_000)
    await plane.post(taskId, "@engineer and now?")
    await plane.take()
    const until = Date.parse("2026-03-06T00:00:00Z")
    expect(await plane.query(api.service.usage.report, { by: "agent" })).toMatchObject({
      budgets: [
        { scope: "account", name: null, period: "day", unit: "tokens", limit: 1_000, spent: 1_000, until },
        { scope: "agent", name: "qa", period: "lifetime", unit: "usd", limit: 5, spent: 0, until: null }
      ],
      held: [{ agent: "engineer", task: expect.any(String), reason: expect.stringContaining("100 %"), until }]
    })
  })

  it("keeps the order of waiting work that is held again", async () => {
    const { plane, run, taskId } = await limited({ limit: 1_000 })
    await spend(plane, run, 1_000)
    await plane.post(taskId, "@engineer first")
    expect(await plane.take()).toMatchObject({ heldBack: 1 })
    vi.setSystemTime(new Date("2026-03-06T00:00:00Z"))
    await plane.post(taskId, "@lead second")
    await spend(plane, first((await plane.take({ limit: 1 })).runs), 1_000)
    await plane.post(taskId, "@lead third")
    expect(await plane.take()).toMatchObject({ heldBack: 2 })
    await set(plane, { limit: 2_000 })
    await finishJobs(plane)
    expect((await plane.take()).runs.map((each) => contextOf(each).agent.slug)).toEqual(["engineer", "lead"])
  })

  it("of the account applies to all its agents, whose claims draw slices of it", async () => {
    const { plane, run, taskId } = await limited({ limit: 1_000 })
    await spend(plane, run, 600)
    await plane.post(taskId, "@engineer @qa please")
    const runs = (await plane.take()).runs
    expect(runs.map(({ allowance }) => allowance)).toEqual([10, 10])
    for (const each of runs) await spend(plane, each, 200)
    await plane.post(taskId, "@engineer @qa again")
    expect(await plane.take()).toMatchObject({ heldBack: 2, runs: [] })
  })

  it("stops passive updates at 80 %, agents' own work at 90 % and people's messages at 100 %", async () => {
    const { plane, run, taskId } = await limited({ limit: 1_000 })
    await spend(plane, run, 850)
    await plane.asPerson(api.app.tasks.setStatus, { taskId, status: "in_progress" })
    expect(await plane.take()).toMatchObject({ heldBack: 1, runs: [] })
    // A person's message joins the waiting update, and may use the rest.
    await plane.post(taskId, "@engineer please")
    const next = await plane.takeOne()
    expect(next.allowance).toBe(10)
    await plane.mutate(api.service.responseRequests.create, {
      ...fenceOf(next),
      settings,
      recipientSlugs: ["qa"],
      message: "please"
    })
    await spend(plane, next, 60)
    expect(await plane.take()).toMatchObject({ heldBack: 1, runs: [] })
    await plane.post(taskId, "@qa a person asks")
    expect((await plane.takeOne()).allowance).toBe(10)
  })

  it("that is raised or removed releases the work that waited for it at once", async () => {
    const { plane, run, taskId } = await limited({ limit: 1_000, period: "lifetime" })
    await spend(plane, run, 1_000)
    for (let index = 0; index < 120; index += 1) await makeTask(plane, [plane.engineer], `T${index}`)
    for (let index = 0; index < 3; index += 1) await plane.take()
    expect(await plane.take()).toMatchObject({ heldBack: 0, runs: [] })
    expect((await plane.notifications()).filter(({ held }) => held !== null)).toHaveLength(120)
    expect((await plane.notifications()).find(({ held }) => held !== null)?.held).toMatchObject({ until: null })
    const before = await plane.wakes()
    await set(plane, { limit: 2_000, period: "lifetime" })
    await finishJobs(plane)
    expect(await plane.wakes()).toBeGreaterThan(before)
    expect((await plane.notifications()).filter(({ held }) => held !== null)).toEqual([])
    expect((await plane.takeOne()).allowance).toBe(20)
    expect(taskId).toBeDefined()
  })

  it("no longer holds work that was stopped in the meantime", async () => {
    const { plane, run, taskId } = await limited({ limit: 1_000 })
    await spend(plane, run, 1_000)
    await plane.post(taskId, "@engineer wait")
    await plane.take()
    expect((await heldOf(plane, taskId)).filter((held) => held !== null)).toHaveLength(1)
    await plane.asPerson(api.app.runs.stop, { task: taskId })
    const report = await plane.query(api.service.usage.report, { by: "agent", days: 7 })
    expect(report.held).toEqual([])
    await set(plane, { limit: 10_000 })
    await finishJobs(plane)
    const rows = await plane.t.run((ctx) => ctx.db.query("notifications").collect())
    expect(rows.filter(({ held }) => held !== undefined)).toEqual([])
    expect(rows.find(({ outcome }) => outcome === "stopped")?.retryAt).toBeUndefined()
  })

  it("notifies of the warning and of the stop once per window, with an activity", async () => {
    const { plane, run, taskId } = await limited({ limit: 1_000 })
    await spend(plane, run, 1_000)
    for (const text of ["one", "two", "three"]) {
      await plane.post(taskId, `@engineer ${text}`)
      await plane.take()
    }
    const personNotifications = (await plane.notifications(taskId)).filter(
      ({ recipientType }) => recipientType === "person"
    )
    expect(personNotifications.map(({ events }) => events[0]?.text)).toEqual([
      expect.stringContaining("Work waits"),
      expect.stringContaining("80 %")
    ])
    const activities = await plane.seen(api.app.activities.list, {})
    expect(activities.filter(({ type }) => type.startsWith("budget_")).map(({ type }) => type)).toEqual([
      "budget_stopped",
      "budget_warned",
      "budget_set"
    ])
  })

  it("counts at once what a run spent beyond its allowance, also for other agents", async () => {
    const { plane, run } = await limited({ limit: 1_000 })
    // One request that was larger than the allowance of 10.
    await complete(plane, run, { outcome: "skipped", reason: "none", usage: spent(600) })
    await makeTask(plane, [plane.qa])
    const other = await plane.takeOne()
    expect(other.allowance).toBe(10)
    expect(await allow(plane, other, 385)).toEqual({ allowance: 395 })
    expect(await allow(plane, other, 410)).toMatchObject({ until: Date.parse("2026-03-06T00:00:00Z") })
  })

  it("counts tokens without a price as expensive, and tokens with a price by that price", async () => {
    const { plane, run, taskId } = await limited({ limit: 1, unit: "usd" })
    expect(run.allowance).toBe(3_333)
    // At $3 per million tokens these would cost $0.9.
    await spend(plane, run, 300_000)
    expect(await plane.seen(api.app.budgets.list, {})).toMatchObject([{ unit: "usd", limit: 1, spent: 0.9 }])
    await plane.post(taskId, "@engineer please")
    const next = await plane.takeOne()
    await fail(plane, next, {
      usage: { ...spent(1_000), price: { input: 100, output: 1, cacheRead: 1, cacheWrite: 1 } }
    })
    expect(await plane.seen(api.app.budgets.list, {})).toMatchObject([{ spent: 1 }])
    await plane.post(taskId, "@engineer again")
    expect(await plane.take()).toMatchObject({ heldBack: 1 })
  })

  it("lowered below the spending lets no more work start, and a window that ends during a turn counts where the turn ends", async () => {
    const { plane, run, taskId } = await limited({ limit: 1_000 })
    await set(plane, { limit: 5 })
    expect(await allow(plane, run, 10)).toHaveProperty("reason")
    vi.setSystemTime(new Date("2026-03-06T00:00:01Z"))
    await spend(plane, run, 10)
    await plane.post(taskId, "@engineer please")
    expect(await plane.take()).toMatchObject({ heldBack: 1, runs: [] })
  })

  it("of a removed agent is deleted with it", async () => {
    const { plane } = await limited({ limit: 1_000 })
    await set(plane, { limit: 5, agentId: plane.engineer })
    await plane.asPerson(api.app.agents.remove, { agentId: plane.engineer })
    expect(await plane.seen(api.app.budgets.list, {})).toHaveLength(1)
  })

  it("makes heartbeats wait from the warning on", async () => {
    const plane = await seededPlane()
    await set(plane, { limit: 1_000 })
    await makeTask(plane, [plane.engineer])
    await spend(plane, await plane.takeOne(), 800)
    vi.setSystemTime(Date.now() + 20 * 60_000)
    expect(await plane.take({ heartbeatLimit: 3 })).toMatchObject({ heldBack: 3, runs: [] })
    vi.setSystemTime(new Date("2026-03-06T00:20:00Z"))
    expect((await plane.take({ heartbeatLimit: 3 })).runs).toHaveLength(3)
  })

  it("is refused if it is out of range, and is set only by owners and admins", async () => {
    const { plane, taskId } = await limited({ limit: 1_000 })
    for (const limit of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e13]) {
      expect(await codeOf(set(plane, { limit }))).toBe("invalid")
    }
    expect(await codeOf(set(plane, { limit: 1, agentId: plane.engineer, taskId }))).toBe("invalid")
    expect(await codeOf(set(plane, { limit: 1, agentId: "nobody" }))).toBe("not_found")
    expect(await codeOf(plane.asPerson(api.app.budgets.remove, { id: "none" }))).toBe("not_found")
  })

  it("exists in a new account", async () => {
    const plane = await seededPlane()
    expect(await plane.seen(api.app.budgets.list, {})).toMatchObject([
      { period: "day", unit: "tokens", limit: 10_000_000, spent: 0 }
    ])
  })
})
