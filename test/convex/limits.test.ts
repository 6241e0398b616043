import { beforeEach, describe, expect, it } from "vitest"
import { api, internal } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { contextOf as buildContext } from "../../convex/model/contexts/deliveryContext.ts"
import { ReadBudget } from "../../convex/model/contexts/readBudget.ts"
import { minute, pass, stopTime } from "./clock.ts"
import { complete, contextOf, first, makeTask, type Plane, seededPlane, settings } from "./controlPlane.ts"

stopTime()

const mebibyte = 1_048_576
/** The maximum that a claim may read. */
const maxBytes = 4 * mebibyte
const maxIntervals = 2_000

/** A row without the fields that the database adds. */
const bare = <A extends { readonly _id: string; readonly _creationTime: number }>(row: A) => {
  const { _creationTime, _id, ...rest } = row
  return rest
}

/** Inserts a message by a person into the task's thread without notifying anyone. */
const addMessages = (plane: Plane, taskId: string, contents: ReadonlyArray<string>) =>
  plane.t.run(async (ctx) => {
    const accountId = plane.accountId as Id<"accounts">
    const author = { type: "person" as const, id: plane.memberId, name: "Ana", slug: null }
    const made = { accountId, taskId: taskId as Id<"tasks">, author, kind: "message" as const, hops: 0 }
    for (const content of contents) await ctx.db.insert("messages", { ...made, content })
  })

/** Claims until nothing is left. Returns what each claim read and leased. */
const claimAll = async (plane: Plane, limit: number) => {
  const claims: Array<{ readonly runs: number; readonly readIntervals: number; readonly bytesRead: number }> = []
  let hasMore = true
  while (hasMore) {
    const answer = await plane.take({ limit })
    const { bytesRead, readIntervals } = plane.usage()
    claims.push({ runs: answer.runs.length, readIntervals, bytesRead })
    hasMore = answer.hasMore
    expect(answer.runs.length).toBeGreaterThan(0)
    for (const run of answer.runs) await complete(plane, run)
  }
  return claims
}

describe("a claim's read intervals", () => {
  it("stay under 2,000 with 100 permits, 50 events each and long threads; the next claim leases the rest", async () => {
    const plane = await seededPlane({ sessionScope: "task" })
    await makeTask(plane, [plane.engineer])
    await plane.t.run(async (ctx) => {
      const [task] = await ctx.db.query("tasks").collect()
      const [notification] = await ctx.db.query("notifications").collect()
      const session = await ctx.db.get("sessions", notification?.sessionId as Id<"sessions">)
      if (task === undefined || notification === undefined || session === null) throw new Error("expected a task")
      const [event] = notification.events
      const elsewhere = await ctx.db.insert("tasks", bare(task))
      for (let index = 0; index < 45; index += 1) {
        const taskId = index === 0 ? task._id : await ctx.db.insert("tasks", bare(task))
        // Not in the task's thread, so each message is read separately.
        const made = {
          accountId: task.accountId,
          taskId: elsewhere,
          author: task.createdBy,
          kind: "message" as const,
          hops: 0
        }
        const events = []
        for (let each = 0; each < 50; each += 1) {
          const messageId = await ctx.db.insert("messages", { ...made, content: `message ${each}` })
          if (event !== undefined) events.push({ ...event, type: "mention" as const, messageId })
        }
        if (index === 0) await ctx.db.patch("notifications", notification._id, { events })
        else {
          const sessionId = await ctx.db.insert("sessions", { ...bare(session), taskId })
          await ctx.db.insert("notifications", { ...bare(notification), taskId, sessionId, events })
        }
      }
    })
    const one = await plane.take({ limit: 100 })
    const used = plane.usage()
    expect(contextOf(first(one.runs)).events).toHaveLength(50)
    expect(used.readIntervals).toBeLessThan(maxIntervals)
    expect(used.bytesRead).toBeLessThan(maxBytes)
    expect(one.hasMore).toBe(true)
    expect(one.runs.length).toBeGreaterThan(20)
    for (const run of one.runs) await complete(plane, run)
    const rest = await claimAll(plane, 100)
    expect(one.runs.length + rest.reduce((sum, { runs }) => sum + runs, 0)).toBe(45)
    for (const { bytesRead, readIntervals } of rest) {
      expect(readIntervals).toBeLessThan(maxIntervals)
      expect(bytesRead).toBeLessThan(maxBytes)
    }
  }, 120_000)

  it("stay under 2,000 for a hundred small runs, of which nearly all are leased at once", async () => {
    const plane = await seededPlane({ sessionScope: "task" })
    for (let index = 0; index < 100; index += 1) await makeTask(plane, [plane.engineer])
    const { runs } = await plane.take({ limit: 100 })
    expect(plane.usage().readIntervals).toBeLessThan(maxIntervals)
    expect(runs.length).toBeGreaterThan(90)
  }, 60_000)

  it("stay under 2,000 while it rescues as many leases as a process can abandon", async () => {
    const plane = await seededPlane({ sessionScope: "task" })
    for (let index = 0; index < 190; index += 1) await makeTask(plane, [plane.engineer])
    const held = []
    for (let claim = 0; claim < 3; claim += 1) {
      const { runs } = await plane.take({ limit: 100 })
      held.push(...runs.map(({ epoch, session }) => ({ session, epoch })))
    }
    expect(held.length).toBeGreaterThan(180)
    const answer = await plane.claim({ limit: 100, held: [], abandoned: held })
    expect(plane.usage().readIntervals).toBeLessThan(maxIntervals)
    expect(answer.runs.length).toBeGreaterThan(0)
    expect(answer.hasMore).toBe(true)
  }, 60_000)

  it("stay under 2,000 while the last claim releases as many leases as a process can hold", async () => {
    const plane = await seededPlane({ sessionScope: "task" })
    for (let index = 0; index < 190; index += 1) await makeTask(plane, [plane.engineer])
    // The reservation counts as spent until a report arrives.
    await plane.asPerson(api.app.budgets.set, { period: "day", unit: "tokens", limit: 1_000_000_000 })
    for (let claim = 0; claim < 3; claim += 1) await plane.take({ limit: 100 })
    await plane.claim({ limit: 0 })
    expect(plane.usage().readIntervals).toBeLessThan(maxIntervals)
    await plane.pulse("r2", "c1")
    expect((await plane.take({ runtimeId: "r2", bootId: "c1", limit: 100 })).runs.length).toBeGreaterThan(90)
  }, 60_000)
})

describe("the bytes that a claim reads", () => {
  it("stay within 4 MiB with messages of maximum length in long threads, and the first run is always leased", async () => {
    const plane = await seededPlane()
    for (const agent of ["lead", "engineer", "qa"]) {
      const taskId = await makeTask(plane)
      await addMessages(
        plane,
        taskId,
        Array.from({ length: 30 }, () => "長".repeat(100_000))
      )
      for (let count = 0; count < 20; count += 1) await plane.post(taskId, `@${agent} ${"長".repeat(99_000)}`)
    }
    const claims = await claimAll(plane, 8)
    expect(claims.reduce((sum, { runs }) => sum + runs, 0)).toBe(3)
    expect(claims.length).toBeGreaterThan(1)
    for (const { bytesRead, runs } of claims) {
      expect(bytesRead).toBeLessThan(maxBytes)
      expect(runs).toBeGreaterThan(0)
    }
  }, 60_000)

  it("include documents, descriptions and requests", async () => {
    const plane = await seededPlane({ sessionScope: "task" })
    for (let index = 0; index < 12; index += 1) {
      const { taskId } = await plane.asPerson(api.app.tasks.create, {
        title: "T",
        description: "長".repeat(20_000),
        assigneeIds: [plane.engineer]
      })
      const document = { taskId, title: "D", type: "note" as const, content: "長".repeat(190_000) }
      await plane.asPerson(api.app.documents.upsert, document)
      await plane.asPerson(api.app.documents.upsert, document)
    }
    const claims = await claimAll(plane, 20)
    expect(claims.reduce((sum, { runs }) => sum + runs, 0)).toBe(12)
    for (const { bytesRead } of claims) expect(bytesRead).toBeLessThan(maxBytes)
  }, 60_000)

  it("do not grow with the work that waits behind the leased work", async () => {
    const bytes = async (waiting: number) => {
      const plane = await seededPlane()
      for (let index = 0; index < waiting; index += 1) await makeTask(plane, [plane.engineer])
      await plane.take()
      return plane.usage().bytesRead
    }
    expect(await bytes(30)).toBe(await bytes(3))
  })
})

describe("a context that reaches a limit", () => {
  const failing = (message: string) => {
    const ctx = { db: { get: () => Promise.reject(new Error(message)) } }
    const accountContext = { account: {}, agents: [{ _id: "a" }] }
    const row = { agentId: "a", taskId: "t" }
    return buildContext(ctx as never, row as never, {} as never, accountContext as never, new ReadBudget(0).forRun())
  }

  it("fails the claim and is never stored as broken", async () => {
    await expect(failing("Too many reads in a single function execution (limit: 4096).")).rejects.toThrow("Too many")
    await expect(
      failing("Too many bytes read in a single function execution (limit: 16777216 bytes).")
    ).rejects.toThrow()
  })

  it("is damaged after any other failure", async () => {
    expect(await failing("no such row")).toBe("damaged")
  })
})

describe("a change of hundreds of notifications", () => {
  let largest = 0
  beforeEach(() => {
    largest = 0
  })
  const note = (plane: Plane) => {
    largest = Math.max(largest, plane.usage().readIntervals)
  }
  /** Runs the scheduled batches one by one. Returns their number. */
  const finishBatches = async (plane: Plane) => {
    for (let count = 0; ; count += 1) {
      const job = await plane.t.run(async (ctx) => {
        const jobs = await ctx.db.system.query("_scheduled_functions").collect()
        const next = jobs.find(({ name, state }) => state.kind === "pending" && /removals|stops/.test(name))
        if (next !== undefined) await ctx.scheduler.cancel(next._id)
        return next ?? null
      })
      if (job === null) return count
      const next = job.name.includes("stops")
        ? internal.scheduled.stops.continueStop
        : internal.scheduled.removals.agent
      await plane.t.mutation(next as typeof internal.scheduled.removals.agent, job.args[0])
      note(plane)
    }
  }
  const readyOf = (plane: Plane) =>
    plane.t.run(async (ctx) => (await ctx.db.query("notifications").collect()).filter(({ state }) => state === "ready"))

  it("by archiving a task runs in bounded batches", async () => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane, [plane.engineer])
    await plane.t.run(async (ctx) => {
      const template = bare(first(await ctx.db.query("notifications").collect()))
      for (let count = 0; count < 350; count += 1) await ctx.db.insert("notifications", { ...template, claims: 1 })
    })
    await makeTask(plane, [plane.lead])
    const leads = (await plane.take()).runs.find((run) => contextOf(run).agent.slug === "lead")
    if (leads === undefined) throw new Error("expected the lead's run")
    const fence = { run: leads.id, session: leads.session, epoch: leads.epoch, settings }
    await plane.mutate(api.service.tasks.remove, { ...fence, taskId, reason: "made twice" })
    note(plane)
    expect(await finishBatches(plane)).toBeGreaterThan(10)
    expect(await readyOf(plane)).toEqual([])
    expect(largest).toBeLessThan(maxIntervals)
  }, 60_000)

  it("by removing an agent with hundreds of sessions and tasks runs in bounded batches", async () => {
    const plane = await seededPlane({ sessionScope: "task" })
    for (let index = 0; index < 250; index += 1) await makeTask(plane, [plane.engineer])
    for (const run of (await plane.take({ limit: 3 })).runs) {
      const { id } = contextOf(run).task ?? { id: "" }
      await plane.asPerson(api.app.tasks.setStatus, { taskId: id, status: "in_progress" })
    }
    await plane.asPerson(api.app.agents.remove, { agentId: plane.engineer })
    note(plane)
    expect(await finishBatches(plane)).toBeGreaterThan(10)
    expect(largest).toBeLessThan(maxIntervals)
    expect(await readyOf(plane)).toEqual([])
    const tasks = await plane.t.run((ctx) => ctx.db.query("tasks").collect())
    expect(tasks.filter(({ assigneeIds }) => assigneeIds.length > 0)).toEqual([])
    expect(tasks.filter(({ status }) => status === "blocked")).toHaveLength(3)
    expect(await plane.t.run((ctx) => ctx.db.query("assignments").collect())).toEqual([])
    pass(minute)
    expect((await plane.take()).runs).toEqual([])
  }, 120_000)

  it("by mentioning a roster of 200 is one bounded transaction", async () => {
    const plane = await seededPlane()
    for (let index = 0; index < 197; index += 1) {
      await plane.asPerson(api.app.agents.create, { slug: `agent-${index}`, name: `Agent ${index}` })
    }
    const taskId = await makeTask(plane)
    await plane.post(taskId, "@all hello")
    note(plane)
    expect(await readyOf(plane)).toHaveLength(200)
    await plane.post(taskId, "@all again")
    note(plane)
    expect(await readyOf(plane)).toHaveLength(200)
    expect(largest).toBeLessThan(maxIntervals)
  }, 60_000)
})
