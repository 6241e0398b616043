import type { Infer } from "convex/values"
import type { Doc, Id } from "../_generated/dataModel.js"
import type { MutationCtx } from "../_generated/server.js"
import type { notificationOutcome } from "../tables/notifications.ts"
import type { requestTokens } from "../tables/runs.ts"
import { agentActor } from "./actor.ts"
import { accountOf, flagsOf } from "./agents.ts"
import type { Change } from "./change.ts"
import { cut } from "./cut.ts"
import { decidedOtherwise } from "./decisions.ts"
import { chainOf, derivedFromAccepted, notWaiting, type RefusedEvent } from "./events.ts"
import { type Cause, fallbackMessage } from "./fallbackMessage.ts"
import { type Fence, endOf, fenced, notificationOf } from "./fences.ts"
import { failHeartbeat, releaseHeartbeat } from "./heartbeats.ts"
import { postMessage } from "./messages.ts"
import { type Origin, personOrigin, type RunSettings } from "./origin.ts"
import { refusal } from "./refusal.ts"
import type { TurnState } from "./seenTasks.ts"
import type { LeasedSession } from "./sessions.ts"
import { moveTask } from "./tasks.ts"
import { type Trace, traceOf } from "./traces.ts"
import { endAttempt, type Spending } from "./usage.ts"

const maxErrorLength = 500
const maxReasonLength = 500

type Notification = Doc<"notifications">

/** Fails with `invalid` if the run is a heartbeat's. */
const mustBeNotification = async (ctx: MutationCtx, fence: Fence): Promise<Notification> => {
  const row = await notificationOf(ctx, fence.run)
  if (row === null) {
    throw refusal("invalid", "This run is a heartbeat: end it with service/agents:updateAgentHeartbeat.")
  }
  return row
}

const originOf = (row: Notification, agent: Doc<"agents">, settings: RunSettings): Origin => ({
  actor: agentActor(agent),
  hops: row.hops + 1,
  chain: chainOf(row),
  settings
})

/** What a message of the run says of it. */
const writtenIn = (row: Notification, epoch: number) => ({
  runId: row._id,
  epoch,
  answersType: derivedFromAccepted(row.events).type
})

const silent: Cause = { class: "TurnSilent", message: "" }

/** The notification with the verdicts of the policy in its events. */
const withRefusals = (row: Notification, refused: ReadonlyArray<RefusedEvent> = []): Notification => ({
  ...row,
  events: row.events.map((event, index) => {
    const verdict = refused.find((each) => each.event === index)
    return verdict === undefined ? event : { ...event, refusal: cut(verdict.reason, maxReasonLength) }
  })
})

/** Posts the fallback, a text or the words for its cause, once in the life of a notification, if its task and agent still exist. */
const postFallback = async (
  ctx: MutationCtx,
  row: Notification,
  epoch: number,
  said: string | Cause
): Promise<Id<"messages"> | null> => {
  const task = await ctx.db.get("tasks", row.taskId)
  const agent = row.agentId === undefined ? null : await ctx.db.get("agents", row.agentId)
  if (row.hasFallback || task === null || agent === null) return null
  const content =
    typeof said === "string" ? said : fallbackMessage(agent.name, derivedFromAccepted(row.events).type, said)
  // A fallback notifies no agent, so that nothing of its origin but the actor counts.
  return await postMessage(
    ctx,
    task,
    { content, kind: "fallback", run: writtenIn(row, epoch) },
    { ...personOrigin(agentActor(agent)), hops: row.hops + 1 }
  )
}

/** Ends a notification as a dead letter, and posts the fallback if an answer was owed. */
export const die = async (
  ctx: MutationCtx,
  row: Notification,
  epoch: number,
  change: Change<Notification> & { readonly error: Cause & { readonly at: number } }
): Promise<void> => {
  const posted = row.isRequired ? await postFallback(ctx, row, epoch, change.error) : null
  await ctx.db.patch("notifications", row._id, {
    ...change,
    state: "dead",
    ...notWaiting,
    crashes: 0,
    endedAt: Date.now(),
    ...(posted === null ? {} : { hasFallback: true })
  })
}

export interface Completion extends Fence, Trace {
  readonly outcome: Infer<typeof notificationOutcome>
  readonly turn: TurnState
  readonly reply?: string
  readonly note?: string
  readonly refused?: ReadonlyArray<RefusedEvent>
  readonly reason?: string
  readonly truncated?: boolean
  readonly usage?: Spending
  readonly requestTokens?: Infer<typeof requestTokens>
  readonly isHistoryLong?: boolean
  readonly settings: RunSettings
}

/**
 * Moves an assigned task on once an assignee that may change statuses has begun: it replied, or it acted. A person who
 * set it back to assigned during the turn has the last word.
 */
const beginWork = async (
  ctx: MutationCtx,
  agent: Doc<"agents">,
  lease: LeasedSession["lease"],
  task: Doc<"tasks">,
  origin: Origin
): Promise<void> => {
  if (task.status !== "assigned" || !task.assigneeIds.includes(agent._id)) return
  if (decidedOtherwise(task, lease, { status: "in_progress" }) !== null) return
  if (!flagsOf(await accountOf(ctx, task.accountId), agent).canModifyTaskStatus) return
  await moveTask(ctx, task, { to: "in_progress" }, origin)
}

/** Posts what the run says in the thread; answers the message's id. */
const say = async (
  ctx: MutationCtx,
  row: Notification,
  lease: LeasedSession["lease"],
  args: Completion
): Promise<Id<"messages"> | null> => {
  const reply = args.reply?.trim() ?? ""
  const note = args.note?.trim() ?? ""
  if (args.outcome === "fallback") {
    return await postFallback(ctx, row, args.epoch, reply === "" ? silent : reply)
  }
  const isSilent = reply === "" && note === ""
  if (isSilent && args.outcome !== "replied" && args.outcome !== "acted") return null
  const task = await ctx.db.get("tasks", row.taskId)
  const agent = row.agentId === undefined ? null : await ctx.db.get("agents", row.agentId)
  if (task === null || agent === null) return null
  const origin = originOf(row, agent, args.settings)
  const written = writtenIn(row, args.epoch)
  let messageId: Id<"messages"> | null = null
  if (reply !== "") {
    const run = { ...written, ...(args.truncated === true ? { isTruncated: true } : {}) }
    messageId = await postMessage(ctx, task, { content: reply, kind: "reply", run }, origin)
  } else if (note !== "") {
    messageId = await postMessage(ctx, task, { content: note, kind: "note", run: written }, origin)
  }
  if (args.outcome === "replied" || args.outcome === "acted") await beginWork(ctx, agent, lease, task, origin)
  return messageId
}

/** Stores outcome, reply, usage and what follows from them in this one transaction, and frees the session. */
export const complete = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  args: Completion
): Promise<{ messageId: string | null; now: number }> => {
  const now = Date.now()
  const fence = await fenced<{ messageId: string | null }>(ctx, accountId, args, "complete")
  if (fence.isRepeated) return { ...fence.answer, now }
  const { session } = fence
  const row = withRefusals(await mustBeNotification(ctx, args), args.refused)
  if (args.outcome === "replied" && (args.reply?.trim() ?? "") === "") {
    throw refusal("invalid", "outcome replied needs a reply: send its text, or another outcome.")
  }
  const messageId = await say(ctx, row, session.lease, args)
  const answer = { messageId }
  await ctx.db.patch("notifications", row._id, {
    state: "delivered",
    events: row.events,
    outcome: args.outcome,
    crashes: 0,
    endedAt: now,
    ...(args.reason === undefined ? {} : { outcomeReason: cut(args.reason, maxReasonLength) }),
    ...(args.outcome === "fallback" ? { hasFallback: true } : {}),
    ...traceOf(args),
    ...endOf(args, "complete", answer)
  })
  // A generation that was tried for this run is kept now that its attempt completed.
  const attemptEnd = { end: args.outcome, ...(args.reason === undefined ? {} : { reason: args.reason }) }
  await endAttempt(
    ctx,
    session,
    args.usage,
    { ...attemptEnd, ...traceOf(args) },
    {
      generation: session.lease.generation,
      turn: args.turn,
      isHistoryLong: args.isHistoryLong ?? false,
      ...(args.requestTokens === undefined ? {} : { requestTokens: args.requestTokens })
    }
  )
  return { ...answer, now }
}

export interface Release extends Fence, Trace {
  readonly nextAttemptAt?: number
  readonly class?: string
  readonly error?: string
  readonly sharedLimitMs?: number
  readonly usage?: Spending
}

const errorOf = (given: { readonly class?: string; readonly error?: string }, now: number) => ({
  class: cut(given.class ?? "Unknown", 100),
  message: cut(given.error ?? "", maxErrorLength),
  at: now
})

/** The error as the reason of an attempt's end. */
const reasonOf = ({ class: kind, message }: ReturnType<typeof errorOf>): string => `${kind}: ${message}`

/** The change to a notification that is retried at that moment. */
const retriedAt = (nextAttemptAt: number) => ({
  state: "ready" as const,
  at: nextAttemptAt,
  readyAt: nextAttemptAt,
  retryAt: nextAttemptAt
})

/** Releases a notification's attempt without counting it; it keeps its place in the order. */
export const releaseNow = async (ctx: MutationCtx, row: Notification, change: Change<Notification> = {}) => {
  await ctx.db.patch("notifications", row._id, { ...change, state: "ready", attempts: Math.max(0, row.attempts - 1) })
}

/**
 * Releases a run without counting its attempt: to be claimed again at once, or at nextAttemptAt after a shared failure.
 * Nothing but shared failures with a limit for longer than sharedLimitMs makes a notification a dead letter. Serves
 * heartbeats too.
 */
export const release = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  args: Release
): Promise<{ state: "ready" | "dead"; now: number }> => {
  const now = Date.now()
  const fence = await fenced<{ state: "ready" | "dead" }>(ctx, accountId, args, "release")
  if (fence.isRepeated) return { ...fence.answer, now }
  const { session } = fence
  const error = errorOf(args, now)
  const isTold = args.class !== undefined || args.error !== undefined
  const told = { ...(isTold ? { error } : {}), ...traceOf(args) }
  let state: "ready" | "dead" = "ready"
  if (session.lease.kind === "heartbeat") {
    await releaseHeartbeat(ctx, session, args.nextAttemptAt, { ...told, ...endOf(args, "release", { state }) })
  } else {
    const row = await mustBeNotification(ctx, args)
    // Failures without a limit end the count of those with one.
    const sharedSince = args.sharedLimitMs === undefined ? undefined : (row.sharedSince ?? now)
    const isOver = sharedSince !== undefined && now - sharedSince > (args.sharedLimitMs ?? 0)
    if (args.nextAttemptAt === undefined) {
      await releaseNow(ctx, row, { ...traceOf(args), ...endOf(args, "release", { state }) })
    } else if (isOver) {
      state = "dead"
      const end = endOf(args, "release", { state })
      await die(ctx, row, args.epoch, { failures: row.failures + 1, ...told, error, ...end })
    } else {
      await ctx.db.patch("notifications", row._id, {
        ...retriedAt(args.nextAttemptAt),
        attempts: Math.max(0, row.attempts - 1),
        failures: row.failures + 1,
        sharedSince,
        ...told,
        ...endOf(args, "release", { state })
      })
    }
  }
  const attemptEnd = { end: "released" as const, ...(isTold ? { reason: reasonOf(error) } : {}), ...traceOf(args) }
  await endAttempt(ctx, session, args.usage, attemptEnd, { turn: "failed" })
  return { state, now }
}

export interface Failure extends Fence, Trace {
  readonly class: string
  readonly error: string
  readonly nextAttemptAt?: number
  readonly silence: boolean
  readonly silenceLimit: number
  readonly refused?: ReadonlyArray<RefusedEvent>
  readonly rotate?: boolean
  readonly usage?: Spending
}

type FailedState = "ready" | "dead" | "delivered"

/** The end of a notification's failed attempt: retried, dead, or delivered at the silence limit. */
const failNotification = async (ctx: MutationCtx, session: LeasedSession, args: Failure): Promise<FailedState> => {
  const now = Date.now()
  const row = await mustBeNotification(ctx, args)
  const silences = row.silences + (args.silence ? 1 : 0)
  const isSilenceLimit = args.silence && silences >= args.silenceLimit
  const state = isSilenceLimit ? "delivered" : args.nextAttemptAt === undefined ? "dead" : "ready"
  const change = {
    failures: row.failures + 1,
    silences,
    crashes: 0,
    sharedSince: undefined,
    error: errorOf(args, now),
    ...traceOf(args),
    ...endOf(args, "fail", { state })
  }
  if (isSilenceLimit) {
    const judged = withRefusals(row, args.refused)
    const { isRequired } = derivedFromAccepted(judged.events)
    if (isRequired) await postFallback(ctx, judged, session.lease.epoch, change.error)
    await ctx.db.patch("notifications", row._id, {
      ...change,
      state,
      events: judged.events,
      outcome: isRequired ? "fallback" : "skipped",
      outcomeReason: "no response",
      endedAt: now,
      hasFallback: row.hasFallback || isRequired
    })
  } else if (args.nextAttemptAt === undefined) {
    await die(ctx, row, args.epoch, change)
  } else {
    await ctx.db.patch("notifications", row._id, {
      ...change,
      ...retriedAt(args.nextAttemptAt),
      runsInNextGeneration: args.rotate ?? false
    })
  }
  return state
}

/**
 * Stores a failure of the run's own: retried at nextAttemptAt, dead without it, or delivered at the silence limit, where
 * an owed answer becomes the fallback message. Serves heartbeats too.
 */
export const fail = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  args: Failure
): Promise<{ state: FailedState; now: number }> => {
  const now = Date.now()
  const fence = await fenced<{ state: FailedState }>(ctx, accountId, args, "fail")
  if (fence.isRepeated) return { ...fence.answer, now }
  const { session } = fence
  const state =
    session.lease.kind === "heartbeat"
      ? await failHeartbeat(ctx, session, args, { error: errorOf(args, now), ...traceOf(args) })
      : await failNotification(ctx, session, args)
  const attemptEnd = { end: "failed" as const, reason: reasonOf(errorOf(args, now)), ...traceOf(args) }
  await endAttempt(ctx, session, args.usage, attemptEnd, { turn: "failed" })
  return { state, now }
}
