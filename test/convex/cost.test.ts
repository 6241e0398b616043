import { describe, expect, it } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { Id } from "../../convex/_generated/dataModel.js"
import { pass, stopTime } from "./clock.ts"
import {
  complete,
  contextOf,
  fail,
  leaseOf,
  makeTask,
  type Plane,
  release,
  seededPlane,
  spent,
  withoutHeartbeats
} from "./controlPlane.ts"

stopTime()

/** A later turn does not read messages again that are this far apart. */
const apart = 11_000

/** What a call reads: documents, including each patch, and read intervals. */
const cost = async (plane: Plane, call: () => Promise<unknown>) => {
  await call()
  const { documentsRead: documents, readIntervals: intervals } = plane.usage()
  return { documents, intervals }
}

/** Adds old delivered notifications, messages and activities of one agent and task. */
const addHistory = (plane: Plane, taskId: string, rows: number) =>
  plane.t.run(async (ctx) => {
    const template = await ctx.db.query("notifications").first()
    if (template === null) throw new Error("expected a notification to copy")
    const { _id, _creationTime, ...row } = template
    const { accountId } = row
    const author = { type: "system" as const, id: null, name: "Past", slug: null }
    for (let index = 0; index < rows; index += 1) {
      const state = index % 10 === 0 ? "dead" : "delivered"
      const past = { ...row, claims: 1, outcome: "replied" as const, endedAt: index, readyAt: index, at: index }
      await ctx.db.insert("notifications", { ...past, state })
      const message = { accountId, taskId: taskId as Id<"tasks">, author, content: "past", hops: 0 }
      await ctx.db.insert("messages", { ...message, kind: "message" })
      await ctx.db.insert("activities", { accountId, type: "past", actor: author, summary: "past" })
    }
  })

/** Ends all due runs. */
const endDueRuns = async (plane: Plane) => {
  for (;;) {
    const { runs } = await plane.take()
    if (runs.length === 0) return
    for (const run of runs) await complete(plane, run)
  }
}

/** A plane of `agents` agents, and a task with `messages` messages in which the engineer has replied before. */
const worked = async ({ agents, messages }: { readonly agents: number; readonly messages: number }) => {
  const plane = await seededPlane()
  for (let index = 3; index < agents; index += 1) {
    await plane.asPerson(api.app.agents.create, {
      slug: `agent-${index}`,
      name: `Agent ${index}`,
      heartbeat: "0 0 1 1 *"
    })
  }
  await withoutHeartbeats(plane)
  const taskId = await makeTask(plane, [plane.engineer])
  await complete(plane, await plane.takeOne(), { outcome: "replied", reply: "I begin." })
  for (let index = 3; index < messages; index += 1) await plane.post(taskId, `before ${index}`)
  pass(apart)
  await plane.post(taskId, "the last before")
  await endDueRuns(plane)
  pass(apart)
  await plane.post(taskId, "@engineer go on")
  return { plane, taskId }
}

/**
 * What each call of a single delivery reads: the push, the claim and the completion, whose reply notifies one other
 * agent.
 */
const loneDelivery = async (account: { readonly agents: number; readonly messages: number }) => {
  const { plane } = await worked(account)
  const push = await cost(plane, () => plane.wakes())
  const run = await plane.takeOne()
  const claim = plane.usage()
  const completion = await cost(plane, () => complete(plane, run, { outcome: "replied", reply: "Half way." }))
  // The session has seen the earlier messages.
  expect(contextOf(run).thread).toHaveLength(1)
  return { push, claim: { documents: claim.documentsRead, intervals: claim.readIntervals }, completion }
}

describe("a single delivery", () => {
  it("reads 45 documents with 5 agents, however long the thread is", async () => {
    const { claim, completion, push } = await loneDelivery({ agents: 5, messages: 25 })
    // The token and the wakes of five agents. There is no recalled lease, and none with a new message.
    expect(push).toEqual({ documents: 6, intervals: 4 })
    // Token, boot, session, notification, account, its budget, the agent's draw of it, 5 agents, owner, task, what was
    // seen of it, 2 messages; boot, session, notification and what was seen again when they are written. The person's
    // message has deleted the count of turns.
    expect(claim).toEqual({ documents: 21, intervals: 31 })
    // Token, session, notification, task, agent, participant, orchestrator, 3 subscriptions, account; the
    // orchestrator's session and wake; participant, notification, both sessions and the wake again when they are
    // written. The orchestrator is not paused.
    expect(completion).toEqual({ documents: 18, intervals: 21 })
  })

  it("reads the same in the completion with 20 agents, and one more per agent in push and claim", async () => {
    const few = await loneDelivery({ agents: 5, messages: 25 })
    const many = await loneDelivery({ agents: 20, messages: 25 })
    expect(many.completion).toEqual(few.completion)
    expect(many.claim).toEqual({ ...few.claim, documents: few.claim.documents + 15 })
    expect(many.push).toEqual({ ...few.push, documents: few.push.documents + 15 })
  })

  it("reads 16 documents in a completion whose reply joins waiting work", async () => {
    const { plane, taskId } = await worked({ agents: 20, messages: 25 })
    const run = await plane.takeOne()
    await plane.post(taskId, "@lead are you there?")
    expect(await cost(plane, () => complete(plane, run, { outcome: "replied", reply: "Half way." }))).toMatchObject({
      documents: 16
    })
  })
})

/** What claim and completion of the third delivery of a day on a task read and write. */
const thirdDelivery = async (isCounted: boolean) => {
  const { plane, taskId } = await worked({ agents: 5, messages: 25 })
  if (!isCounted) {
    await plane.t.run(async (ctx) => {
      for (const { _id } of await ctx.db.query("budgets").collect()) await ctx.db.delete("budgets", _id)
    })
  }
  const amounts = () => {
    const { documentsRead: read, documentsWritten: written } = plane.usage()
    return { read, written }
  }
  const deliver = async () => {
    const run = await plane.takeOne()
    const claim = amounts()
    await complete(plane, run, { outcome: "skipped", reason: "none", ...(isCounted ? { usage: spent(1_000) } : {}) })
    return { claim, end: amounts() }
  }
  for (let index = 0; index < 2; index += 1) {
    await deliver()
    await plane.post(taskId, `@engineer go on ${index}`)
  }
  return await deliver()
}

describe("usage and budgets", () => {
  it("add 6 read documents to a delivery, two of them read again when written, and 2 written ones", async () => {
    const [counted, without] = [await thirdDelivery(true), await thirdDelivery(false)]
    const added = (call: "claim" | "end") => ({
      read: counted[call].read - without[call].read,
      written: counted[call].written - without[call].written
    })
    // The budget, the agent's draw of it, and the agent's sums.
    expect(added("claim")).toEqual({ read: 3, written: 0 })
    // The account, and the sums of agent and task, which are read again when they are written. The attempt's record is
    // always written.
    expect(added("end")).toEqual({ read: 3 + 2, written: 2 })
  })
})

describe("the cost of a delivery", () => {
  /** What one claim, one release, one failure and one completion read. */
  const measure = async (history: number) => {
    const plane = await seededPlane()
    const taskId = await makeTask(plane, [plane.engineer])
    for (let part = 0; part < history; part += 500) await addHistory(plane, taskId, 500)
    // More messages than a context reads of a thread.
    for (let index = 0; index < 30; index += 1) await plane.post(taskId, `before ${index}`)
    await endDueRuns(plane)
    for (let index = 0; index < 30; index += 1) await plane.post(taskId, `@engineer ${index}`)
    const run = await plane.takeOne()
    const { documentsRead, readIntervals } = plane.usage()
    const released = await cost(plane, () => release(plane, run))
    const again = await plane.takeOne()
    const failed = await cost(plane, () => fail(plane, again, { nextAttemptAt: 1 }))
    const last = await plane.takeOne()
    const completed = await cost(plane, () => complete(plane, last, { outcome: "replied", reply: "done" }))
    return { claimed: { documentsRead, readIntervals }, released, failed, completed }
  }

  it("is the same after 1,000 delivered notifications as after none", async () => {
    expect(await measure(1_000)).toEqual(await measure(0))
  })

  it("does not grow with the work that waits behind the claimed work", async () => {
    const reads = async (waiting: number, sessionScope: "agent" | "task") => {
      const plane = await seededPlane({ sessionScope })
      for (let index = 0; index < waiting; index += 1) await makeTask(plane, [plane.engineer])
      return await cost(plane, () => plane.take({ limit: 4 }))
    }
    expect(await reads(40, "agent")).toEqual(await reads(10, "agent"))
    expect(await reads(120, "task")).toEqual(await reads(60, "task"))
  })

  it("is a handful of documents for an idle claim, a renewal and the commands", async () => {
    const plane = await seededPlane()
    // Token, boot, and the next heartbeat.
    expect(await cost(plane, () => plane.take())).toMatchObject({ documents: 3 })
    expect(await cost(plane, () => plane.query(api.service.runtimes.commands, { runtimeId: "r1" }))).toMatchObject({
      documents: 1
    })
    await makeTask(plane, [plane.engineer])
    const run = await plane.takeOne()
    const boot = { runtimeId: "r1", bootId: "b1", leaseMs: 90_000 }
    const renewal = { ...boot, leases: [leaseOf(run)] }
    expect(await cost(plane, () => plane.mutate(api.service.notifications.renew, renewal))).toMatchObject({
      documents: 4
    })
  })
})
