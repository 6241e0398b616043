import type { Infer } from "convex/values"
import type { Doc, Id } from "../_generated/dataModel.js"
import type { MutationCtx } from "../_generated/server.js"
import type { notificationOutcome, usage } from "../schema.ts"
import { agentActor } from "./actor.ts"
import { mustBeCurrentBoot } from "./boots.ts"
import { checkLeaseMs, leasedRow } from "./claim.ts"
import { cut } from "./cut.ts"
import { fallbackMessage } from "./fallbackMessage.ts"
import type { Origin } from "./fanOut.ts"
import { failBeat, releaseBeat } from "./heartbeats.ts"
import { postMessage } from "./messages.ts"
import { refusal } from "./refusal.ts"
import { endLease, fenced, heldSession, type LeasedSession, refreshSession } from "./sessions.ts"
import { moveTask } from "./tasks.ts"
import { type Trace, traceOf } from "./traces.ts"

/** What fences every write of a run. */
export interface Fence {
  readonly session: string
  readonly epoch: number
}

const maxErrorLength = 500
const maxReasonLength = 500

/** What is folded into a row, in whatever state the fold is. */
export const foldedRows = (
  ctx: Pick<MutationCtx, "db">,
  row: Doc<"notifications">
): Promise<Array<Doc<"notifications">>> =>
  ctx.db
    .query("notifications")
    .withIndex("by_folded_into", (q) => q.eq("foldedInto", row._id))
    .take(100)

const mustHaveRow = async (ctx: MutationCtx, session: LeasedSession): Promise<Doc<"notifications">> => {
  const row = await leasedRow(ctx, session)
  if (row === null) {
    throw refusal("invalid", "This lease is a heartbeat's: end it with service/agents:updateAgentHeartbeat.")
  }
  return row
}

const runOrigin = (row: Doc<"notifications">, agent: Doc<"agents">, maxHops: number): Origin => ({
  actor: agentActor(agent),
  hops: row.hops + 1,
  maxHops
})

const runOf = (row: Doc<"notifications">, session: LeasedSession) => ({
  runId: row._id,
  epoch: session.lease.epoch,
  answersType: row.type
})

/** Extends the lease from now. One row of the runtime and the session are read. */
export const renew = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  args: Fence & { readonly leaseMs: number; readonly runtimeId: string; readonly bootId: string }
): Promise<{ expiresAt: number; now: number }> => {
  checkLeaseMs(args.leaseMs)
  await mustBeCurrentBoot(ctx, accountId, args.runtimeId, args.bootId)
  const session = await heldSession(ctx, accountId, args)
  const now = Date.now()
  const expiresAt = now + args.leaseMs
  await ctx.db.patch("sessions", session._id, { expiresAt, lease: { ...session.lease, expiresAt } })
  return { expiresAt, now }
}

/** A row that the policy refused in this attempt, with its reason. */
export interface Refused {
  readonly id: string
  readonly reason: string
}

/** How the rows of a turn end well; all but `outcome`, `reason` and `usage` are the kept row's. */
interface DeliveredEnd extends Partial<
  Pick<Doc<"notifications">, "hasFallback" | "failures" | "silences" | "error" | "usage">
> {
  readonly outcome: Exclude<Infer<typeof notificationOutcome>, "coalesced">
  readonly reason?: string | undefined
  readonly refused?: ReadonlyArray<Refused> | undefined
  readonly trace: Trace
  readonly sharedSince?: undefined
}

/**
 * Ends the kept row and its fold. The outcome is of the rows that the policy let through: when it refused the kept one,
 * the strongest of the rest bears it. Refused rows end skipped, the others coalesced.
 */
const deliverRows = async (ctx: MutationCtx, leased: Doc<"notifications">, end: DeliveredEnd): Promise<void> => {
  const { outcome, reason, refused: given = [], trace, usage: tokens, ...own } = end
  const refused = new Map(given.map((each) => [each.id, cut(each.reason, maxReasonLength)]))
  const fold = (await foldedRows(ctx, leased)).filter((each) => each.state === "folded")
  const bearer =
    [leased, ...fold.toSorted((left, right) => right.readyAt - left.readyAt)].find((each) => !refused.has(each._id)) ??
    leased
  const endedAt = Date.now()
  for (const each of [leased, ...fold]) {
    const isBearer = each._id === bearer._id
    const why = refused.get(each._id)
    const said = isBearer ? (reason ?? why) : why
    await ctx.db.patch("notifications", each._id, {
      ...(each._id === leased._id ? own : {}),
      state: "delivered",
      outcome: isBearer ? outcome : why === undefined ? "coalesced" : "skipped",
      endedAt,
      nextAttemptAt: undefined,
      aloneAt: undefined,
      crashes: 0,
      ...(said === undefined ? {} : { outcomeReason: cut(said, maxReasonLength) }),
      ...(isBearer && tokens !== undefined ? { usage: tokens } : {}),
      ...trace
    })
  }
}

/** Posts the fallback once in the row's life, when an answer was owed and its task and agent are still there. */
const postFallback = async (
  ctx: MutationCtx,
  row: Doc<"notifications">,
  session: LeasedSession,
  maxHops: number,
  text?: string
): Promise<Id<"messages"> | null> => {
  const task = await ctx.db.get("tasks", row.taskId)
  const agent = row.agentId === undefined ? null : await ctx.db.get("agents", row.agentId)
  if (row.hasFallback || task === null || agent === null) return null
  return await postMessage(
    ctx,
    task,
    { content: text ?? fallbackMessage(agent.name, row.type), kind: "fallback", run: runOf(row, session) },
    runOrigin(row, agent, maxHops)
  )
}

export interface Completion extends Fence, Trace {
  readonly outcome: Exclude<Infer<typeof notificationOutcome>, "coalesced">
  readonly reply?: string
  readonly note?: string
  readonly refused?: ReadonlyArray<Refused>
  readonly reason?: string
  readonly truncated?: boolean
  readonly usage?: Infer<typeof usage>
  readonly maxHops: number
}

/** Moves an assigned task on when its assignee has begun: it replied, or it acted. */
const beginWork = async (ctx: MutationCtx, row: Doc<"notifications">, origin: Origin): Promise<void> => {
  const task = await ctx.db.get("tasks", row.taskId)
  if (task === null || task.status !== "assigned") return
  if (task.assigneeIds.some((each) => each === row.agentId)) await moveTask(ctx, task, { to: "in_progress" }, origin)
}

/** Writes reply, outcome, usage and what follows from them in this one transaction, and frees the session. */
export const complete = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  args: Completion
): Promise<{ messageId: string | null; now: number }> => {
  const now = Date.now()
  const fence = await fenced(ctx, accountId, args, "complete")
  if (fence.isRepeated) return { ...fence.answer, now }
  const { session } = fence
  const leased = await mustHaveRow(ctx, session)
  const reply = args.reply?.trim() ?? ""
  const note = args.note?.trim() ?? ""
  if (args.outcome === "replied" && reply === "") {
    throw refusal("invalid", "outcome replied needs a reply: send its text, or another outcome.")
  }

  await deliverRows(ctx, leased, {
    outcome: args.outcome,
    reason: args.reason,
    refused: args.refused,
    trace: traceOf(args),
    ...(args.usage === undefined ? {} : { usage: args.usage }),
    ...(args.outcome === "fallback" ? { hasFallback: true } : {})
  })

  const task = await ctx.db.get("tasks", leased.taskId)
  const agent = leased.agentId === undefined ? null : await ctx.db.get("agents", leased.agentId)
  let messageId: Id<"messages"> | null = null
  if (task !== null && agent !== null) {
    const origin = runOrigin(leased, agent, args.maxHops)
    if (args.outcome === "fallback") {
      messageId = await postFallback(ctx, leased, session, args.maxHops, reply === "" ? undefined : reply)
    } else if (reply !== "") {
      const run = { ...runOf(leased, session), ...(args.truncated === true ? { isTruncated: true } : {}) }
      messageId = await postMessage(ctx, task, { content: reply, kind: "reply", run }, origin)
    } else if (note !== "") {
      messageId = await postMessage(ctx, task, { content: note, kind: "note", run: runOf(leased, session) }, origin)
    }
    if (args.outcome === "replied" || args.outcome === "acted") await beginWork(ctx, leased, origin)
  }
  const answer = { messageId }
  // A generation tried for this row is kept now that its try is complete.
  await endLease(ctx, session, { kind: "complete", answer, generation: session.lease.generation })
  await refreshSession(ctx, session._id)
  return { ...answer, now }
}

export interface Release extends Fence, Trace {
  readonly nextAttemptAt?: number
  readonly class?: string
  readonly error?: string
  readonly sharedLimitMs?: number
  readonly maxHops?: number
}

const errorOf = (given: { readonly class?: string; readonly error?: string }, now: number) =>
  given.class === undefined && given.error === undefined
    ? {}
    : { error: { class: cut(given.class ?? "Unknown", 100), message: cut(given.error ?? "", maxErrorLength), at: now } }

/**
 * Gives the attempt back: to be claimed again at once (a drain), or at nextAttemptAt (a shared failure), or dead when
 * nothing but shared failures with a limit happened for longer than sharedLimitMs. Serves beats too.
 */
export const release = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  args: Release
): Promise<{ state: "ready" | "waiting" | "dead"; now: number }> => {
  const now = Date.now()
  const fence = await fenced(ctx, accountId, args, "release")
  if (fence.isRepeated) return { ...fence.answer, now }
  const { session } = fence
  let state: "ready" | "waiting" | "dead" = args.nextAttemptAt === undefined ? "ready" : "waiting"
  if (session.lease.kind === "heartbeat") {
    await releaseBeat(ctx, session, args.nextAttemptAt, { ...errorOf(args, now), ...traceOf(args) })
  } else {
    const row = await mustHaveRow(ctx, session)
    const attempts = session.lease.spent === true ? row.attempts : Math.max(0, row.attempts - 1)
    // What is waited for without end does not count against what is not, and nothing from before it does.
    const sharedSince = args.sharedLimitMs === undefined ? undefined : (row.sharedSince ?? now)
    if (args.nextAttemptAt === undefined) {
      await ctx.db.patch("notifications", row._id, {
        state: "ready",
        attempts,
        ...traceOf(args),
        // The attempt was given back, so its end says nothing about the row: it still runs alone.
        ...(row.crashes > 1 ? { aloneAt: now } : {})
      })
    } else if (sharedSince !== undefined && now - sharedSince > (args.sharedLimitMs ?? 0)) {
      state = "dead"
      await die(ctx, row, session, args.maxHops, { ...errorOf(args, now), ...traceOf(args) })
    } else {
      await ctx.db.patch("notifications", row._id, {
        state: "waiting",
        nextAttemptAt: args.nextAttemptAt,
        attempts,
        failures: row.failures + 1,
        sharedSince,
        ...errorOf(args, now),
        ...traceOf(args)
      })
    }
  }
  await endLease(ctx, session, { kind: "release", answer: { state } })
  await refreshSession(ctx, session._id)
  return { state, now }
}

/** Ends the row as a dead letter with its fold, and posts the fallback when an answer was owed. */
const die = async (
  ctx: MutationCtx,
  row: Doc<"notifications">,
  session: LeasedSession,
  maxHops: number | undefined,
  told: Partial<Pick<Doc<"notifications">, "error" | "traceId" | "spanId">>
): Promise<void> => {
  const posted = row.isRequired ? await postFallback(ctx, row, session, maxHops ?? 0) : null
  const endedAt = Date.now()
  await ctx.db.patch("notifications", row._id, {
    state: "dead",
    failures: row.failures + 1,
    crashes: 0,
    endedAt,
    nextAttemptAt: undefined,
    aloneAt: undefined,
    ...(posted === null ? {} : { hasFallback: true }),
    ...told
  })
  for (const each of await foldedRows(ctx, row)) {
    if (each.state === "folded") await ctx.db.patch("notifications", each._id, { state: "dead", endedAt })
  }
}

export interface Failure extends Fence, Trace {
  readonly class: string
  readonly error: string
  readonly nextAttemptAt?: number
  readonly silence: boolean
  readonly silenceLimit: number
  /** What the policy refused of the fold: at the silence limit these end skipped. */
  readonly refused?: ReadonlyArray<Refused>
  readonly rotate?: boolean
  readonly maxHops: number
}

/**
 * Stores an own failure: waiting until nextAttemptAt, dead without it, or delivered at the silence limit, where an owed
 * answer becomes the fallback message and a passive row is skipped. Serves beats too.
 */
export const fail = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  args: Failure
): Promise<{ state: "waiting" | "dead" | "delivered"; now: number }> => {
  const now = Date.now()
  const fence = await fenced(ctx, accountId, args, "fail")
  if (fence.isRepeated) return { ...fence.answer, now }
  const { session } = fence
  const error = errorOf(args, now)
  let state: "waiting" | "dead" | "delivered"
  if (session.lease.kind === "heartbeat") {
    state = await failBeat(ctx, session, args.nextAttemptAt, { ...error, ...traceOf(args) })
  } else {
    const row = await mustHaveRow(ctx, session)
    const silences = row.silences + (args.silence ? 1 : 0)
    const own = {
      failures: row.failures + 1,
      silences,
      crashes: 0,
      sharedSince: undefined,
      ...error
    }
    const trace = traceOf(args)
    if (args.silence && silences >= args.silenceLimit) {
      state = "delivered"
      if (row.isRequired) await postFallback(ctx, row, session, args.maxHops)
      await deliverRows(ctx, row, {
        ...own,
        outcome: row.isRequired ? "fallback" : "skipped",
        reason: "no response",
        refused: args.refused,
        trace,
        hasFallback: row.hasFallback || row.isRequired
      })
    } else if (args.nextAttemptAt === undefined) {
      state = "dead"
      await die(ctx, { ...row, silences }, session, args.maxHops, error)
      await ctx.db.patch("notifications", row._id, { ...own, ...trace })
    } else {
      state = "waiting"
      await ctx.db.patch("notifications", row._id, {
        ...own,
        ...trace,
        state,
        nextAttemptAt: args.nextAttemptAt,
        runsInNextGeneration: args.rotate ?? false
      })
    }
  }
  await endLease(ctx, session, { kind: "fail", answer: { state } })
  await refreshSession(ctx, session._id)
  return { state, now }
}

const skipRow = (ctx: MutationCtx, row: Doc<"notifications">, reason: string): Promise<void> =>
  ctx.db.patch("notifications", row._id, {
    state: "delivered",
    outcome: "skipped",
    outcomeReason: reason,
    endedAt: Date.now(),
    nextAttemptAt: undefined,
    aloneAt: undefined,
    foldTaskId: undefined
  })

const unheldStates = ["ready", "waiting", "folded"] as const
const skipBatch = 2_000

/** Ends the task's rows that no run holds as skipped; what a claimed row has folded ends with it. */
export const skipRowsOfTask = async (ctx: MutationCtx, taskId: Id<"tasks">, reason: string): Promise<number> => {
  const sessionIds = new Set<Id<"sessions">>()
  let count = 0
  for (const state of unheldStates) {
    const rows = await ctx.db
      .query("notifications")
      .withIndex("by_task", (q) => q.eq("taskId", taskId).eq("state", state))
      .take(skipBatch)
    for (const row of rows) {
      if (row.sessionId !== undefined) sessionIds.add(row.sessionId)
      count += 1
      await skipRow(ctx, row, reason)
    }
  }
  for (const id of sessionIds) await refreshSession(ctx, id)
  return count
}

/** Ends the session's rows that no run holds as skipped. */
export const skipRowsOfSession = async (ctx: MutationCtx, sessionId: Id<"sessions">, reason: string): Promise<void> => {
  for (const state of unheldStates) {
    const rows = await ctx.db
      .query("notifications")
      .withIndex("by_age", (q) => q.eq("sessionId", sessionId).eq("state", state))
      .take(skipBatch)
    for (const row of rows) await skipRow(ctx, row, reason)
  }
  await refreshSession(ctx, sessionId)
}
