import { Schema } from "effect"
import { Fence } from "./Delivery.ts"
import { AgentRef, EarlierTrace, Flags, TaskView } from "./DeliveryContext.ts"

/** A task as a heartbeat looks at it; times are the control plane's epoch milliseconds. */
export const BeatTask = Schema.Struct({
  task: TaskView,
  lastMessageAt: Schema.NullOr(Schema.Finite),
  /** When an assignee last wrote or did something there. */
  lastAssigneeAt: Schema.NullOr(Schema.Finite)
})
export type BeatTask = typeof BeatTask.Type

/** Everything a heartbeat's turn needs to know, built by the claim. */
export const BeatContext = Schema.Struct({
  heartbeat: Schema.Struct({
    id: Schema.String,
    dueAt: Schema.Finite,
    schedule: Schema.Union([Schema.Finite, Schema.String]),
    lastHeartbeatAt: Schema.NullOr(Schema.Finite)
  }),
  account: Schema.Struct({ id: Schema.String, name: Schema.String }),
  agent: Schema.Struct({
    id: Schema.String,
    slug: Schema.String,
    name: Schema.String,
    role: Schema.String,
    isOrchestrator: Schema.Boolean,
    flags: Flags
  }),
  sessionKey: Schema.String,
  generation: Schema.Finite,
  /** Own tasks, in progress first and newest first; for the orchestrator all under way, stalest first. */
  tasks: Schema.Array(BeatTask),
  orchestrator: Schema.NullOr(AgentRef),
  primaryPerson: Schema.NullOr(Schema.Struct({ name: Schema.String })),
  mentionableAgents: Schema.Array(Schema.Struct({ slug: Schema.String, name: Schema.String, role: Schema.String })),
  briefing: Schema.NullOr(Schema.String),
  earlier: Schema.Struct({
    attempts: Schema.Finite,
    effects: Schema.Array(Schema.Struct({ tool: Schema.String, summary: Schema.String, at: Schema.Finite })),
    trace: Schema.optionalKey(EarlierTrace)
  }),
  /** Own failures of this beat so far. */
  failures: Schema.Finite,
  /** The digest of what the agent would see equals that of its last finished beat. */
  isUnchanged: Schema.Boolean
})
export type BeatContext = typeof BeatContext.Type

/** A heartbeat that is due, with the lease under which it runs. */
export const ClaimedBeat = Schema.Struct({
  heartbeatId: Schema.String,
  ...Fence.fields,
  expiresAt: Schema.Finite,
  attempt: Schema.Finite,
  context: BeatContext
})
export type ClaimedBeat = typeof ClaimedBeat.Type

/** Why the control plane gives no beat now. */
export const BeatHindrance = Schema.Literals([
  "not_due",
  "backing_off",
  "session_busy",
  "delivery_first",
  "runtime_alone",
  "parked",
  "paused"
])

/** The answer to a beat's claim: the beat, or when to ask again; times are the control plane's epoch milliseconds. */
export const BeatAnswer = Schema.Union([
  Schema.Struct({ claimed: ClaimedBeat, now: Schema.Finite }),
  Schema.Struct({ notBefore: Schema.Finite, dueAt: Schema.Finite, reason: BeatHindrance, now: Schema.Finite })
])
export type BeatAnswer = typeof BeatAnswer.Type

/** What a finished beat says of its agent. */
export interface BeatReport {
  readonly status: string
  readonly currentTaskId: string | null
  /** What it says in a task's thread; `truncated` when the model's limit cut it. */
  readonly message?: { readonly taskId: string; readonly content: string; readonly truncated?: boolean }
  /** The next moment of a cron schedule, the control plane's epoch milliseconds. */
  readonly nextDueAt?: number
}

/** When the next beat is due after one was finished. */
export const FinishedBeat = Schema.Struct({
  dueAt: Schema.Finite,
  messageId: Schema.NullOr(Schema.String),
  /** Whether a delivery of the session waits that the beat's lease kept from being claimed. */
  hasWork: Schema.Boolean,
  now: Schema.Finite
})
