/**
 * The delivery loop's knowledge of the queue, and its decision whether to claim. Pure. Times are monotonic milliseconds
 * unless stated otherwise.
 */
import type { ClaimAnswer } from "./Run.ts"
import type { RunEnd } from "./RunEnd.ts"

/** Why the loop claims. It never claims without a reason. */
export type ClaimReason =
  | "start"
  | "wake"
  | "due"
  | "more"
  | "push"
  | "poll"
  | "allowed"
  | "gateway"
  | "heartbeat"
  | "unnamed"
  | "abandoned"
  | "released"
  | "stopped"
  | "restart"

/** The state of the loop, which events change one after another. */
export interface ClaimState {
  /** The number of the boot's last claim. */
  readonly number: number
  /** An answer may have been lost, so the next claim requests the leases that it does not name. */
  readonly recoverUnnamed: boolean
  /** Kept until a claim has been answered. */
  readonly reason: ClaimReason | null
  /** The last answer left claimable notifications. */
  readonly hasMore: boolean
  /** Since when answers have left due heartbeats; null if the last answer left none. */
  readonly heartbeatsWaitSince: number | null
  /** The last claim could take nothing although it left work. Only the end of a run changes that. */
  readonly isStuck: boolean
  readonly heartbeatsInFlight: number
  /** When work becomes due by the passing of time. */
  readonly dueAt: number | null
  /** When the last answered claim was sent. */
  readonly answeredFrom: number
  /** The last claim, if it failed. */
  readonly failure: { readonly at: number; readonly retryAt: number } | null
  /** Since when the oldest ready notification has been waiting, in epoch milliseconds of the control plane. */
  readonly oldest: number | null
}

/** The conditions that decide, with the state, whether the loop may claim. */
export interface Situation {
  readonly now: number
  readonly totalPermits: number
  readonly freePermits: number
  /** How many runs the breaker allows, and milliseconds until it allows a probe. */
  readonly allowance: number
  readonly opensInMillis: number | null
  /** Lifecycle and settings allow new runs. */
  readonly isAllowed: boolean
}

/** A claim to send now, or how long to wait for the next event; null means without limit. */
export type ClaimPlan =
  | {
      readonly _tag: "Claim"
      readonly reason: ClaimReason
      readonly limit: number
      readonly heartbeatLimit: number
    }
  | { readonly _tag: "Wait"; readonly millis: number | null }

/** Maximum number of runs in one claim. */
const CLAIM_LIMIT = 100
/** Minimum delay before retrying a failed claim. */
const MINIMUM_RETRY_MILLIS = 1_000
/** Maximum length of a timer. */
const LONGEST_WAIT_MILLIS = 24 * 60 * 60_000

/** The initial state. */
export const initialState: ClaimState = {
  number: 0,
  recoverUnnamed: false,
  reason: null,
  hasMore: false,
  heartbeatsWaitSince: null,
  isStuck: false,
  heartbeatsInFlight: 0,
  dueAt: null,
  answeredFrom: Number.NEGATIVE_INFINITY,
  failure: null,
  oldest: null
}

/** How many heartbeats may run at once: a quarter of all permits, at least one. */
export const heartbeatPermits = (total: number): number => Math.max(1, Math.floor(total / 4))

/** Reasons that say that a lease of this process is not held. */
const recovers: ReadonlySet<ClaimReason> = new Set(["unnamed", "restart"])

/** A claim is wanted; the first reason counts. */
/** A claim is needed. The first reason is kept. */
export const wanted = (state: ClaimState, reason: ClaimReason): ClaimState => ({
  ...state,
  recoverUnnamed: state.recoverUnnamed || recovers.has(reason),
  reason: state.reason ?? reason
})

/** Work becomes due after this time. */
export const due = (state: ClaimState, now: number, millis: number): ClaimState => {
  const at = now + Math.max(0, millis)
  return { ...state, dueAt: Math.min(state.dueAt ?? at, at) }
}

/** The control plane answered another call, so a failed claim is retried soon. */
export const controlPlaneAnswered = (state: ClaimState): ClaimState =>
  state.failure === null
    ? state
    : {
        ...state,
        failure: { ...state.failure, retryAt: Math.min(state.failure.retryAt, state.failure.at + MINIMUM_RETRY_MILLIS) }
      }

/** A claimed run has started. */
export const begun = (state: ClaimState, kind: RunEnd["kind"]): ClaimState =>
  kind === "heartbeat" ? { ...state, heartbeatsInFlight: state.heartbeatsInFlight + 1 } : state

/** A run has ended. Heartbeats tracks when heartbeats are due. */
export const ended = (state: ClaimState, now: number, { dueInMillis, isStored, kind, outcome }: RunEnd): ClaimState => {
  const isHeartbeat = kind === "heartbeat"
  const after = { ...state, isStuck: false, heartbeatsInFlight: state.heartbeatsInFlight - (isHeartbeat ? 1 : 0) }
  if (!isStored) return wanted(after, "abandoned")
  if (outcome === "released" || outcome === "stopped") return wanted(after, outcome)
  return isHeartbeat || dueInMillis === null ? after : due(after, now, dueInMillis)
}

/** A claim is sent. */
export const sent = (state: ClaimState): ClaimState => ({ ...state, number: state.number + 1 })

/** The claim that was sent at this time has been answered. */
export const answered = (
  state: ClaimState,
  now: number,
  sentAt: number,
  answer: ClaimAnswer & { readonly hasUnreadable: boolean }
): ClaimState => {
  return {
    ...state,
    recoverUnnamed: answer.hasUnreadable || (state.recoverUnnamed && answer.hasMore),
    reason: null,
    hasMore: answer.hasMore,
    isStuck: answer.runs.length + answer.spent.length + answer.heldBack === 0,
    heartbeatsWaitSince: answer.hasMoreHeartbeats ? (state.heartbeatsWaitSince ?? now) : null,
    dueAt: answer.nextDueAt === null ? null : now + Math.max(0, answer.nextDueAt - answer.now),
    answeredFrom: sentAt,
    failure: null,
    oldest: answer.oldest
  }
}

/** A claim failed and may be retried after this time. */
export const failed = (state: ClaimState, now: number, delayMillis: number): ClaimState => ({
  ...state,
  recoverUnnamed: true,
  failure: { at: now, retryAt: now + delayMillis }
})

/** Turns a due time that has passed into a reason, which stays until a claim is possible. */
export const passed = (state: ClaimState, now: number): ClaimState =>
  state.dueAt !== null && state.dueAt <= now ? { ...wanted(state, "due"), dueAt: null } : state

/** Decides whether to claim, and how many runs. */
export const planClaim = (state: ClaimState, situation: Situation): ClaimPlan => {
  const { allowance, freePermits, isAllowed, now, opensInMillis, totalPermits } = situation
  const limit = Math.min(freePermits, allowance, CLAIM_LIMIT)
  // A heartbeat never takes the last free permit, unless there is only one.
  const kept = totalPermits === 1 ? 0 : 1
  const spare = Math.min(heartbeatPermits(totalPermits) - state.heartbeatsInFlight, freePermits - kept, limit)
  const heartbeatLimit = Math.max(0, spare)
  const hasMore = state.hasMore || (state.heartbeatsWaitSince !== null && heartbeatLimit >= 1)
  const reason = state.reason ?? (hasMore && !state.isStuck ? "more" : null)
  const retryIn = Math.max(0, (state.failure?.retryAt ?? now) - now)
  if (reason !== null && isAllowed && limit >= 1 && retryIn === 0)
    return { _tag: "Claim", reason, limit, heartbeatLimit }
  const blockers = reason === null ? [] : [retryIn === 0 ? null : retryIn, opensInMillis]
  const waits = [state.dueAt === null ? null : state.dueAt - now, ...blockers].filter((wait) => wait !== null)
  return { _tag: "Wait", millis: waits.length === 0 ? null : Math.min(...waits, LONGEST_WAIT_MILLIS) }
}
