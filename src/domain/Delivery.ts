import { Schema } from "effect"

/** The right to write: a call with a stale epoch is refused before anything is written. */
export const Fence = Schema.Struct({ session: Schema.String, epoch: Schema.Finite })
export type Fence = typeof Fence.Type

/** The lease that a fence belongs to, as a key: a session's leases follow one another, and may overlap in our books. */
export const leaseOf = ({ epoch, session }: Fence): string => `${session} ${epoch}`

/** A leased session with the notification to deliver and those folded into it; the kept one comes first. */
export const ClaimedDelivery = Schema.Struct({
  notificationIds: Schema.NonEmptyArray(Schema.String),
  session: Schema.String,
  epoch: Schema.Finite,
  expiresAt: Schema.Finite,
  attempt: Schema.Finite,
  /** The budget of attempts is used up: no turn, the row is to be failed for good. */
  spent: Schema.Boolean,
  /** Its last two attempts ended with their runtime: nothing else runs beside it. */
  alone: Schema.Boolean,
  failures: Schema.Finite,
  silences: Schema.Finite,
  readyAt: Schema.Finite,
  lane: Schema.Finite
})
export type ClaimedDelivery = typeof ClaimedDelivery.Type

/** The answer to a claim; times are the control plane's epoch milliseconds. */
export const Claim = Schema.Struct({
  deliveries: Schema.Array(ClaimedDelivery),
  nextDueAt: Schema.NullOr(Schema.Finite),
  now: Schema.Finite,
  isBlocked: Schema.Boolean
})
export type Claim = typeof Claim.Type

/** The oldest and newest waiting work of the account, as the subscription pushes it. */
export const Backlog = Schema.Struct({
  oldest: Schema.NullOr(Schema.Finite),
  newest: Schema.NullOr(Schema.Finite),
  newestId: Schema.NullOr(Schema.String)
})
export type Backlog = typeof Backlog.Type

/** Tokens of a turn, summed over its rounds. */
export const Usage = Schema.Struct({
  inputTokens: Schema.Finite,
  outputTokens: Schema.Finite,
  totalTokens: Schema.Finite
})
export type Usage = typeof Usage.Type

/** A row of the fold that the policy refused, which ends skipped where the others are delivered. */
export interface RefusedRow {
  readonly id: string
  readonly reason: string
}

/** How a delivery ended well; what it says in the thread is `reply`, or `note` where tools spoke for the agent. */
export interface Outcome {
  readonly outcome: "replied" | "acted" | "skipped" | "fallback"
  readonly reply?: string
  readonly note?: string
  readonly refused?: ReadonlyArray<RefusedRow>
  readonly reason?: string
  readonly truncated?: boolean
  readonly usage?: Usage
}

/** How a delivery ended badly; without `retryInMillis` it is final. */
export interface Failure {
  readonly class: string
  readonly error: string
  readonly retryInMillis?: number
  readonly silence: boolean
  readonly refused?: ReadonlyArray<RefusedRow>
  readonly rotate?: boolean
}

/** Where a failed notification stands afterwards. */
export const FailedState = Schema.Literals(["waiting", "dead", "delivered"])
export type FailedState = typeof FailedState.Type
