import { Schema } from "effect"
import { AgentRef, EarlierTrace, Owner, TaskView } from "../delivery/DeliveryContext.ts"
import type { SpentUsage } from "../delivery/Run.ts"

/** A task in a heartbeat's context; times are the control plane's epoch milliseconds. */
export const HeartbeatTask = Schema.Struct({
  task: TaskView,
  lastMessageAt: Schema.NullOr(Schema.Finite),
  /** When an assignee last wrote in it or changed it. */
  lastAssigneeAt: Schema.NullOr(Schema.Finite)
})
export type HeartbeatTask = typeof HeartbeatTask.Type

/** All data for a heartbeat's turn, built by the claim. */
export const HeartbeatContext = Schema.Struct({
  heartbeat: Schema.Struct({
    id: Schema.String,
    dueAt: Schema.Finite,
    schedule: Schema.Union([Schema.Finite, Schema.String]),
    lastHeartbeatAt: Schema.NullOr(Schema.Finite)
  }),
  ...Owner,
  sessionKey: Schema.String,
  generation: Schema.Finite,
  fenceMark: Schema.String,
  stoppedRuns: Schema.Array(Schema.String),
  /**
   * The agent's tasks, in progress first and newest first; for the orchestrator all open tasks, by status, the longest
   * unchanged first.
   */
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
  /** The agent would see the same as in its last finished heartbeat, by a digest. */
  isUnchanged: Schema.Boolean
})
export type HeartbeatContext = typeof HeartbeatContext.Type

/** What a finished heartbeat reports of its agent. */
export interface HeartbeatReport {
  readonly status: string
  readonly currentTaskId: string | null
  /** Its message for a task's thread; `truncated` if the model's output limit cut it off. */
  readonly message?: { readonly taskId: string; readonly content: string; readonly truncated?: boolean }
  readonly usage?: SpentUsage
}

/** When the agent's next heartbeat is due, after one has finished. */
export const FinishedHeartbeat = Schema.Struct({
  dueAt: Schema.Finite,
  messageId: Schema.NullOr(Schema.String),
  now: Schema.Finite
})
