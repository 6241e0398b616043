import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { Change } from "../database/change.ts"
import { cut } from "../database/cut.ts"
import { failHeartbeat, releaseHeartbeat } from "../heartbeats/heartbeats.ts"
import { type RefusedEvent, derivedFromAccepted, withRefusals } from "../notifications/events.ts"
import { type Fence, endOf, fenced, mustBeNotification } from "../queue/fences.ts"
import type { LeasedSession } from "../queue/sessions.ts"
import { endAttempt } from "../usage/attempts.ts"
import { type Spending } from "../usage/usage.ts"
import { makeDeadLetter, postFallback } from "./fallback.ts"
import { eventFields, requeueUnshown, shownIn } from "./joins.ts"
import { type Trace, traceOf } from "./traces.ts"

type Notification = Doc<"notifications">

const maxErrorLength = 500

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

/** The patch for a notification that is retried at that time. */
const retriedAt = (nextAttemptAt: number) => ({
  state: "ready" as const,
  at: nextAttemptAt,
  readyAt: nextAttemptAt,
  retryAt: nextAttemptAt
})

/** Releases a notification's attempt without counting it. The notification keeps its place in the order. */
export const releaseNow = async (ctx: MutationCtx, row: Notification, change: Change<Notification> = {}) => {
  await ctx.db.patch("notifications", row._id, { ...change, state: "ready", attempts: Math.max(0, row.attempts - 1) })
}

/**
 * Releases a run without counting its attempt. It can be claimed again at once, or at nextAttemptAt after a shared
 * failure. Makes a notification a dead letter only if shared failures with a limit have lasted longer than
 * sharedLimitMs. Also for heartbeats.
 */
export const releaseRun = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  args: Release
): Promise<{ state: "ready" | "dead"; now: number }> => {
  const now = Date.now()
  const fence = await fenced<{ state: "ready" | "dead" }>(ctx, accountId, args, "release")
  if (fence.isRepeated) return { ...fence.answer, now }
  const { session } = fence
  const error = errorOf(args, now)
  const hasError = args.class !== undefined || args.error !== undefined
  const details = { ...(hasError ? { error } : {}), ...traceOf(args) }
  let state: "ready" | "dead" = "ready"
  if (session.lease.kind === "heartbeat") {
    await releaseHeartbeat(ctx, session, args.nextAttemptAt, { ...details, ...endOf(args, "release", { state }) })
  } else {
    const row = await mustBeNotification(ctx, args)
    // A failure without a limit ends a series of failures with a limit.
    const sharedSince = args.sharedLimitMs === undefined ? undefined : (row.sharedSince ?? now)
    const isOver = sharedSince !== undefined && now - sharedSince > (args.sharedLimitMs ?? 0)
    if (args.nextAttemptAt === undefined) {
      await releaseNow(ctx, row, { ...traceOf(args), ...endOf(args, "release", { state }) })
    } else if (isOver) {
      state = "dead"
      const end = endOf(args, "release", { state })
      await makeDeadLetter(ctx, row, args.epoch, { failures: row.failures + 1, ...details, error, ...end })
    } else {
      await ctx.db.patch("notifications", row._id, {
        ...retriedAt(args.nextAttemptAt),
        attempts: Math.max(0, row.attempts - 1),
        failures: row.failures + 1,
        sharedSince,
        ...details,
        ...endOf(args, "release", { state })
      })
    }
  }
  const attemptEnd = { end: "released" as const, ...(hasError ? { reason: reasonOf(error) } : {}), ...traceOf(args) }
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
  /** How many of the events that joined this attempt were in a request. */
  readonly joined?: number
  /** The next attempt runs in a new generation of the session. */
  readonly rotate?: boolean
  readonly usage?: Spending
}

type FailedState = "ready" | "dead" | "delivered"

/** Ends a notification's failed attempt: ready for a retry, dead, or delivered at the silence limit. */
const failNotification = async (ctx: MutationCtx, session: LeasedSession, args: Failure): Promise<FailedState> => {
  const now = Date.now()
  const found = await mustBeNotification(ctx, args)
  const silences = found.silences + (args.silence ? 1 : 0)
  const isSilenceLimit = args.silence && silences >= args.silenceLimit
  const state = isSilenceLimit ? "delivered" : args.nextAttemptAt === undefined ? "dead" : "ready"
  // A retry shows all events. Without one, those that the turn did not show must not end with it.
  const shown = state === "ready" ? { row: found, unshown: [] } : shownIn(found, args.epoch, args.joined)
  const { row } = shown
  await requeueUnshown(ctx, shown)
  const change = {
    ...eventFields(row),
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
    await makeDeadLetter(ctx, row, args.epoch, change)
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
 * Stores the run's own failure. The run is retried at nextAttemptAt, dead without it, or delivered at the silence
 * limit, with the fallback message if an answer is owed. Also for heartbeats.
 */
export const failRun = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  args: Failure
): Promise<{ state: FailedState; now: number }> => {
  const now = Date.now()
  const fence = await fenced<{ state: FailedState }>(ctx, accountId, args, "fail")
  if (fence.isRepeated) return { ...fence.answer, now }
  const { session } = fence
  const isHeartbeat = session.lease.kind === "heartbeat"
  const state = isHeartbeat
    ? await failHeartbeat(ctx, session, args, { error: errorOf(args, now), ...traceOf(args) })
    : await failNotification(ctx, session, args)
  const attemptEnd = { end: "failed" as const, reason: reasonOf(errorOf(args, now)), ...traceOf(args) }
  // A notification stores this itself: its session may have other work, whose history still fits.
  const isHistoryFull = isHeartbeat && args.rotate === true
  await endAttempt(ctx, session, args.usage, attemptEnd, { turn: "failed", isHistoryFull })
  return { state, now }
}
