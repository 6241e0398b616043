import { defineTable } from "convex/server"
import { type Infer, v } from "convex/values"
import { actor } from "./actor.ts"
import { hold } from "./budgets.ts"
import { failure, runEnd } from "./runs.ts"
import { taskStatus } from "./tasks.ts"

export const notificationType = v.union(
  v.literal("mention"),
  v.literal("thread_update"),
  v.literal("assignment"),
  v.literal("status_change"),
  v.literal("response_request")
)
export type NotificationType = Infer<typeof notificationType>

/** The states of a notification; `unread` is the only one of a person's until it is read. */
export const notificationState = v.union(
  v.literal("ready"),
  v.literal("claimed"),
  v.literal("delivered"),
  v.literal("dead"),
  v.literal("discarded"),
  v.literal("unread")
)

export const notificationOutcome = v.union(
  v.literal("replied"),
  v.literal("acted"),
  v.literal("skipped"),
  v.literal("fallback"),
  v.literal("stopped")
)

/** Why an agent has pending work on a task. */
export const notificationEvent = v.object({
  type: notificationType,
  actor,
  at: v.number(),
  /** How far down a chain of agents' turns it is; 0 for a person's. */
  hops: v.number(),
  /** The run with which its chain of agents' turns began; absent for a person's. */
  chain: v.optional(v.string()),
  messageId: v.optional(v.id("messages")),
  previousStatus: v.optional(taskStatus),
  newStatus: v.optional(taskStatus),
  /** The text of a response request, or why a person is told. */
  request: v.optional(v.string()),
  /** Why the policy refused it. */
  refusal: v.optional(v.string())
})
export type NotificationEvent = Infer<typeof notificationEvent>

export const notificationTables = {
  /** The pending work of one agent on one task, with the events that caused it; or one event that a person is told of. */
  notifications: defineTable({
    accountId: v.id("accounts"),
    recipientType: v.union(v.literal("agent"), v.literal("person")),
    agentId: v.optional(v.id("agents")),
    memberId: v.optional(v.id("members")),
    sessionId: v.optional(v.id("sessions")),
    taskId: v.id("tasks"),
    /** Oldest first, at most 50. */
    events: v.array(notificationEvent),
    /** The strongest of the events' types. */
    type: notificationType,
    /** 0 if one of the events is a person's, otherwise the most hops of an event. */
    hops: v.number(),
    /** An answer is owed to one of the events. */
    isRequired: v.boolean(),
    state: notificationState,
    /** The order of claims: when it is due, less its head start. */
    at: v.number(),
    /** Since when it could be claimed. */
    readyAt: v.number(),
    /**
     * The time of its retry, or of the quiet that it waits for, until it is claimed: apart from readyAt, so that work that
     * is due at once conflicts with no claim.
     */
    retryAt: v.optional(v.number()),
    /** A budget keeps it waiting. */
    held: v.optional(hold),
    attempts: v.number(),
    /** How often it was claimed; unlike attempts never reduced. */
    claims: v.number(),
    /** Failures in a row, own and shared. */
    failures: v.number(),
    silences: v.number(),
    /** Attempts in a row that ended with their process. */
    crashes: v.number(),
    /** The first of an unbroken series of shared failures that have a time limit. */
    sharedSince: v.optional(v.number()),
    hasFallback: v.boolean(),
    /** The next attempt runs in the next generation, which is kept only if that attempt completes. */
    runsInNextGeneration: v.boolean(),
    outcome: v.optional(notificationOutcome),
    outcomeReason: v.optional(v.string()),
    error: v.optional(failure),
    traceId: v.optional(v.string()),
    /** The root span of that trace, to which the next attempt's links. */
    spanId: v.optional(v.string()),
    end: v.optional(runEnd),
    endedAt: v.optional(v.number())
  })
    .index("by_state", ["accountId", "state", "readyAt"])
    .index("by_ended", ["accountId", "state", "endedAt"])
    .index("by_retention", ["state", "endedAt"])
    .index("by_session", ["sessionId", "state", "at"])
    .index("by_retry", ["accountId", "retryAt"])
    .index("by_held", ["held.budgetId"])
    .index("by_untried", ["agentId", "taskId", "state", "claims"])
    .index("by_agent", ["agentId", "state"])
    .index("by_task", ["taskId", "state"])
    .index("by_task_age", ["taskId"])
    .index("by_account", ["accountId"])
    .index("by_member", ["memberId", "state"]),

  /** Who asked whom for a response about a task, so that nobody is asked twice in four hours. */
  responseRequests: defineTable({
    accountId: v.id("accounts"),
    taskId: v.id("tasks"),
    askerId: v.id("agents"),
    recipientId: v.id("agents"),
    notificationId: v.id("notifications"),
    /** The position of its event in the notification. */
    event: v.number()
  }).index("by_pair", ["recipientId", "taskId", "askerId"]),

  /**
   * One per agent: grows when its work becomes claimable other than by time. Runtimes subscribe to the sum; a row of its
   * own, so that claims and ends re-run no subscription.
   */
  wakes: defineTable({ accountId: v.id("accounts"), agentId: v.id("agents"), count: v.number() })
    .index("by_account", ["accountId"])
    .index("by_agent", ["agentId"])
}
