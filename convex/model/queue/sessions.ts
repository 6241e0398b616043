import type { Infer } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import type { requestTokens } from "../../tables/runs.ts"
import type { lease } from "../../tables/sessions.ts"
import { revertShown, type TurnState } from "../contexts/seenTasks.ts"
import { randomHex } from "../database/randomHex.ts"
import { sha256 } from "../database/sha256.ts"
import { pauseOf } from "./pauses.ts"
import { wakeFor } from "./wakes.ts"

export type Lease = Infer<typeof lease>
export type LeasedSession = Doc<"sessions"> & { readonly lease: Lease }

/** Identifies one of the agent's sessions: for heartbeats, or for deliveries of one task or of all tasks. */
export interface SessionOf {
  readonly kind: Doc<"sessions">["kind"]
  readonly taskId?: Id<"tasks">
}

/** The session in which a turn of the agent runs. Creates it if it does not exist. Reads one row. */
export const sessionFor = async (
  ctx: Pick<MutationCtx, "db">,
  agent: Pick<Doc<"agents">, "_id" | "accountId" | "firstGeneration">,
  { kind, taskId }: SessionOf
): Promise<Doc<"sessions">> => {
  const found = await ctx.db
    .query("sessions")
    .withIndex("by_agent", (q) => q.eq("agentId", agent._id).eq("kind", kind).eq("taskId", taskId))
    .unique()
  if (found !== null) return found
  const id = await ctx.db.insert("sessions", {
    accountId: agent.accountId,
    agentId: agent._id,
    kind,
    ...(taskId === undefined ? {} : { taskId }),
    generation: agent.firstGeneration,
    fenceSecret: randomHex(16),
    epoch: 0,
    stoppedRuns: []
  })
  const made = await ctx.db.get("sessions", id)
  if (made === null) throw new Error("The inserted session does not exist.")
  return made
}

/**
 * The first generation for the sessions of a new agent, higher than any that earlier agents with its slug have used,
 * because the gateway's keys contain the slug. Reads two rows.
 */
export const firstGenerationFor = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  slug: string
): Promise<number> => {
  const former = await ctx.db
    .query("agents")
    .withIndex("by_slug_ever", (q) => q.eq("accountId", accountId).eq("slug", slug))
    .order("desc")
    .first()
  if (former === null) return 1
  const last = await ctx.db
    .query("sessions")
    .withIndex("by_generation", (q) => q.eq("agentId", former._id))
    .order("desc")
    .first()
  // A running turn of the removed agent may use the generation after that of its session.
  return last === null ? former.firstGeneration : last.generation + 2
}

/**
 * The fence mark in the session's prompts. It is the same in every turn of a generation, so that the provider's prompt
 * cache applies, and unknown to other generations.
 */
export const fenceMarkOf = async ({ fenceSecret }: Doc<"sessions">, generation: number): Promise<string> =>
  (await sha256(`${fenceSecret} ${generation}`)).slice(0, 16)

/** The maximum number of stopped runs that a prompt names. */
const stoppedRunsKept = 10

/** The stopped runs of a session and this one. */
export const withStoppedRun = (stoppedRuns: ReadonlyArray<string>, run: string): Array<string> =>
  [...stoppedRuns.filter((each) => each !== run), run].slice(-stoppedRunsKept)

/** Other runs that were stopped and whose texts the generation's history may still contain. */
export const stoppedBefore = (session: Doc<"sessions">, generation: number, run: string): Array<string> =>
  generation === session.generation ? session.stoppedRuns.filter((each) => each !== run) : []

/** The session's next ready notification, due or not. Reads at most one row. */
export const nextOf = (ctx: Pick<QueryCtx, "db">, sessionId: Id<"sessions">): Promise<Doc<"notifications"> | null> =>
  ctx.db
    .query("notifications")
    .withIndex("by_session", (q) => q.eq("sessionId", sessionId).eq("state", "ready"))
    .first()

/** The order key of a free session; none while its agent is paused. Reads at most one row. */
const orderKeyOf = async (
  ctx: Pick<QueryCtx, "db">,
  session: Doc<"sessions">,
  next: Doc<"notifications"> | null
): Promise<number | undefined> => {
  if (next === null || (await pauseOf(ctx, session.accountId, session.agentId)) !== null) return undefined
  return next.at
}

/**
 * Updates the order key of a session after new or changed work, and wakes the runtimes if the session becomes due.
 * While the agent's heartbeat runs, waking is left to the end of the heartbeat.
 */
export const enqueue = async (ctx: Pick<MutationCtx, "db">, session: Doc<"sessions">, at: number): Promise<void> => {
  if (session.lease !== undefined || (session.at !== undefined && session.at <= at)) return
  if ((await pauseOf(ctx, session.accountId, session.agentId)) !== null) return
  await ctx.db.patch("sessions", session._id, { at })
  const now = Date.now()
  if (at > now || (session.at !== undefined && session.at <= now)) return
  if (!(await hasLease(ctx, session.agentId, "heartbeat"))) await wakeFor(ctx, session)
}

/** The gateway archives or deletes a session that was not used for thirty days, and may then refuse its turns. */
const keptByGatewayMs = 14 * 24 * 60 * 60 * 1_000

/**
 * The generation of the session's next turn: a new one if a rotation was requested, or if the session was not used for
 * long.
 */
const generationNow = ({ generation, nextGeneration = 0, usedAt }: Doc<"sessions">): number =>
  Math.max(usedAt !== undefined && usedAt < Date.now() - keptByGatewayMs ? generation + 1 : generation, nextGeneration)

/** Leases the session: raises the epoch and applies a requested rotation. */
export const takeLease = async (
  ctx: Pick<MutationCtx, "db">,
  session: Doc<"sessions">,
  taken: Omit<Lease, "epoch" | "generation"> & { readonly runsInNextGeneration: boolean }
): Promise<Lease> => {
  const { runsInNextGeneration, ...rest } = taken
  const generation = generationNow(session)
  const held: Lease = {
    ...rest,
    epoch: session.epoch + 1,
    generation: runsInNextGeneration ? generation + 1 : generation
  }
  await ctx.db.patch("sessions", session._id, {
    generation,
    nextGeneration: undefined,
    ...(generation === session.generation ? {} : { historyTokens: undefined }),
    epoch: held.epoch,
    lease: held,
    at: undefined,
    expiresAt: held.expiresAt,
    leaseRuntimeId: held.runtimeId,
    leaseTaskId: held.taskId,
    ...(held.generation === session.generation ? {} : { stoppedRuns: [] })
  })
  return held
}

/** Returns a lease of the same run under the next epoch, because the process did not receive the first answer. */
export const reissueLease = async (
  ctx: Pick<MutationCtx, "db">,
  session: LeasedSession,
  expiresAt: number
): Promise<Lease> => {
  const held: Lease = { ...session.lease, epoch: session.epoch + 1, expiresAt, claimedAt: Date.now() }
  await ctx.db.patch("sessions", session._id, { epoch: held.epoch, lease: held, expiresAt })
  return held
}

/** The agent's leased sessions, at most 1,000. Reads one row each. */
export const leasedSessionsOf = async (
  ctx: Pick<QueryCtx, "db">,
  agentId: Id<"agents">
): Promise<Array<Doc<"sessions">>> => {
  const leased: Array<Doc<"sessions">> = []
  for (const kind of ["heartbeat", "notification"] as const) {
    const sessions = await ctx.db
      .query("sessions")
      .withIndex("by_agent_expiry", (q) => q.eq("agentId", agentId).eq("kind", kind).gt("expiresAt", 0))
      .take(1_000 - leased.length)
    leased.push(...sessions)
  }
  return leased
}

/** Whether a run of this kind holds a lease of the agent. Reads at most one row. */
export const hasLease = async (
  ctx: Pick<QueryCtx, "db">,
  agentId: Id<"agents">,
  kind: Doc<"sessions">["kind"]
): Promise<boolean> => {
  const leased = await ctx.db
    .query("sessions")
    .withIndex("by_agent_expiry", (q) => q.eq("agentId", agentId).eq("kind", kind).gt("expiresAt", 0))
    .first()
  return leased !== null
}

/** Whether a session of the agent is due and not claimed. Reads at most one row. */
export const hasDueSession = async (
  ctx: Pick<QueryCtx, "db">,
  agentId: Id<"agents">,
  now: number
): Promise<boolean> => {
  const due = await ctx.db
    .query("sessions")
    .withIndex("by_agent_at", (q) => q.eq("agentId", agentId).gt("at", 0).lte("at", now))
    .first()
  return due !== null
}

/** Whether the agent has due work that is not claimed: a session or its heartbeat. Reads at most two rows. */
const hasDueWork = async (ctx: Pick<QueryCtx, "db">, agentId: Id<"agents">, now: number): Promise<boolean> => {
  if (await hasDueSession(ctx, agentId, now)) return true
  const heartbeat = await ctx.db
    .query("heartbeats")
    .withIndex("by_agent", (q) => q.eq("agentId", agentId).gt("at", 0).lte("at", now))
    .first()
  return heartbeat !== null
}

/** How a lease ends: the state of the turn, and the session's generation. */
export interface LeaseEnd {
  readonly turn: TurnState
  /** The session's own generation unless the run completed in another. */
  readonly generation?: number
  /** Present if the turn was answered and the gateway reported tokens. */
  readonly requestTokens?: Infer<typeof requestTokens>
  /** The history exceeds the limit: the next generation starts, unless the session has waiting work. */
  readonly isHistoryLong?: boolean
  /** The history no longer fits into the model's context: the next generation starts. */
  readonly isHistoryFull?: boolean
  /** The run was stopped, and the gateway may put its text before the session's next one. */
  readonly isStopped?: boolean
}

/**
 * The session's record of its history's length. If the history became shorter, the gateway has compacted or reset it,
 * and earlier full texts may be gone.
 */
const historyOf = ({ generation, historyTokens, lease }: LeasedSession, end: LeaseEnd) => {
  if (end.requestTokens === undefined) return {}
  const { first, least } = end.requestTokens
  const isShorter = lease.generation === generation && historyTokens !== undefined && first < 0.9 * historyTokens
  return { historyTokens: least, ...(isShorter ? { historyFrom: lease.epoch } : {}) }
}

/**
 * Frees the session, returns it to the order of claims, and wakes the runtimes if the agent has due work. Reads three
 * rows, and one more if the turn was not answered.
 */
export const endLease = async (ctx: Pick<MutationCtx, "db">, session: LeasedSession, end: LeaseEnd): Promise<void> => {
  await revertShown(ctx, session, end.turn)
  const next = await nextOf(ctx, session._id)
  const generation = end.generation ?? session.generation
  const stopped = end.turn === "answered" ? [] : session.stoppedRuns
  // The lease's generation may be later than the session's own.
  const latest = end.isHistoryFull === true ? session.lease.generation : generation
  const startsOver = end.isHistoryFull === true || (end.isHistoryLong === true && next === null)
  await ctx.db.patch("sessions", session._id, {
    lease: undefined,
    at: await orderKeyOf(ctx, session, next),
    expiresAt: undefined,
    leaseRuntimeId: undefined,
    recalled: undefined,
    news: undefined,
    usedAt: Date.now(),
    leaseTaskId: undefined,
    lastRequest: session.lastRequest,
    generation,
    stoppedRuns: end.isStopped === true ? withStoppedRun(stopped, session.lease.run) : stopped,
    ...(startsOver ? { nextGeneration: Math.max(session.nextGeneration ?? 0, latest + 1) } : {}),
    ...historyOf(session, end)
  })
  if (await hasDueWork(ctx, session.agentId, Date.now())) await wakeFor(ctx, session)
}

/** Recalculates the order key of a free session after its notifications became fewer or due later. */
export const refreshSession = async (ctx: Pick<MutationCtx, "db">, sessionId: Id<"sessions">): Promise<void> => {
  const session = await ctx.db.get("sessions", sessionId)
  if (session === null || session.lease !== undefined) return
  const at = await orderKeyOf(ctx, session, await nextOf(ctx, sessionId))
  if (at !== session.at) await ctx.db.patch("sessions", sessionId, { at })
}
