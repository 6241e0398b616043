import { Schema } from "effect"
import { Actor, MessageView, TaskStatus, TaskView } from "../delivery/DeliveryContext.ts"

/** Why nothing was changed: a person made a decision during the turn. */
const reason = Schema.optionalKey(Schema.String)

/** The result of a change of a task's status; `path` lists the steps taken. */
export const StatusChange = Schema.Struct({
  taskId: Schema.String,
  status: TaskStatus,
  previousStatus: TaskStatus,
  changed: Schema.Boolean,
  path: Schema.Array(TaskStatus),
  reason
})

/** A task with its thread, oldest message first. */
export const LoadedTask = Schema.Struct({ task: TaskView, thread: Schema.Array(MessageView) })

/** A task alone. */
export const OneTask = Schema.Struct({ task: TaskView })

/** Tasks of a list or a search, with cut descriptions. */
export const SeveralTasks = Schema.Struct({ tasks: Schema.Array(TaskView) })

/** The last messages of a task's thread. */
export const TaskThread = Schema.Struct({ taskId: Schema.String, thread: Schema.Array(MessageView) })

/** A task with its thread and activities; times are epoch milliseconds. */
export const TaskHistory = Schema.Struct({
  task: TaskView,
  thread: Schema.Array(MessageView),
  activities: Schema.Array(
    Schema.Struct({ type: Schema.String, actor: Actor, summary: Schema.String, createdAt: Schema.Finite })
  )
})

/** A task that this call or an earlier identical one created. */
export const MadeTask = Schema.Struct({ taskId: Schema.String, status: TaskStatus, repeated: Schema.Boolean })

/** The result of a change of a task's fields, assignees or status. */
export const ChangedTask = Schema.Struct({
  taskId: Schema.String,
  status: TaskStatus,
  previousStatus: TaskStatus,
  changed: Schema.Boolean,
  reason
})

/** A task's assignees after an assignment. */
export const AssignedTask = Schema.Struct({
  taskId: Schema.String,
  status: TaskStatus,
  assigneeSlugs: Schema.Array(Schema.String),
  changed: Schema.Boolean,
  reason
})

/** An archived task, and the number of its runs that were stopped. */
export const RemovedTask = Schema.Struct({
  taskId: Schema.String,
  status: TaskStatus,
  changed: Schema.Boolean,
  stopped: Schema.Finite,
  reason
})

/** A pull request linked to a task, and whether the link will be written to GitHub. */
export const LinkedPullRequest = Schema.Struct({
  taskId: Schema.String,
  prNumber: Schema.Finite,
  changed: Schema.Boolean,
  github: Schema.Literals(["queued", "off"])
})

/** The types of documents. */
export const DocumentType = Schema.Literals(["deliverable", "note", "template", "reference"])

/** A document that was written. */
export const WrittenDocument = Schema.Struct({
  documentId: Schema.String,
  taskId: Schema.NullOr(Schema.String),
  repeated: Schema.Boolean
})

/** Documents of a list, with cut contents. */
export const SeveralDocuments = Schema.Struct({
  documents: Schema.Array(
    Schema.Struct({
      id: Schema.String,
      taskId: Schema.NullOr(Schema.String),
      title: Schema.String,
      type: DocumentType,
      author: Actor,
      isRepository: Schema.Boolean,
      updatedAt: Schema.Finite,
      content: Schema.String,
      isCut: Schema.Boolean
    })
  )
})

/** A message that was posted. */
export const PostedMessage = Schema.Struct({ messageId: Schema.String, repeated: Schema.Boolean })

/** Who was asked for a response, and who was not and why. */
export const AskedResponses = Schema.Struct({
  asked: Schema.Array(Schema.Struct({ slug: Schema.String, notificationId: Schema.String })),
  skipped: Schema.Array(Schema.Struct({ slug: Schema.String, reason: Schema.String })),
  repeated: Schema.Boolean
})

/** The enabled skills of one or all agents: the skills of each agent by slug, and each skill once. */
export const AgentSkills = Schema.Struct({
  agents: Schema.Array(
    Schema.Struct({ slug: Schema.String, name: Schema.String, skillSlugs: Schema.Array(Schema.String) })
  ),
  skills: Schema.Array(
    Schema.Struct({
      id: Schema.String,
      slug: Schema.String,
      name: Schema.String,
      description: Schema.String,
      content: Schema.String
    })
  )
})

/** What the tools read of the control plane, by the name of the function in ControlPlaneFunctions. */
export const toolReads = {
  loadTask: LoadedTask,
  getTask: OneTask,
  listTasks: SeveralTasks,
  searchTasks: SeveralTasks,
  taskThread: TaskThread,
  taskHistory: TaskHistory,
  listDocuments: SeveralDocuments,
  agentSkills: AgentSkills
} as const

/** The answer to a call that is not executed until a person approves it. */
export const NeedsApproval = Schema.Struct({
  needsApproval: Schema.Struct({ id: Schema.String, message: Schema.String })
})
export type NeedsApproval = typeof NeedsApproval.Type

const orNeedsApproval = <Fields extends Schema.Struct.Fields>(answer: Schema.Struct<Fields>) =>
  Schema.Union([answer, NeedsApproval])

/**
 * What the tools change, by the name of the function. A creation happens once per run and arguments: a second identical
 * call returns `repeated`. A policy of the account can require a person's approval for each of them.
 */
export const toolChanges = {
  setTaskStatus: orNeedsApproval(StatusChange),
  createTask: orNeedsApproval(MadeTask),
  updateTask: orNeedsApproval(ChangedTask),
  assignTask: orNeedsApproval(AssignedTask),
  removeTask: orNeedsApproval(RemovedTask),
  linkPullRequest: orNeedsApproval(LinkedPullRequest),
  upsertDocument: orNeedsApproval(WrittenDocument),
  postMessage: orNeedsApproval(PostedMessage),
  requestResponses: orNeedsApproval(AskedResponses)
} as const
