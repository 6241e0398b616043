import { describe, expect, it, vi } from "vitest"
import type { NamedLease } from "../../convex/model/queue/leases.ts"
import { stopTime } from "./clock.ts"
import {
  complete,
  fail,
  finish,
  leaseOf,
  makeTask,
  type Plane,
  release,
  type Run,
  seededPlane
} from "./controlPlane.ts"

stopTime()

/** Short chains of agents, and updates that wait for a short time. */
const short = { maxHops: 3, quietTimeMs: 20_000, quietLimitMs: 60_000 }

/** Numbers from 0 to 1, the same for the same seed. */
const randomOf = (seed: number) => {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 4_294_967_296
  }
}

const maxAttempts = 4

/**
 * Returns the inconsistencies of the queue. Empty if every index field agrees with the rows, and every row with its
 * session.
 */
const faults = (plane: Plane) =>
  plane.t.run(async (ctx) => {
    const found: Array<string> = []
    const rows = await ctx.db.query("notifications").collect()
    const agents = rows.filter((row) => row.recipientType === "agent")
    const sessions = await ctx.db.query("sessions").collect()
    for (const session of sessions) {
      const own = agents.filter((row) => row.sessionId === session._id)
      const ready = own.filter((row) => row.state === "ready").map(({ at }) => at)
      const least = session.lease !== undefined || ready.length === 0 ? undefined : Math.min(...ready)
      if (session.at !== least) found.push("at")
      if (session.expiresAt !== session.lease?.expiresAt) found.push("expiresAt")
      if (session.leaseRuntimeId !== session.lease?.runtimeId) found.push("leaseRuntimeId")
      if (session.lease !== undefined && session.lease.epoch !== session.epoch) found.push("epoch")
      const claimed = own.filter((row) => row.state === "claimed").map(({ _id }) => String(_id))
      const held = session.lease?.kind === "notification" ? [session.lease.run] : []
      if (claimed.join() !== held.join()) found.push("claimed notifications against the lease")
    }
    for (const row of agents) {
      if (row.attempts > maxAttempts) found.push("attempts over budget")
      if (row.attempts > row.claims) found.push("attempts over claims")
      if (row.state === "delivered" && row.outcome === undefined) found.push("delivered without outcome")
      if (row.events.length === 0 || row.events.length > 50) found.push("events")
      const byAge = row.events.map(({ at }) => at)
      if (byAge.join() !== byAge.toSorted((left, right) => left - right).join()) found.push("order of events")
      const isPersons = row.events.some(({ actor }) => actor.type === "person")
      if (row.hops !== (isPersons ? 0 : Math.max(...row.events.map(({ hops }) => hops)))) found.push("hops")
    }
    for (const row of await ctx.db.query("heartbeats").collect()) {
      const run = `${row.agentId}:${row.dueAt}`
      const isRunning = sessions.some(({ lease }) => lease?.run === run)
      if ((row.at === undefined) !== isRunning) found.push("heartbeat against its lease")
    }
    for (const { agentId, lease } of sessions) {
      const others = sessions.filter((each) => each.agentId === agentId && each.lease !== undefined)
      if (lease?.kind === "heartbeat" && others.length > 1) found.push("a delivery next to a heartbeat")
    }
    const untried = agents.filter(({ claims, state }) => state === "ready" && claims === 0)
    const open = untried.filter(({ events }) => events.length < 50).map(({ agentId, taskId }) => `${agentId} ${taskId}`)
    if (new Set(open).size !== open.length) found.push("two notifications that could be one")
    return found
  })

/** The state of one process. */
interface Process {
  readonly runtimeId: string
  boot: number
  held: Array<Run>
  abandoned: Array<NamedLease>
}

/**
 * A random history of the queue: messages, claims and lost answers, every kind of outcome, crashes, and calls sent
 * twice.
 */
const live = async (seed: number, steps: number) => {
  const random = randomOf(seed)
  const pick = <A>(items: ReadonlyArray<A>): A | undefined => items[Math.floor(random() * items.length)]
  const plane = await seededPlane({ sessionScope: seed % 2 === 0 ? "agent" : "task" })
  const processes: Array<Process> = ["r1", "r2"].map((runtimeId) => ({ runtimeId, boot: 1, held: [], abandoned: [] }))
  const bootOf = ({ boot, runtimeId }: Process) => ({ runtimeId, bootId: `${runtimeId}-${boot}` })
  for (const process of processes) await plane.pulse(process.runtimeId, bootOf(process).bootId)
  const tasks: Array<string> = []
  let sent = 0
  let offered = 0

  const twice = async <A>(call: () => Promise<A>): Promise<A> => {
    const answer = await call()
    if (random() < 0.3) {
      sent += 1
      expect(await call()).toEqual(answer)
    }
    return answer
  }
  const claim = async (process: Process) => {
    const { abandoned } = process
    const answer = await plane.claim({
      ...bootOf(process),
      limit: 1 + Math.floor(random() * 3),
      heartbeatLimit: 1,
      maxAttempts,
      held: process.held.map(leaseOf),
      abandoned
    })
    // The answer is lost: the process knows none of these runs.
    if (random() < 0.15) return
    process.abandoned = []
    for (const run of answer.runs) {
      expect(process.held.filter(({ session }) => session === run.session)).toEqual([])
      process.held.push(run)
    }
    offered += answer.runs.length
  }
  const end = async (process: Process) => {
    const run = pick(process.held)
    if (run === undefined) return
    process.held = process.held.filter((each) => each !== run)
    const draw = random()
    const nextAttemptAt = Date.now() + Math.floor(random() * 20_000)
    if (draw < 0.1) process.abandoned.push(leaseOf(run))
    else if (draw < 0.2) await twice(() => release(plane, run))
    else if (draw < 0.3) {
      await twice(() => release(plane, run, { nextAttemptAt, class: "ProviderFailed", error: "529" }))
    } else if (draw < 0.45) await twice(() => fail(plane, run, { nextAttemptAt }))
    else if (draw < 0.5) await twice(() => fail(plane, run))
    else if (run.kind === "heartbeat") await twice(() => finish(plane, run, { settings: short }))
    else if (draw < 0.6) {
      await twice(() => fail(plane, run, { nextAttemptAt, silence: true, class: "TurnSilent" }))
    } else if (draw < 0.7) await twice(() => complete(plane, run, { settings: short }))
    else {
      const reply = pick(["Done.", "@qa please", "@engineer please", "@all look"]) ?? ""
      await twice(() => complete(plane, run, { outcome: "replied", reply, settings: short }))
    }
  }
  const restart = async (process: Process) => {
    if (random() < 0.5) await plane.claim({ ...bootOf(process), limit: 0, abandoned: process.abandoned })
    process.boot += 1
    process.held = []
    process.abandoned = []
    await plane.pulse(process.runtimeId, bootOf(process).bootId)
  }
  /** Drops what another process rescued, as a renewal reports it. */
  const renew = async (process: Process) => {
    const leases = await plane.t.run(async (ctx) => await ctx.db.query("sessions").collect())
    process.held = process.held.filter((run) =>
      leases.some(({ _id, lease }) => _id === run.session && lease?.epoch === run.epoch)
    )
    process.abandoned = process.abandoned.filter((named) =>
      leases.some(({ _id, lease }) => _id === named.session && lease?.epoch === named.epoch)
    )
  }

  for (let step = 0; step < steps; step += 1) {
    const draw = random()
    const process = pick(processes)
    if (process === undefined) throw new Error("expected a process")
    if (draw < 0.1 || tasks.length === 0) {
      const assigneeIds = [plane.engineer, plane.qa, plane.lead].filter(() => random() < 0.5)
      tasks.push(await makeTask(plane, assigneeIds, `T${step}`))
    } else if (draw < 0.3) await plane.post(pick(tasks) ?? "", pick(["hello", "@qa go", "@lead go", "any news?"]) ?? "")
    else if (draw < 0.6) await claim(process)
    else if (draw < 0.9) await end(process)
    else if (draw < 0.94) await restart(process)
    else vi.setSystemTime(Date.now() + Math.floor(random() * 60_000))
    for (const each of processes) await renew(each)
    expect([seed, step, await faults(plane)]).toEqual([seed, step, []])
  }

  // From here on there are no faults: everything must end within a bounded number of rounds.
  for (const process of processes) await plane.claim({ ...bootOf(process), limit: 0, abandoned: process.abandoned })
  await plane.pulse("r1", "last")
  const last = { runtimeId: "r1", bootId: "last", heartbeatLimit: 1, maxAttempts }
  for (let round = 0; round < 400; round += 1) {
    const { nextDueAt, runs } = await plane.take(last)
    for (const run of runs) {
      if (run.kind === "heartbeat") await finish(plane, run)
      else await complete(plane, run, { outcome: "acted", settings: short })
    }
    const left = await plane.t.run(async (ctx) =>
      (await ctx.db.query("notifications").collect()).filter(({ state }) => state === "ready" || state === "claimed")
    )
    if (left.length === 0) break
    if (runs.length === 0 && nextDueAt !== null) vi.setSystemTime(Math.max(Date.now(), nextDueAt))
  }
  expect([seed, await faults(plane)]).toEqual([seed, []])
  const left = await plane.t.run(async (ctx) =>
    (await ctx.db.query("notifications").collect()).filter(
      (row) => row.recipientType === "agent" && row.state !== "delivered" && row.state !== "dead"
    )
  )
  expect([seed, left]).toEqual([seed, []])
  return { sent, offered }
}

describe("the queue", () => {
  it("keeps its order, leases and budgets consistent through random histories, and loses nothing", async () => {
    let sent = 0
    let offered = 0
    for (let seed = 1; seed <= 6; seed += 1) {
      const counts = await live(seed, 120)
      sent += counts.sent
      offered += counts.offered
    }
    expect(sent).toBeGreaterThan(25)
    expect(offered).toBeGreaterThan(100)
  }, 120_000)
})
