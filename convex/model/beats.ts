import { type Infer, v } from "convex/values"
import { sessionKey } from "../../src/domain/SessionKey.ts"
import type { Doc, Id } from "../_generated/dataModel.js"
import type { MutationCtx } from "../_generated/server.js"
import {
  accountOf,
  activeAgents,
  agentOf,
  agentRef,
  agentView,
  colleague,
  colleaguesOf,
  toAgentRef,
  toAgentView
} from "./agents.ts"
import { isPaused, mustBeCurrentBoot } from "./boots.ts"
import { checkLeaseMs, liveLeases, overdueAlone, rescueLease } from "./claim.ts"
import { effectsOf, primaryPersonOf } from "./context.ts"
import { advanceBeat, beatOf, followingDueAt, heartbeatId, maxBeatFailures } from "./heartbeats.ts"
import { type LastSigns, lastSignsOf } from "./participants.ts"
import { readWithin } from "./readWithin.ts"
import { refusal } from "./refusal.ts"
import { sessionFor, takeLease } from "./sessions.ts"
import { sha256 } from "./sha256.ts"
import { taskSize, taskView, toTaskViews } from "./tasks.ts"
import { earlierTrace, earlierTraceOf } from "./traces.ts"

/** What a beat's turn needs to know. */
export const beatContext = v.object({
  heartbeat: v.object({
    id: v.string(),
    dueAt: v.number(),
    schedule: v.union(v.number(), v.string()),
    lastHeartbeatAt: v.union(v.number(), v.null())
  }),
  account: v.object({ id: v.string(), name: v.string() }),
  agent: agentView,
  sessionKey: v.string(),
  generation: v.number(),
  /** Own tasks, newest first; for the orchestrator all that are under way, stalest first. */
  tasks: v.array(
    v.object({
      task: taskView,
      lastMessageAt: v.union(v.number(), v.null()),
      lastAssigneeAt: v.union(v.number(), v.null())
    })
  ),
  orchestrator: v.union(agentRef, v.null()),
  primaryPerson: v.union(v.object({ name: v.string() }), v.null()),
  mentionableAgents: v.array(colleague),
  /** The account's briefing, for the orchestrator only. */
  briefing: v.union(v.string(), v.null()),
  earlier: v.object({
    attempts: v.number(),
    effects: v.array(v.object({ tool: v.string(), summary: v.string(), at: v.number() })),
    trace: earlierTrace
  }),
  failures: v.number(),
  /** Nothing the agent would see has changed since its last finished beat. */
  isUnchanged: v.boolean()
})
type BeatContext = Infer<typeof beatContext>

export const beatAnswer = v.union(
  v.object({
    claimed: v.object({
      heartbeatId: v.string(),
      session: v.string(),
      epoch: v.number(),
      expiresAt: v.number(),
      attempt: v.number(),
      context: beatContext
    }),
    now: v.number()
  }),
  v.object({
    notBefore: v.number(),
    dueAt: v.number(),
    reason: v.union(
      v.literal("not_due"),
      v.literal("backing_off"),
      v.literal("session_busy"),
      v.literal("delivery_first"),
      v.literal("runtime_alone"),
      v.literal("parked"),
      v.literal("paused")
    ),
    now: v.number()
  })
)

export interface BeatRequest {
  readonly requestId: string
  readonly runtimeId: string
  readonly bootId: string
  readonly agentId: string
  readonly leaseMs: number
  readonly parkedAgents: ReadonlyArray<string>
  readonly nextDueAt?: number
  readonly schedule?: string
}

const ownTasks = 12
const orchestratorTasks = 200
/** Characters of tasks read for one beat, and how long a description an agent and the orchestrator see. */
const taskBudget = 2_000_000
const descriptionLength = { own: 4_000, orchestrator: 500 }
const staggerMs = 120_000
/** When to ask again if what holds the beat back ends at no known moment. */
const askAgainMs = 15_000

/** When to ask again whoever told a moment that has passed: it learns the time by the answer. */
const staleAgainMs = 1_000

/** A number from 0 up to 1 that is the same for the same text, so that agents' first beats spread over the window. */
const spread = (text: string): number => {
  let hash = 2_166_136_261
  for (const char of text) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 16_777_619)
  return (hash >>> 0) / 4_294_967_296
}

const mustHaveNextDueAt = (nextDueAt: number | undefined): number => {
  if (nextDueAt === undefined || !Number.isFinite(nextDueAt)) {
    throw refusal("invalid", "This agent's heartbeat is a cron expression: give its next moment as nextDueAt.")
  }
  return nextDueAt
}

/** When the agent's first beat by this schedule is due. */
const firstDueAt = (agent: Doc<"agents">, beat: Doc<"heartbeats"> | null, given: number | undefined, now: number) => {
  if (typeof agent.heartbeat === "string") return mustHaveNextDueAt(given)
  const interval = agent.heartbeat * 60_000
  const window = Math.min(0.4 * interval, staggerMs)
  const staggered = now + Math.floor(window * spread(agent._id))
  return beat?.lastHeartbeatAt === undefined ? staggered : Math.max(staggered, beat.lastHeartbeatAt + interval)
}

/** The agent's beat as of now: made at need, after a changed schedule anew, and past the ones that were given up. */
const currentBeat = async (
  ctx: MutationCtx,
  agent: Doc<"agents">,
  given: number | undefined,
  now: number
): Promise<Doc<"heartbeats">> => {
  const schedule = agent.heartbeat
  const found = await beatOf(ctx, agent._id)
  const anew = { schedule, attempts: 0, tries: 0, failures: 0, crashes: 0 }
  if (found === null) {
    const dueAt = firstDueAt(agent, null, given, now)
    const { accountId, _id: agentId } = agent
    await ctx.db.insert("heartbeats", { accountId, agentId, dueAt, status: "online", ...anew })
  } else if (found.schedule !== schedule) {
    await ctx.db.patch("heartbeats", found._id, {
      ...anew,
      dueAt: firstDueAt(agent, found, given, now),
      followingAt: undefined,
      notBefore: undefined,
      requestId: undefined,
      spanId: undefined
    })
  } else if (found.failures + found.crashes >= maxBeatFailures) {
    await advanceBeat(ctx, found, now)
  } else if (found.tries > 0 && followingDueAt(found, found.dueAt) <= now) {
    // The next beat is due: the failing one is given up in favour of the latest that is.
    const latest =
      typeof schedule === "string"
        ? followingDueAt(found, found.dueAt)
        : found.dueAt + Math.floor((now - found.dueAt) / (schedule * 60_000)) * schedule * 60_000
    await ctx.db.patch("heartbeats", found._id, {
      ...anew,
      dueAt: latest,
      followingAt: undefined,
      notBefore: undefined,
      requestId: undefined,
      spanId: undefined
    })
  }
  const beat = await beatOf(ctx, agent._id)
  if (beat === null) throw new Error("An inserted heartbeat is gone.")
  return beat
}

/** The tasks a beat looks at: an agent's own (12), or all that are under way for the orchestrator (200). */
const tasksOf = async (ctx: MutationCtx, agent: Doc<"agents">): Promise<Array<Doc<"tasks">>> => {
  const tasks: Array<Doc<"tasks">> = []
  if (agent.isOrchestrator) {
    for (const status of ["in_progress", "review", "assigned", "blocked"] as const) {
      const stalestFirst = ctx.db
        .query("tasks")
        .withIndex("by_status", (q) => q.eq("accountId", agent.accountId).eq("status", status))
      tasks.push(...(await readWithin(stalestFirst, orchestratorTasks, taskBudget / 4, taskSize)))
    }
    return tasks
      .filter((task) => !task.isOrchestratorChat)
      .toSorted((left, right) => left.updatedAt - right.updatedAt)
      .slice(0, orchestratorTasks)
  }
  for (const status of ["in_progress", "assigned"] as const) {
    if (tasks.length === ownTasks) break
    const assignments = await ctx.db
      .query("assignments")
      .withIndex("by_agent", (q) => q.eq("agentId", agent._id).eq("status", status))
      .order("desc")
      .take(ownTasks - tasks.length)
    for (const { taskId } of assignments) {
      const task = await ctx.db.get("tasks", taskId)
      if (task !== null) tasks.push(task)
    }
  }
  return tasks
}

/** The context of a beat and the fingerprint of what the agent sees in it. */
const contextOf = async (
  ctx: MutationCtx,
  agent: Doc<"agents">,
  beat: Doc<"heartbeats">,
  session: Doc<"sessions">,
  generation: number
): Promise<{ readonly context: BeatContext; readonly fingerprint: string }> => {
  const account = await accountOf(ctx, agent.accountId)
  const agents = await activeAgents(ctx, agent.accountId)
  const orchestrator = agents.find((each) => each.isOrchestrator)
  const tasks = await tasksOf(ctx, agent)
  const views = await toTaskViews(
    ctx,
    tasks,
    agent.isOrchestrator ? descriptionLength.orchestrator : descriptionLength.own
  )
  const signs: Array<LastSigns> = []
  for (const task of tasks) signs.push(await lastSignsOf(ctx, task))
  const seen = tasks.map((task, index) => [
    task._id,
    task.updatedAt,
    signs[index]?.lastMessageAt,
    signs[index]?.lastAssigneeAt
  ])
  const briefing = agent.isOrchestrator ? account.briefing : null
  const fingerprint = await sha256(JSON.stringify([account.rosterRevision, agent._id, briefing, seen]))
  const id = heartbeatId(beat)
  return {
    fingerprint,
    context: {
      heartbeat: { id, dueAt: beat.dueAt, schedule: beat.schedule, lastHeartbeatAt: beat.lastHeartbeatAt ?? null },
      account: { id: account._id, name: account.name },
      agent: toAgentView(account, agent),
      sessionKey: sessionKey({
        slug: agent.slug,
        accountId: account._id,
        ...(session.taskId === undefined ? {} : { taskId: session.taskId }),
        generation
      }),
      generation,
      tasks: views.map((task, index) => ({
        task,
        lastMessageAt: signs[index]?.lastMessageAt ?? null,
        lastAssigneeAt: signs[index]?.lastAssigneeAt ?? null
      })),
      orchestrator: orchestrator === undefined ? null : toAgentRef(orchestrator),
      primaryPerson: await primaryPersonOf(ctx, account._id),
      mentionableAgents: colleaguesOf(agents, agent),
      briefing,
      earlier: {
        attempts: beat.tries,
        effects: beat.tries > 0 ? await effectsOf(ctx, id) : [],
        ...earlierTraceOf(beat)
      },
      failures: beat.failures,
      isUnchanged: beat.fingerprint === fingerprint
    }
  }
}

/**
 * Leases the agent's session for its beat when that is due and nothing else comes first; otherwise says when to ask
 * again. The same requestId answers the same lease again while it lives.
 */
export const claimBeat = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  request: BeatRequest
): Promise<Infer<typeof beatAnswer>> => {
  const now = Date.now()
  checkLeaseMs(request.leaseMs)
  await mustBeCurrentBoot(ctx, accountId, request.runtimeId, request.bootId)
  const agent = await agentOf(ctx, accountId, request.agentId)
  if (agent.removedAt !== undefined) throw refusal("not_found", "The agent was removed: end its heartbeats.")
  const account = await accountOf(ctx, accountId)
  const session = await sessionFor(ctx, agent, account.sessionScope, undefined)
  const { lease } = session

  const held = await beatOf(ctx, agent._id)
  if (
    held !== null &&
    held.requestId === request.requestId &&
    lease?.holder === heartbeatId(held) &&
    lease.bootId === request.bootId
  ) {
    const before = { ...held, tries: held.tries - 1 }
    const { context } = await contextOf(ctx, agent, before, session, lease.generation)
    const { epoch, expiresAt } = lease
    const claimed = { heartbeatId: lease.holder, session: session._id, epoch, expiresAt, attempt: held.attempts }
    return { claimed: { ...claimed, context }, now }
  }
  if (lease !== undefined && lease.expiresAt > now) {
    const notBefore = Math.min(lease.expiresAt, now + askAgainMs)
    return { notBefore, dueAt: held?.dueAt ?? now, reason: "session_busy", now }
  }
  if (typeof agent.heartbeat === "string" && request.schedule !== undefined && request.schedule !== agent.heartbeat) {
    // Reckoned by a schedule that was changed meanwhile: by the new one its moment could be years away.
    return { notBefore: now + askAgainMs, dueAt: held?.dueAt ?? now, reason: "not_due", now }
  }
  // An expired lease is taken over only when a beat is due: until then it is still good to its holder.
  const isDue = held === null || held.schedule !== agent.heartbeat || held.dueAt <= now
  if (held !== null && !isDue) return { notBefore: held.dueAt, dueAt: held.dueAt, reason: "not_due", now }
  if (typeof agent.heartbeat === "string" && request.nextDueAt !== undefined && request.nextDueAt <= now) {
    // Reckoned long ago: the beat of that moment may have been finished by another runtime, and would come again.
    return { notBefore: now + staleAgainMs, dueAt: held?.dueAt ?? now, reason: "not_due", now }
  }
  if (lease !== undefined) await rescueLease(ctx, { ...session, lease })

  const beat = await currentBeat(ctx, agent, request.nextDueAt, now)
  const wait = (reason: Extract<Infer<typeof beatAnswer>, { reason: string }>["reason"], notBefore: number) => ({
    notBefore,
    dueAt: beat.dueAt,
    reason,
    now
  })
  if (beat.dueAt > now) return wait("not_due", beat.dueAt)
  if (beat.notBefore !== undefined && beat.notBefore > now) return wait("backing_off", beat.notBefore)
  if (await isPaused(ctx, accountId)) return wait("paused", now + askAgainMs)
  if (request.parkedAgents.includes(agent._id)) return wait("parked", now + askAgainMs)
  const free = await ctx.db.get("sessions", session._id)
  if (free === null) throw new Error("A session that was read is gone.")
  if (free.lane !== undefined || (free.retryAt !== undefined && free.retryAt <= now)) {
    return wait("delivery_first", now + askAgainMs)
  }
  const { isAlone } = await liveLeases(ctx, accountId, request.runtimeId, now)
  // A row that must run alone waits for an idle runtime: a beat that began now would make it wait anew.
  if (isAlone || (await overdueAlone(ctx, accountId, request.parkedAgents, now)) !== null) {
    return wait("runtime_alone", now + askAgainMs)
  }

  const id = heartbeatId(beat)
  const taken = await takeLease(ctx, free, {
    runtimeId: request.runtimeId,
    bootId: request.bootId,
    expiresAt: now + request.leaseMs,
    holder: id,
    kind: "heartbeat",
    alone: false,
    runsInNextGeneration: false
  })
  const { context, fingerprint } = await contextOf(ctx, agent, beat, free, taken.generation)
  await ctx.db.patch("heartbeats", beat._id, {
    requestId: request.requestId,
    attempts: beat.attempts + 1,
    tries: beat.tries + 1,
    notBefore: undefined,
    pendingFingerprint: fingerprint,
    ...(typeof agent.heartbeat === "string" ? { followingAt: mustHaveNextDueAt(request.nextDueAt) } : {})
  })
  const { epoch, expiresAt } = taken
  return {
    claimed: { heartbeatId: id, session: session._id, epoch, expiresAt, attempt: beat.attempts + 1, context },
    now
  }
}
