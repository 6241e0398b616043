import { Schema } from "effect"

/** The five types of notifications; contract of the control plane. */
export const NotificationType = Schema.Literals([
  "mention",
  "thread_update",
  "assignment",
  "status_change",
  "response_request"
])
export type NotificationType = typeof NotificationType.Type

/** The seven statuses of a task. */
export const TaskStatus = Schema.Literals(["inbox", "assigned", "in_progress", "review", "done", "blocked", "archived"])

/** Who wrote or caused something: a person, an agent (with its slug) or the system. */
export const Actor = Schema.Struct({
  type: Schema.Literals(["person", "agent", "system"]),
  id: Schema.NullOr(Schema.String),
  name: Schema.String,
  slug: Schema.NullOr(Schema.String)
})
export type Actor = typeof Actor.Type

/** What an agent may do: its own settings, otherwise the account's, otherwise the defaults. */
export const Flags = Schema.Struct({
  canCreateTasks: Schema.Boolean,
  canModifyTaskStatus: Schema.Boolean,
  canCreateDocuments: Schema.Boolean,
  canMentionAgents: Schema.Boolean,
  canReviewTasks: Schema.Boolean,
  canMarkDone: Schema.Boolean
})

/** A reference to an agent. */
export const AgentRef = Schema.Struct({ id: Schema.String, slug: Schema.String, name: Schema.String })

/** A task as shown to agents; times are epoch milliseconds. */
export const TaskView = Schema.Struct({
  id: Schema.String,
  title: Schema.String,
  description: Schema.String,
  status: TaskStatus,
  priority: Schema.Finite,
  labels: Schema.Array(Schema.String),
  assignees: Schema.Array(AgentRef),
  blockedReason: Schema.NullOr(Schema.String),
  /** Of a blocked task: the questions to people that are not answered yet. */
  openQuestions: Schema.optionalKey(
    Schema.Array(Schema.Struct({ text: Schema.String, askedBy: Actor, person: Schema.String, askedAt: Schema.Finite }))
  ),
  dueDate: Schema.NullOr(Schema.Finite),
  prNumber: Schema.NullOr(Schema.Finite),
  isOrchestratorChat: Schema.Boolean,
  createdBy: Actor,
  updatedAt: Schema.Finite
})
export type TaskView = typeof TaskView.Type

/** A message of a thread; `isCut` if the control plane shortened it for the context. */
export const MessageView = Schema.Struct({
  id: Schema.String,
  author: Actor,
  content: Schema.String,
  kind: Schema.Literals(["message", "reply", "fallback", "note"]),
  createdAt: Schema.Finite,
  isCut: Schema.Boolean,
  answersType: Schema.NullOr(NotificationType)
})
export type MessageView = typeof MessageView.Type

/** One event of a notification, with the message or change that caused it. */
export const NotificationEvent = Schema.Struct({
  /** Its position in the notification, which verdicts refer to. */
  index: Schema.Finite,
  type: NotificationType,
  createdAt: Schema.Finite,
  message: Schema.NullOr(MessageView),
  actor: Actor,
  previousStatus: Schema.NullOr(TaskStatus),
  newStatus: Schema.NullOr(TaskStatus),
  request: Schema.NullOr(Schema.String),
  /** The agent's question that a person's message answers. */
  answers: Schema.optionalKey(Schema.String)
})
export type NotificationEvent = typeof NotificationEvent.Type

/** The parts of a prompt that a delta contains only if they have changed. */
export const PromptPart = Schema.Literals(["task", "documents", "people", "briefing", "tasks"])
export type PromptPart = typeof PromptPart.Type

/** The root span of the previous attempt. */
export const EarlierTrace = Schema.Struct({ traceId: Schema.String, spanId: Schema.String })

/** Whose turn it is. A delivery's context and a heartbeat's have it. */
export const Owner = {
  account: Schema.Struct({ id: Schema.String, name: Schema.String }),
  agent: Schema.Struct({
    id: Schema.String,
    slug: Schema.String,
    name: Schema.String,
    role: Schema.String,
    isOrchestrator: Schema.Boolean,
    flags: Flags
  })
} as const

/** All data for the turn of a notification, built by the claim. */
export const DeliveryContext = Schema.Struct({
  notification: Schema.Struct({
    id: Schema.String,
    type: NotificationType,
    createdAt: Schema.Finite,
    hops: Schema.Finite,
    isRequired: Schema.Boolean
  }),
  /** Oldest first, at most 50. */
  events: Schema.Array(NotificationEvent),
  ...Owner,
  sessionKey: Schema.String,
  generation: Schema.Finite,
  /** The mark in the fences around other people's text; the same in every turn of a session and generation. */
  fenceMark: Schema.String,
  /** The number of this turn's text if it is a full text; grows within a session. */
  textNumber: Schema.Finite,
  /**
   * The full text on which this turn's delta builds, and the parts unchanged since the last turn; null for a full text.
   */
  delta: Schema.NullOr(Schema.Struct({ fullText: Schema.Finite, unchanged: Schema.Array(PromptPart) })),
  /** Other runs of this session that were stopped after the last completed turn. */
  stoppedRuns: Schema.Array(Schema.String),
  task: Schema.NullOr(TaskView),
  recipientIsAssignee: Schema.Boolean,
  /** The latest messages; for a delta only those that the session has not seen. */
  thread: Schema.Array(MessageView),
  orchestrator: Schema.NullOr(AgentRef),
  primaryPerson: Schema.NullOr(Schema.Struct({ name: Schema.String })),
  mentionableAgents: Schema.Array(Schema.Struct({ slug: Schema.String, name: Schema.String, role: Schema.String })),
  repositoryDocument: Schema.NullOr(Schema.Struct({ title: Schema.String, content: Schema.String })),
  documents: Schema.Array(
    Schema.Struct({ id: Schema.String, title: Schema.String, type: Schema.String, content: Schema.String })
  ),
  briefing: Schema.NullOr(Schema.String),
  taskOverview: Schema.NullOr(
    Schema.Array(
      Schema.Struct({
        id: Schema.String,
        title: Schema.String,
        status: TaskStatus,
        assigneeSlugs: Schema.Array(Schema.String)
      })
    )
  ),
  earlier: Schema.Struct({
    attempts: Schema.Finite,
    lastError: Schema.NullOr(Schema.Struct({ class: Schema.String, message: Schema.String, at: Schema.Finite })),
    effects: Schema.Array(Schema.Struct({ tool: Schema.String, summary: Schema.String, at: Schema.Finite })),
    trace: Schema.optionalKey(EarlierTrace)
  })
})
export type DeliveryContext = typeof DeliveryContext.Type
