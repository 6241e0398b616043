import { type Infer, v } from "convex/values"
import { actor } from "../../tables/actor.ts"
import { notificationOutcome, notificationState, notificationType } from "../../tables/notifications.ts"
import { failure } from "../../tables/runs.ts"
import { taskStatus } from "../../tables/tasks.ts"
import { agentRef, agentView, colleague } from "../agents/agents.ts"
import { earlierTrace } from "../runs/traces.ts"
import { taskView } from "../tasks/taskView.ts"
import { messageView } from "../threads/messages.ts"
import { part } from "./seenTasks.ts"

/** An event with the message or change that caused it. */
export const eventView = v.object({
  /** Its index in the notification. Verdicts refer to it. */
  index: v.number(),
  type: notificationType,
  createdAt: v.number(),
  message: v.union(messageView, v.null()),
  actor,
  previousStatus: v.union(taskStatus, v.null()),
  newStatus: v.union(taskStatus, v.null()),
  request: v.union(v.string(), v.null()),
  /** The agent's question that a person's message answers. */
  answers: v.optional(v.string())
})

/** Everything that the turn of a notification needs. */
export const deliveryContext = v.object({
  notification: v.object({
    id: v.string(),
    type: notificationType,
    createdAt: v.number(),
    hops: v.number(),
    isRequired: v.boolean()
  }),
  /** Oldest first. */
  events: v.array(eventView),
  account: v.object({ id: v.string(), name: v.string() }),
  agent: agentView,
  sessionKey: v.string(),
  generation: v.number(),
  fenceMark: v.string(),
  /** The number of this turn's text if it is a full text. */
  textNumber: v.number(),
  /**
   * The full text on which this turn builds, and the parts that have not changed since the last turn. Null: this turn
   * is a full text.
   */
  delta: v.union(v.object({ fullText: v.number(), unchanged: v.array(part) }), v.null()),
  /** Other runs of this session that were stopped since the last completed turn. */
  stoppedRuns: v.array(v.string()),
  task: v.union(taskView, v.null()),
  recipientIsAssignee: v.boolean(),
  /** In a delta, without the messages that the session has seen. */
  thread: v.array(messageView),
  orchestrator: v.union(agentRef, v.null()),
  primaryPerson: v.union(v.object({ name: v.string() }), v.null()),
  mentionableAgents: v.array(colleague),
  repositoryDocument: v.union(v.object({ title: v.string(), content: v.string() }), v.null()),
  documents: v.array(v.object({ id: v.string(), title: v.string(), type: v.string(), content: v.string() })),
  briefing: v.union(v.string(), v.null()),
  taskOverview: v.union(
    v.array(v.object({ id: v.string(), title: v.string(), status: taskStatus, assigneeSlugs: v.array(v.string()) })),
    v.null()
  ),
  earlier: v.object({
    attempts: v.number(),
    lastError: v.union(failure, v.null()),
    effects: v.array(v.object({ tool: v.string(), summary: v.string(), at: v.number() })),
    trace: earlierTrace
  })
})

export type DeliveryContext = Infer<typeof deliveryContext>

/** Why a context could not be built: a row is gone, or damaged. */
export const brokenCode = v.union(
  v.literal("notification_missing"),
  v.literal("agent_missing"),
  v.literal("task_missing"),
  v.literal("message_missing"),
  v.literal("account_missing"),
  v.literal("damaged")
)

export type BrokenCode = Infer<typeof brokenCode>

export const contextAnswer = v.union(
  v.object({
    id: v.string(),
    context: deliveryContext,
    state: notificationState,
    outcome: v.optional(notificationOutcome)
  }),
  v.object({ id: v.string(), broken: brokenCode })
)
