import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import { fenceOf, type Plane, seededPlane } from "./controlPlane.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

/** Numbers from 0 up to 1, the same for the same seed. */
const randomOf = (seed: number) => {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 4_294_967_296
  }
}

const maxAttempts = 4

/** Says what of the queue is wrong: nothing, if every index field agrees with the rows and every row with its session. */
const faults = (plane: Plane) =>
  plane.t.run(async (ctx) => {
    const found: Array<string> = []
    const rows = await ctx.db.query("notifications").collect()
    const agents = rows.filter((row) => row.recipientType === "agent")
    for (const session of await ctx.db.query("sessions").collect()) {
      const own = agents.filter((row) => row.sessionId === session._id)
      const ready = own.filter((row) => row.state === "ready")
      const best = ready.toSorted(
        (a, b) => a.lane - b.lane || a.readyAt - b.readyAt || a._creationTime - b._creationTime
      )[0]
      const oldest = ready.length === 0 ? undefined : Math.min(...ready.map((row) => row.readyAt))
      const retries = own.filter((row) => row.state === "waiting").map((row) => row.nextAttemptAt ?? 0)
      const alone = ready.flatMap((row) => row.aloneAt ?? [])
      if (session.lane !== best?.lane || session.readyAt !== best?.readyAt) found.push("best row")
      if (session.oldestAt !== oldest) found.push("oldest row")
      if (session.retryAt !== (retries.length === 0 ? undefined : Math.min(...retries))) found.push("retry")
      if (session.aloneAt !== (alone.length === 0 ? undefined : Math.min(...alone))) found.push("alone")
      if (session.isLeased !== (session.lease !== undefined)) found.push("isLeased")
      if (session.expiresAt !== session.lease?.expiresAt) found.push("expiresAt")
      if (session.leaseRuntimeId !== session.lease?.runtimeId) found.push("leaseRuntimeId")
      const claimed = own.filter((row) => row.state === "claimed").map((row) => String(row._id))
      const held = session.lease === undefined ? [] : [session.lease.holder]
      if (claimed.join() !== held.join()) found.push("claimed rows against the lease")
    }
    for (const row of agents) {
      if (row.attempts > maxAttempts) found.push("attempts over budget")
      if (row.state === "waiting" && row.nextAttemptAt === undefined) found.push("waiting for nothing")
      if (row.state === "delivered" && row.outcome === undefined) found.push("delivered without outcome")
      if (row.state === "ready" && row.crashes >= 2 && row.aloneAt === undefined)
        found.push("crashed row beside others")
      if (row.state === "folded") {
        const kept = rows.find((each) => each._id === row.foldedInto)
        if (kept === undefined || ["delivered", "dead", "folded"].includes(kept.state))
          found.push("folded into nothing")
      }
    }
    return found
  })

/** A random history of the queue: messages, claims, every kind of ending, crashes, and calls that are sent twice. */
const live = async (seed: number, steps: number) => {
  const random = randomOf(seed)
  const pick = <A>(items: ReadonlyArray<A>): A | undefined => items[Math.floor(random() * items.length)]
  const plane = await seededPlane({ sessionScope: seed % 2 === 0 ? "agent" : "task" })
  await plane.pulse("r2", "c1")
  const boots: Record<string, number> = { r1: 1, r2: 1 }
  const bootOf = (runtimeId: string) => `${runtimeId === "r1" ? "b" : "c"}${boots[runtimeId]}`
  const tasks: Array<string> = []
  let held: Array<{ session: string; epoch: number; runtimeId: string; spent: boolean; alone: boolean }> = []
  let sent = 0

  const twice = async <A>(call: () => Promise<A>): Promise<A> => {
    const answer = await call()
    if (random() < 0.3) {
      sent += 1
      expect(await call()).toEqual(answer)
    }
    return answer
  }
  const claim = async (runtimeId: string) => {
    const requestId = `q${seed}-${random()}`
    const parkedAgents = random() < 0.1 ? [plane.qa] : []
    const { deliveries } = await twice(() =>
      plane.claim({
        requestId,
        runtimeId,
        bootId: bootOf(runtimeId),
        limit: 1 + Math.floor(random() * 3),
        maxAttempts,
        parkedAgents
      })
    )
    for (const { session, epoch, spent, alone } of deliveries) {
      held = held.filter((each) => each.session !== session)
      held.push({ session, epoch, spent, alone, runtimeId })
      const beside = held.filter((each) => each.runtimeId === runtimeId && each.session !== session)
      if (alone) expect(beside).toEqual([])
      else expect(beside.filter((each) => each.alone)).toEqual([])
    }
  }
  const end = async () => {
    const delivery = pick(held)
    if (delivery === undefined) return
    held = held.filter((each) => each !== delivery)
    const fence = fenceOf(delivery)
    const { notifications } = api.service
    const draw = delivery.spent ? 0.99 : random()
    const nextAttemptAt = Date.now() + Math.floor(random() * 20_000)
    const failure = { ...fence, class: "TurnTimeout", error: "slow", silenceLimit: 3, maxHops: 3 }
    if (draw < 0.35) {
      const reply = pick(["Done.", "@qa please", "@engineer please", "@all look"]) ?? ""
      await twice(() => plane.mutate(notifications.complete, { ...fence, outcome: "replied", reply, maxHops: 3 }))
    } else if (draw < 0.45)
      await twice(() => plane.mutate(notifications.complete, { ...fence, outcome: "skipped", maxHops: 3 }))
    else if (draw < 0.6) await twice(() => plane.mutate(notifications.release, fence))
    else if (draw < 0.7) {
      await twice(() =>
        plane.mutate(notifications.release, { ...fence, nextAttemptAt, class: "ProviderFailed", error: "529" })
      )
    } else if (draw < 0.85)
      await twice(() => plane.mutate(notifications.fail, { ...failure, nextAttemptAt, silence: false }))
    else if (draw < 0.95)
      await twice(() => plane.mutate(notifications.fail, { ...failure, nextAttemptAt, silence: true }))
    else await twice(() => plane.mutate(notifications.fail, { ...failure, silence: false }))
  }
  const crash = async (runtimeId: string) => {
    boots[runtimeId] = (boots[runtimeId] ?? 0) + 1
    held = held.filter((each) => each.runtimeId !== runtimeId)
    await plane.pulse(runtimeId, bootOf(runtimeId))
  }

  for (let step = 0; step < steps; step += 1) {
    const draw = random()
    const runtimeId = random() < 0.5 ? "r1" : "r2"
    if (draw < 0.1 || tasks.length === 0) {
      const assigneeIds = [plane.engineer, plane.qa, plane.lead].filter(() => random() < 0.5)
      tasks.push((await plane.asPerson(api.app.tasks.create, { title: `T${step}`, assigneeIds })).taskId)
    } else if (draw < 0.3) await plane.post(pick(tasks) ?? "", pick(["hello", "@qa go", "@lead go", "any news?"]) ?? "")
    else if (draw < 0.6) await claim(runtimeId)
    else if (draw < 0.9) await end()
    else if (draw < 0.94) await crash(runtimeId)
    else vi.setSystemTime(Date.now() + Math.floor(random() * 30_000))
    expect([seed, step, await faults(plane)]).toEqual([seed, step, []])
  }

  // From here on nothing goes wrong: everything must come to its end, within a bounded number of rounds.
  for (const each of held) await plane.mutate(api.service.notifications.release, fenceOf(each))
  held = []
  for (let round = 0; round < 400; round += 1) {
    const { deliveries, nextDueAt } = await plane.claim({ bootId: bootOf("r1"), maxAttempts })
    for (const delivery of deliveries) {
      const fence = fenceOf(delivery)
      await (delivery.spent
        ? plane.mutate(api.service.notifications.fail, {
            ...fence,
            class: "Defect",
            error: "spent",
            silence: false,
            silenceLimit: 3,
            maxHops: 3
          })
        : plane.mutate(api.service.notifications.complete, { ...fence, outcome: "acted", maxHops: 3 }))
    }
    if (deliveries.length === 0 && nextDueAt === null) break
    if (deliveries.length === 0 && nextDueAt !== null) vi.setSystemTime(Math.max(Date.now(), nextDueAt))
  }
  expect([seed, await faults(plane)]).toEqual([seed, []])
  const left = await plane.t.run(async (ctx) =>
    (await ctx.db.query("notifications").collect()).filter(
      (row) => row.recipientType === "agent" && row.state !== "delivered" && row.state !== "dead"
    )
  )
  expect([seed, left]).toEqual([seed, []])
  return sent
}

describe("the queue", () => {
  it("keeps its order, leases and budgets in line through random histories, and loses nothing", async () => {
    let sent = 0
    for (let seed = 1; seed <= 6; seed += 1) sent += await live(seed, 120)
    expect(sent).toBeGreaterThan(25)
  }, 60_000)
})
