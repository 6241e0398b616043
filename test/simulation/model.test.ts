import { ConvexError } from "convex/values"
import { Option } from "effect"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api } from "../../convex/_generated/api.js"
import type { Doc, Id } from "../../convex/_generated/dataModel.js"
import { notifyAgents } from "../../convex/model/fanOut.ts"
import { nextCronMoment } from "../../src/domain/HeartbeatCadence.ts"
import { first, seededPlane } from "../convex/controlPlane.ts"
import { Dice } from "./dice.ts"
import { QueueModel, Refusal } from "./queueModel.ts"
import type { Beat, NotificationType, Row } from "./queueModel.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-05T10:00:00Z") })
})
afterEach(() => {
  vi.useRealTimers()
})

/** What a call came to: its answer, or the code with which it was refused. */
const outcomeOf = async (call: () => unknown): Promise<unknown> => {
  try {
    return await call()
  } catch (error) {
    if (error instanceof ConvexError) return { refused: (error.data as { readonly code: string }).code }
    if (error instanceof Refusal) return { refused: error.code }
    throw error
  }
}

/** Times are answered beside what was asked for; which message was posted is the thread's affair. */
const bare = (answer: unknown): unknown => {
  if (typeof answer !== "object" || answer === null) return answer
  const { messageId, now: _, ...rest } = answer as { readonly now?: unknown; readonly messageId?: unknown }
  return messageId === undefined ? rest : { ...rest, isPosted: messageId !== null }
}

/** The schedules of the one agent whose heartbeats are no minutes. */
const crons = ["*/2 * * * *", "*/30 * * * *"]

const types: ReadonlyArray<NotificationType> = [
  "mention",
  "thread_update",
  "thread_update",
  "thread_update",
  "assignment",
  "status_change",
  "response_request"
]

const compared = (row: Row) => ({
  state: row.state,
  lane: row.lane,
  readyAt: row.readyAt,
  nextAttemptAt: row.nextAttemptAt,
  attempts: row.attempts,
  claims: row.claims,
  failures: row.failures,
  silences: row.silences,
  crashes: row.crashes,
  sharedSince: row.sharedSince,
  foldedInto: row.foldedInto,
  isRequired: row.isRequired,
  hasFallback: row.hasFallback,
  outcome: row.outcome
})
const comparedDocument = (row: Doc<"notifications">) => ({
  state: row.state,
  lane: row.lane,
  readyAt: row.readyAt,
  nextAttemptAt: row.nextAttemptAt ?? null,
  attempts: row.attempts,
  claims: row.claims,
  failures: row.failures,
  silences: row.silences,
  crashes: row.crashes,
  sharedSince: row.sharedSince ?? null,
  foldedInto: row.foldedInto ?? null,
  isRequired: row.isRequired,
  hasFallback: row.hasFallback,
  outcome: row.outcome ?? null
})

const comparedBeat = (beat: Beat | Doc<"heartbeats">) => ({
  dueAt: beat.dueAt,
  attempts: beat.attempts,
  tries: beat.tries,
  failures: beat.failures,
  crashes: beat.crashes,
  schedule: beat.schedule,
  followingAt: beat.followingAt ?? null,
  notBefore: beat.notBefore ?? null,
  requestId: beat.requestId ?? null
})

/** One random history on both, compared after each step. */
const play = async (seed: number, length: number): Promise<number> => {
  const dice = new Dice(`model ${seed}`)
  /** Every third history is mostly of heartbeats, which deliveries otherwise come before. */
  const isOfBeats = seed % 3 === 0
  const plane = await seededPlane({ sessionScope: dice.pick(["agent", "task"] as const) })
  const { t } = plane
  const tasks: Array<Id<"tasks">> = []
  for (const title of ["One", "Two"]) {
    tasks.push((await plane.asPerson(api.app.tasks.create, { title, assigneeIds: [] })).taskId as Id<"tasks">)
  }
  await plane.asPerson(api.app.agents.update, { agentId: plane.qa, heartbeat: dice.pick(crons) })
  const agents = [plane.lead, plane.engineer, plane.qa] as Array<Id<"agents">>
  /** When the plane says that an agent's first beat is due: by a digest, which is its own affair. */
  const firstBeats = new Map<string, number>()
  const model = new QueueModel({
    hasTask: () => true,
    post: () => "posted",
    begun: () => {},
    firstBeatAt: (agent) => firstBeats.get(agent) ?? 0
  })
  model.boot(Date.now(), "r1", "b1")
  const boots: Record<string, string> = { r1: "b1" }
  const bootsMade = { count: 1 }
  /** Every lease ever given, live or not. */
  const fences: Array<{ readonly session: string; readonly epoch: number }> = []
  const leaseMs = 30_000
  let compares = 0

  /** The same call on both sides, then once more: the second answers as the first and changes nothing. */
  const both = async (what: string, onPlane: () => unknown, onModel: () => unknown): Promise<unknown> => {
    const answer = bare(await outcomeOf(onPlane))
    const expected = bare(await outcomeOf(onModel))
    expect(answer, what).toEqual(expected)
    compares += 1
    return answer
  }
  const twice = async (what: string, onPlane: () => unknown, onModel: () => unknown): Promise<unknown> => {
    const answer = await both(what, onPlane, onModel)
    await both(`${what}, again`, onPlane, onModel)
    return answer
  }

  const enqueue = async () => {
    const agent = dice.pick(agents)
    const task = dice.pick(tasks)
    const type = dice.pick(types)
    const byPerson = dice.chance(0.5)
    const hops = dice.between(0, 3)
    const actor = byPerson
      ? ({ type: "person", id: plane.memberId, name: "Ana", slug: null } as const)
      : ({ type: "agent", id: agents.find((each) => each !== agent) ?? agent, name: "Other", slug: "other" } as const)
    const made = await t.run(async (ctx) => {
      const document = await ctx.db.get("tasks", task)
      const recipient = await ctx.db.get("agents", agent)
      if (document === null || recipient === null) throw new Error("the account is not complete")
      const ids = await notifyAgents(ctx, document, [recipient], { actor, hops, maxHops: 12 }, { type })
      const row = await ctx.db.get("notifications", first(ids))
      return { id: first(ids), session: row?.sessionId ?? "none" }
    })
    model.sessionFor(made.session, agent)
    model.enqueue(Date.now(), {
      ...made,
      agent,
      task,
      type,
      hops,
      actor: { type: byPerson ? "person" : "agent", id: actor.id }
    })
  }

  /** Mostly of the latest turn's fold, now and then a row of another. */
  const someRefused = () => {
    const folded = [...model.rows.values()].filter(({ state }) => state === "folded" || state === "claimed")
    const rows = folded.length > 0 && dice.chance(0.8) ? folded : [...model.rows.values()]
    return dice.chance(0.4) ? { refused: [{ id: dice.pick(rows).id, reason: "policy" }] } : {}
  }
  const someFence = () => (dice.chance(0.7) ? (fences.at(-1) ?? dice.pick(fences)) : dice.pick(fences))
  const steps: Readonly<Record<string, () => Promise<unknown>>> = {
    enqueue,
    claim: async () => {
      const runtimeId = dice.pick(Object.keys(boots))
      const request = {
        requestId: `request ${dice.between(1, 1_000_000)}`,
        runtimeId,
        bootId: dice.chance(0.95) ? (boots[runtimeId] ?? "none") : "b0",
        limit: dice.between(1, 3),
        leaseMs,
        maxAttempts: 3,
        parkedAgents: dice.chance(0.2) ? [dice.pick(agents)] : []
      }
      const answer = (await twice(
        `claim ${JSON.stringify(request)}`,
        () => plane.claim(request),
        () => model.claim(Date.now(), request)
      )) as { readonly deliveries?: ReadonlyArray<{ readonly session: string; readonly epoch: number }> }
      for (const { epoch, session } of answer.deliveries ?? []) fences.push({ session, epoch })
    },
    renew: async () => {
      const runtimeId = dice.pick(Object.keys(boots))
      const args = { ...someFence(), leaseMs, runtimeId, bootId: boots[runtimeId] ?? "none" }
      await twice(
        "renew",
        () => plane.mutate(api.service.notifications.renew, args),
        () => model.renew(Date.now(), args)
      )
    },
    complete: async () => {
      const { epoch, session } = someFence()
      const args = {
        session,
        epoch,
        // Nobody is told: whom a reply concerns is not the queue's affair.
        maxHops: 0,
        ...someRefused(),
        ...dice.pick([
          { outcome: "replied", reply: "done" },
          { outcome: "acted" },
          { outcome: "acted", note: "did it" },
          { outcome: "skipped", reason: "nothing" },
          { outcome: "fallback" }
        ] as const)
      }
      await twice(
        `complete ${JSON.stringify(args)}`,
        () => plane.mutate(api.service.notifications.complete, args),
        () => model.complete(Date.now(), args)
      )
    },
    fail: async () => {
      const { epoch, session } = someFence()
      const args = {
        session,
        epoch,
        class: "TurnTimeout",
        error: "too long",
        silence: dice.chance(0.4),
        silenceLimit: dice.between(1, 3),
        ...someRefused(),
        rotate: dice.chance(0.2),
        maxHops: 0,
        ...(dice.chance(0.75) ? { nextAttemptAt: Date.now() + dice.between(1, 60_000) } : {})
      }
      await twice(
        `fail ${JSON.stringify(args)}`,
        () => plane.mutate(api.service.notifications.fail, args),
        () => model.fail(Date.now(), args)
      )
    },
    release: async () => {
      const { epoch, session } = someFence()
      const args = {
        session,
        epoch,
        ...(dice.chance(0.6)
          ? {
              nextAttemptAt: Date.now() + dice.between(1, 60_000),
              ...(dice.chance(0.7)
                ? { class: "ProviderFailed", error: "429", sharedLimitMs: 24 * 3_600_000 }
                : { class: "GatewayUnreachable", error: "503" })
            }
          : {})
      }
      await twice(
        `release ${JSON.stringify(args)}`,
        () => plane.mutate(api.service.notifications.release, args),
        () => model.release(Date.now(), args)
      )
    },
    pulse: async () => {
      const runtimeId = dice.pick(["r1", "r2"])
      const isNew = boots[runtimeId] === undefined || dice.chance(0.4)
      const bootId = isNew ? `b${(bootsMade.count += 1)}` : (boots[runtimeId] ?? "none")
      boots[runtimeId] = bootId
      await both(
        `pulse ${runtimeId} ${bootId}`,
        async () => {
          const { nextDueAt, oldest, releasedLeases } = await plane.pulse(runtimeId, bootId)
          return { nextDueAt, oldest, releasedLeases }
        },
        () => {
          const releasedLeases = model.boot(Date.now(), runtimeId, bootId)
          return { nextDueAt: model.pulseDueAt(Date.now(), runtimeId), oldest: model.backlog().oldest, releasedLeases }
        }
      )
    },
    "an earlier boot's pulse": () =>
      both(
        "an earlier boot's pulse",
        async () => void (await plane.pulse("r1", "b1")),
        () => void model.boot(Date.now(), "r1", "b1")
      ),
    beat: async () => {
      const agentId = dice.pick(agents)
      const runtimeId = dice.pick(Object.keys(boots))
      const heartbeat = (await t.run((ctx) => ctx.db.get("agents", agentId)))?.heartbeat ?? 15
      // Now and then a runtime has not heard yet of another schedule.
      const schedule = typeof heartbeat === "string" && dice.chance(0.8) ? heartbeat : dice.pick(crons)
      // Or has reckoned long before it asks.
      const reckonedAt = Date.now() - (dice.chance(0.2) ? dice.between(1, 600_000) : 0)
      const nextDueAt = Option.getOrThrow(nextCronMoment(schedule, reckonedAt))
      const request = {
        ...(typeof heartbeat === "string" ? { schedule, nextDueAt } : {}),
        requestId: `beat ${dice.between(1, 1_000_000)}`,
        runtimeId,
        bootId: boots[runtimeId] ?? "none",
        agentId,
        leaseMs,
        parkedAgents: dice.chance(0.1) ? [agentId] : []
      }
      const own = await t.run(async (ctx) => {
        const sessions = await ctx.db.query("sessions").collect()
        return sessions.find((session) => session.agentId === agentId && session.taskId === undefined)?._id
      })
      const answer = await twice(
        `beat ${JSON.stringify(request)}`,
        async () => {
          const beat = await plane.mutate(api.service.sessions.claimBeat, request)
          if (!("claimed" in beat)) {
            if (!model.beats.has(agentId)) firstBeats.set(agentId, beat.dueAt)
            return beat
          }
          const { context: _, ...lease } = beat.claimed
          return lease
        },
        async () => {
          // The plane made the session at its first beat.
          const made = await t.run(async (ctx) => {
            const sessions = await ctx.db.query("sessions").collect()
            return sessions.find((session) => session.agentId === agentId && session.taskId === undefined)?._id
          })
          const session = model.sessionFor(own ?? made ?? "none", agentId)
          return model.claimBeat(Date.now(), request, session, heartbeat)
        }
      )
      if (typeof answer === "object" && answer !== null && "heartbeatId" in answer) {
        const { epoch, session } = answer as unknown as { readonly epoch: number; readonly session: string }
        fences.push({ session, epoch })
      }
    },
    "beat's end": async () => {
      const { epoch, session } = someFence()
      const reckonedAt = Date.now() - (dice.chance(0.2) ? dice.between(1, 600_000) : 0)
      const nextDueAt = Option.getOrThrow(nextCronMoment(dice.pick(crons), reckonedAt))
      const args = { session, epoch, maxHops: 0, ...(dice.chance(0.5) ? { nextDueAt } : {}) }
      await twice(
        "the end of a beat",
        () => plane.mutate(api.service.agents.updateAgentHeartbeat, { ...args, status: "idle" }),
        () => model.finishBeat(Date.now(), args, () => null)
      )
    },
    "dead letter": async () => {
      const rows = [...model.rows.values()]
      const dead = rows.filter(({ state }) => state === "dead")
      const { id } = dice.pick(dead.length > 0 && dice.chance(0.8) ? dead : rows)
      const isRetry = dice.chance(0.6)
      await twice(
        `dead letter ${isRetry ? "retried" : "discarded"}`,
        () =>
          isRetry
            ? plane.mutate(api.service.notifications.retryDeadLetter, { id })
            : plane.mutate(api.service.notifications.discardDeadLetter, { id }),
        () => {
          if (isRetry) model.retryDeadLetter(Date.now(), id)
          else model.discardDeadLetter(Date.now(), id)
          return null
        }
      )
    },
    reschedule: async () => {
      await plane.asPerson(api.app.agents.update, { agentId: plane.qa, heartbeat: dice.pick(crons) })
    },
    rotate: async () => {
      const agent = dice.pick(agents)
      await both(
        "rotate",
        () => plane.mutate(api.service.sessions.rotate, { agent }),
        () => ({ rotated: model.rotate(agent).length })
      )
    },
    backlog: () =>
      both(
        "backlog",
        () => plane.query(api.service.notifications.backlog, {}),
        () => model.backlog()
      )
  }

  await enqueue()
  for (let count = 0; count < length; count += 1) {
    // Mostly moments, now and then beyond the lease, rarely beyond the day that a parked row waits.
    const pause = dice.weighted({ moment: 12, while: 4, lease: isOfBeats ? 6 : 2, day: 0.3 })
    const millis = { moment: 1_000, while: 20_000, lease: 150_000, day: 25 * 3_600_000 }[pause]
    vi.setSystemTime(Date.now() + dice.between(1, millis))
    const name = dice.weighted({
      enqueue: isOfBeats ? 1 : 6,
      claim: isOfBeats ? 3 : 7,
      renew: fences.length > 0 ? 1 : 0,
      complete: fences.length > 0 ? 3 : 0,
      fail: fences.length > 0 ? 4 : 0,
      release: fences.length > 0 ? 3 : 0,
      beat: isOfBeats ? 8 : 2,
      "beat's end": fences.length > 0 ? (isOfBeats ? 4 : 1) : 0,
      pulse: 1.5,
      "an earlier boot's pulse": 0.2,
      "dead letter": 1.5,
      rotate: 0.5,
      reschedule: 0.3,
      backlog: 0.5
    })
    await steps[name]?.()
    const documents = await t.run((ctx) => ctx.db.query("notifications").collect())
    const rows = documents.filter(({ recipientType }) => recipientType === "agent")
    expect(Object.fromEntries(rows.map((row) => [row._id, comparedDocument(row)])), `rows after ${name}`).toEqual(
      Object.fromEntries([...model.rows].map(([id, row]) => [id, compared(row)]))
    )
    const beats = await t.run((ctx) => ctx.db.query("heartbeats").collect())
    expect(Object.fromEntries(beats.map((beat) => [beat.agentId, comparedBeat(beat)])), `beats after ${name}`).toEqual(
      Object.fromEntries([...model.beats].map(([agent, beat]) => [agent, comparedBeat(beat)]))
    )
    const sessions = await t.run((ctx) => ctx.db.query("sessions").collect())
    for (const session of sessions) {
      const expected = model.sessions.get(session._id)
      if (expected === undefined) continue
      expect(
        { generation: session.generation, epoch: session.epoch, expiresAt: session.lease?.expiresAt ?? null },
        `session after ${name}`
      ).toEqual({
        generation: expected.generation,
        epoch: expected.epoch,
        expiresAt: expected.lease?.expiresAt ?? null
      })
    }
  }
  return compares
}

describe("the control plane's functions and the model of the queue", () => {
  it.each(Array.from({ length: 12 }, (_, index) => index + 1))(
    "answer alike through a random history, seed %i",
    async (seed) => {
      expect(await play(seed, 80)).toBeGreaterThan(80)
    },
    60_000
  )
})

describe("what the simulation and the model found", () => {
  it("a spent delivery that is released has no attempt to give back", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    const tried = first((await plane.claim({ maxAttempts: 1 })).deliveries)
    await plane.pulse("r1", "b2")
    const spent = first((await plane.claim({ maxAttempts: 1, bootId: "b2" })).deliveries)
    expect(spent).toMatchObject({ notificationIds: tried.notificationIds, spent: true, attempt: 1 })
    const { epoch, session } = spent
    await plane.mutate(api.service.notifications.release, { epoch, session })
    expect(first((await plane.claim({ maxAttempts: 1, bootId: "b2" })).deliveries)).toMatchObject({ spent: true })
  })

  it("a pulse does not tell a runtime to look when its own live leases end, which it keeps itself", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    const { expiresAt } = first((await plane.claim()).deliveries)
    expect(await plane.pulse()).toMatchObject({ nextDueAt: null })
    expect(await plane.pulse("r2", "b1")).toMatchObject({ nextDueAt: expiresAt })
    vi.setSystemTime(expiresAt + 1)
    expect(await plane.pulse()).toMatchObject({ nextDueAt: Date.now() })
  })

  it("a pulse tells of a retry that was due before it, when the runtime that failed it is gone", async () => {
    const plane = await seededPlane()
    await plane.asPerson(api.app.tasks.create, { title: "T", assigneeIds: [plane.engineer] })
    const { epoch, session } = first((await plane.claim()).deliveries)
    await plane.mutate(api.service.notifications.fail, {
      session,
      epoch,
      class: "TurnTimeout",
      error: "too long",
      nextAttemptAt: Date.now() + 1_000,
      silence: false,
      silenceLimit: 3,
      maxHops: 12
    })
    vi.setSystemTime(Date.now() + 10_000)
    expect(await plane.pulse("r2", "b1")).toMatchObject({ oldest: null, nextDueAt: Date.now() })
  })
})
