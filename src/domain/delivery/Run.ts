import { Schema } from "effect"
import { HeartbeatContext } from "../heartbeats/Heartbeat.ts"
import type { TokenPrice } from "../shared/TokenPrice.ts"
import { DeliveryContext, NotificationEvent } from "./DeliveryContext.ts"
import type { RunStep } from "./RunStep.ts"

/** A lease as claims and renewals name it: a session and an epoch. */
export const Lease = Schema.Struct({ session: Schema.String, epoch: Schema.Finite })
export type Lease = typeof Lease.Type

/** The fence of a run. A call with a stale epoch is refused before anything is written. */
export const Fence = Schema.Struct({ run: Schema.String, ...Lease.fields })
export type Fence = typeof Fence.Type

/** Why the control plane recalled a lease: its run was stopped, or its agent or account was paused. */
export const Recall = Schema.Literals(["stopped", "paused"])
export type Recall = typeof Recall.Type

/** A lease whose turn must be aborted. */
export const RecalledLease = Schema.Struct({ ...Lease.fields, recalled: Recall })
export type RecalledLease = typeof RecalledLease.Type

/** A lease with a person's latest message for its running turn, which has not joined the turn yet. */
export const LeaseNews = Schema.Struct({ ...Lease.fields, message: Schema.String })
export type LeaseNews = typeof LeaseNews.Type

/** A key for the lease, because a session has several leases one after another. */
export const leaseKey = ({ epoch, session }: Lease): string => `${session} ${epoch}`

const claimed = {
  /** The notification's id, or the agent and due time of a heartbeat; the same in all attempts. */
  id: Schema.String,
  ...Lease.fields,
  expiresAt: Schema.Finite,
  /** The number of this attempt, from 1. */
  attempt: Schema.Finite,
  /** Failures in a row before this attempt. */
  failures: Schema.Finite,
  /** Silences before this attempt; 0 for heartbeats. */
  silences: Schema.Finite,
  /** Since when it could be claimed, in epoch milliseconds of the control plane. */
  readyAt: Schema.Finite,
  /** Price-weighted tokens that it may spend before it requests more; null without a budget. */
  allowance: Schema.NullOr(Schema.Finite)
}

/** The claimed turn of an agent on a task. */
export const NotificationRun = Schema.Struct({
  kind: Schema.Literal("notification"),
  ...claimed,
  context: DeliveryContext
})
export type NotificationRun = typeof NotificationRun.Type

/** The claimed turn of an agent's heartbeat. */
export const HeartbeatRun = Schema.Struct({
  kind: Schema.Literal("heartbeat"),
  ...claimed,
  context: HeartbeatContext
})
export type HeartbeatRun = typeof HeartbeatRun.Type

/** A claimed run whose context could not be built or read; `broken` says why. */
export const BrokenRun = Schema.Struct({
  kind: Schema.Literals(["notification", "heartbeat"]),
  ...claimed,
  broken: Schema.String
})
export type BrokenRun = typeof BrokenRun.Type

/** One attempt of a notification or a heartbeat, leased to this process. */
export type Run = NotificationRun | HeartbeatRun | BrokenRun

/** The fence of a run. */
export const fenceOf = ({ epoch, id, session }: Pick<Run, "id" | "session" | "epoch">): Fence => ({
  run: id,
  session,
  epoch
})

/** The run with the counts of its notification after messages joined: they get the full number of attempts. */
export const afterJoin = <R extends Run>(run: R): R => ({ ...run, attempt: 1, failures: 0, silences: 0 })

/** The run's context by its kind, if it could be read. */
export const contextsOf = (run: Run) => ({
  context: "context" in run ? run.context : undefined,
  delivery: "context" in run && run.kind === "notification" ? run.context : undefined,
  heartbeat: "context" in run && run.kind === "heartbeat" ? run.context : undefined
})

/** The answer to a claim, its runs not yet decoded; times are the control plane's epoch milliseconds. */
export const ClaimAnswer = Schema.Struct({
  runs: Schema.Array(Schema.Unknown),
  /** Notifications that became dead letters, because their attempts were used up. */
  spent: Schema.Array(Schema.String),
  /** The number of notifications and heartbeats that a budget holds. */
  heldBack: Schema.Finite,
  /** More notifications could have been claimed. */
  hasMore: Schema.Boolean,
  /** Due heartbeats were left. */
  hasMoreHeartbeats: Schema.Boolean,
  /** When work next becomes due by the passing of time. */
  nextDueAt: Schema.NullOr(Schema.Finite),
  /** Since when the oldest ready notification has been waiting. */
  oldest: Schema.NullOr(Schema.Finite),
  now: Schema.Finite
})
export type ClaimAnswer = typeof ClaimAnswer.Type

/**
 * The answer to a renewal: lost leases, messages that may join running turns, and whether this boot has a lease that was
 * not named.
 */
export const RenewAnswer = Schema.Struct({
  lost: Schema.Array(Schema.Struct({ ...Lease.fields, recalled: Schema.optionalKey(Recall) })),
  news: Schema.Array(LeaseNews),
  hasUnnamed: Schema.Boolean,
  now: Schema.Finite
})
export type RenewAnswer = typeof RenewAnswer.Type

/** The context of a notification for a dry run, not yet decoded, or why there is none. */
export const ContextAnswers = Schema.Array(
  Schema.Struct({
    id: Schema.String,
    context: Schema.optionalKey(Schema.Unknown),
    broken: Schema.optionalKey(Schema.String),
    /** The notification's state, and its outcome once it is delivered. Deployments of earlier releases send neither. */
    state: Schema.optionalKey(Schema.String),
    outcome: Schema.optionalKey(Schema.String)
  })
)

/**
 * A counter that grows when work becomes claimable other than by time. Of the leases of all runtimes, those that were
 * recalled, and those with a message that may join the turn.
 */
export const Wake = Schema.Struct({
  count: Schema.Finite,
  recalled: Schema.Array(RecalledLease),
  news: Schema.Array(LeaseNews)
})
export type Wake = typeof Wake.Type

/**
 * Since when the oldest ready notification has been waiting, in epoch milliseconds of the control plane; null if none
 * is.
 */
export const Backlog = Schema.Struct({ oldest: Schema.NullOr(Schema.Finite) })
export type Backlog = typeof Backlog.Type

/** Tokens of one request, or of several. */
export const Usage = Schema.Struct({
  inputTokens: Schema.Finite,
  outputTokens: Schema.Finite,
  /** The parts of inputTokens that were read from the provider's prompt cache and written to it. */
  cacheReadTokens: Schema.Finite,
  cacheWriteTokens: Schema.Finite
})
export type Usage = typeof Usage.Type

/** No tokens. */
export const noUsage: Usage = {
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0
}

/** What an attempt did and spent, which is reported to the control plane at its end. */
export interface SpentUsage extends Usage {
  /** Answered requests, and requests without an answer that may have cost something. */
  readonly rounds: number
  readonly unanswered: number
  /** Input tokens of the last answered request. */
  readonly contextTokens: number
  readonly model: string | null
  readonly price: TokenPrice | null
  /** Its prompt was a delta and not a full text. */
  readonly isDelta: boolean
  /** The latest rounds and tool calls in order of their ends, and the number of earlier ones. */
  readonly steps: ReadonlyArray<RunStep>
  readonly stepsLeftOut: number
}

/**
 * A budget's refusal: the reason, and until when, in epoch milliseconds of the control plane; null means until it is
 * raised.
 */
export const BudgetRefusal = Schema.Struct({ reason: Schema.String, until: Schema.NullOr(Schema.Finite) })
export type BudgetRefusal = typeof BudgetRefusal.Type

/** The events that joined a running turn, oldest first. */
export const JoinAnswer = Schema.Struct({ events: Schema.Array(NotificationEvent) })

/** How much a run may spend in total, or why it may not spend more. */
export const Allowed = Schema.Union([Schema.Struct({ allowance: Schema.NullOr(Schema.Finite) }), BudgetRefusal])
export type Allowed = typeof Allowed.Type

/** An event that the policy refused, by its position in the notification. */
export interface RefusedEvent {
  readonly event: number
  readonly reason: string
}

/** Input tokens of a turn's first and of its smallest request, which show the length of the session's history. */
export interface RequestTokens {
  readonly first: number
  readonly least: number
}

/** A run's turn: it was answered, it failed but may have run, or there was none. */
export type TurnState = "answered" | "failed" | "none"

/**
 * How a notification was delivered. `reply` is the agent's text for the thread; after tool calls without a text, `note`
 * is posted.
 */
export interface Outcome {
  readonly outcome: "replied" | "acted" | "skipped" | "fallback" | "stopped"
  readonly turn: TurnState
  readonly reply?: string
  readonly note?: string
  readonly refused?: ReadonlyArray<RefusedEvent>
  /** How many of the events that joined were in a request. */
  readonly joined?: number
  readonly reason?: string
  readonly truncated?: boolean
  readonly usage?: SpentUsage
  readonly requestTokens?: RequestTokens
  /** The session starts its next generation when none of its work is waiting. */
  readonly isHistoryLong?: boolean
}

/** How an attempt failed; without `retryInMillis` the failure is final. */
export interface Failure {
  readonly class: string
  readonly error: string
  readonly retryInMillis?: number
  readonly silence: boolean
  readonly refused?: ReadonlyArray<RefusedEvent>
  /** How many of the events that joined were in a request. */
  readonly joined?: number
  readonly rotate?: boolean
  readonly usage?: SpentUsage
}

/** The state of a notification or heartbeat after a failed attempt. */
export const FailedState = Schema.Literals(["ready", "dead", "delivered"])
export type FailedState = typeof FailedState.Type

/** The state of a notification or heartbeat after its release. */
export const ReleasedState = Schema.Literals(["ready", "dead"])
export type ReleasedState = typeof ReleasedState.Type

/** The answers to the calls that end a run. */
export const CompleteAnswer = Schema.Struct({ now: Schema.Finite })
export const FailAnswer = Schema.Struct({ state: FailedState, now: Schema.Finite })
export const ReleaseAnswer = Schema.Struct({ state: ReleasedState, now: Schema.Finite })
