import { Schema } from "effect"
import { AgentRef, EarlierTrace, Flags, TaskView } from "../delivery/DeliveryContext.ts"
import type { SpentUsage } from "../delivery/Run.ts"

/** A task as a heartbeat looks at it; times are the control plane's epoch milliseconds. */
export const HeartbeatTask = Schema.Struct({
  task: TaskView,
  lastMessageAt: Schema.NullOr(Schema.Finite),
  /** When an assignee last wrote or did something there. */
  lastAssigneeAt: Schema.NullOr(Schema.Finite)
})
export type HeartbeatTask = typeof HeartbeatTask.Type

/** Everything a heartbeat's turn needs to know, built by the claim. */
export const HeartbeatContext = Schema.Struct({
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
  fenceMark: Schema.String,
  stoppedRuns: Schema.Array(Schema.String),
  /** Own tasks, in progress first and newest first; for the orchestrator all under way, by status, stalest first. */
  tasks: Schema.Array(HeartbeatTask),
  orchestrator: Schema.NullOr(AgentRef),
  primaryPerson: Schema.NullOr(Schema.Struct({ name: Schema.String })),
  mentionableAgents: Schema.Array(Schema.Struct({ slug: Schema.String, name: Schema.String, role: Schema.String })),
  briefing: Schema.NullOr(Schema.String),
  earlier: Schema.Struct({
    attempts: Schema.Finite,
    effects: Schema.Array(Schema.Struct({ tool: Schema.String, summary: Schema.String, at: Schema.Finite })),
    trace: Schema.optionalKey(EarlierTrace)
  }),
  /** The digest of what the agent would see equals that of its last finished heartbeat. */
  isUnchanged: Schema.Boolean
})
export type HeartbeatContext = typeof HeartbeatContext.Type

/** What a finished heartbeat says of its agent. */
export interface HeartbeatReport {
  readonly status: string
  readonly currentTaskId: string | null
  /** What it says in a task's thread; `truncated` when the model's limit cut it. */
  readonly message?: { readonly taskId: string; readonly content: string; readonly truncated?: boolean }
  readonly usage?: SpentUsage
}

/** When the next heartbeat is due after one was finished. */
export const FinishedHeartbeat = Schema.Struct({
  dueAt: Schema.Finite,
  messageId: Schema.NullOr(Schema.String),
  now: Schema.Finite
})
