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

/**
 * The states of a notification. A person's notification is `unread` until it is read, then `delivered`. A question to a
 * person is `unread` until it is answered (outcome `replied`) or ends (outcome `stopped`).
 */
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

/** A reason why an agent has pending work on a task. */
export const notificationEvent = v.object({
  type: notificationType,
  actor,
  at: v.number(),
  /** The number of agents' turns that led to it; 0 for a person's event. */
  hops: v.number(),
  /** The run in which this chain of agents' turns began; absent for a person's event. */
  chain: v.optional(v.string()),
  messageId: v.optional(v.id("messages")),
  previousStatus: v.optional(taskStatus),
  newStatus: v.optional(taskStatus),
  /** The text of a response request, or why a person is notified. */
  request: v.optional(v.string()),
  /** For a person's message that answers the agent's question: the question. */
  answers: v.optional(v.string()),
  /** The policy's reason for refusing it. */
  refusal: v.optional(v.string()),
  /** The epoch of the attempt that it joined while the turn ran; absent if it was there at the claim. */
  joined: v.optional(v.number())
})
export type NotificationEvent = Infer<typeof notificationEvent>

/** What a person or operator decided about a dead letter. */
export const deadLetterDecision = v.object({
  kind: v.union(v.literal("retried"), v.literal("discarded")),
  by: actor,
  at: v.number()
})

export const notificationTables = {
  /** The pending work of one agent on one task, with the events that caused it; or one event for a person. */
  notifications: defineTable({
    accountId: v.id("accounts"),
    recipientType: v.union(v.literal("agent"), v.literal("person")),
    agentId: v.optional(v.id("agents")),
    memberId: v.optional(v.id("members")),
    sessionId: v.optional(v.id("sessions")),
    taskId: v.id("tasks"),
    /** Oldest first, at most 50. */
    events: v.array(notificationEvent),
    /** The type of the event with the highest rank. */
    type: notificationType,
    /** 0 if one of the events is a person's, otherwise the maximum of the events. */
    hops: v.number(),
    /** At least one of the events requires an answer. */
    isRequired: v.boolean(),
    state: notificationState,
    /** The order of claims: the due time minus the head start. */
    at: v.number(),
    /** The time since which it could be claimed. */
    readyAt: v.number(),
    /**
     * The time of the retry, or at which the wait for quiet ends, until it is claimed. Separate from readyAt, so that
     * work that is due at once does not conflict with claims.
     */
    retryAt: v.optional(v.number()),
    /** Set while a budget holds it. */
    held: v.optional(hold),
    attempts: v.number(),
    /** The number of claims. Unlike attempts it never decreases. */
    claims: v.number(),
    /** Consecutive failures, the run's own and shared ones. */
    failures: v.number(),
    silences: v.number(),
    /** Consecutive attempts whose process ended. */
    crashes: v.number(),
    /** The start of an unbroken series of shared failures that have a time limit. */
    sharedSince: v.optional(v.number()),
    hasFallback: v.boolean(),
    /** The next attempt runs in the next generation, which is kept only if the attempt completes. */
    runsInNextGeneration: v.boolean(),
    outcome: v.optional(notificationOutcome),
    outcomeReason: v.optional(v.string()),
    error: v.optional(failure),
    traceId: v.optional(v.string()),
    /** The root span of that trace. The next attempt's root span links to it. */
    spanId: v.optional(v.string()),
    end: v.optional(runEnd),
    endedAt: v.optional(v.number()),
    /** The last decision about it as a dead letter. */
    decision: v.optional(deadLetterDecision)
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

  /**
   * Which agent asked which agent or person for a response about a task, so that no one is asked twice within four
   * hours.
   */
  responseRequests: defineTable({
    accountId: v.id("accounts"),
    taskId: v.id("tasks"),
    askerId: v.id("agents"),
    recipientId: v.union(v.id("agents"), v.id("members")),
    notificationId: v.id("notifications"),
    /** The index of its event in the notification. */
    event: v.number(),
    /** The person who is asked, until the question is answered or ends. */
    openFor: v.optional(v.id("members")),
    /** The run that asked the person. */
    run: v.optional(v.string())
  })
    .index("by_account", ["accountId"])
    .index("by_pair", ["recipientId", "taskId", "askerId"])
    .index("by_open", ["taskId", "openFor"])
    .index("by_asker", ["askerId", "openFor"]),

  /**
   * One row per agent. The count grows when work becomes claimable other than by the passing of time. Runtimes
   * subscribe to the sum. Separate from other rows, so that claims and outcomes rerun no subscription.
   */
  wakes: defineTable({ accountId: v.id("accounts"), agentId: v.id("agents"), count: v.number() })
    .index("by_account", ["accountId"])
    .index("by_agent", ["agentId"])
}
