import { defineTable } from "convex/server"
import { v } from "convex/values"
import { actor } from "./actor.ts"
import { runKind } from "./runs.ts"
import { tokenPrice } from "./usage.ts"

/** Why a lease was recalled: its run was stopped, or its agent or account was paused. */
export const recall = v.union(v.literal("stopped"), v.literal("paused"))

/** The one live turn of a session. */
export const lease = v.object({
  runtimeId: v.string(),
  bootId: v.string(),
  epoch: v.number(),
  expiresAt: v.number(),
  /** The notification's id, or the agent and due time of a heartbeat. */
  run: v.string(),
  kind: runKind,
  /** The process ended during each of its last two attempts. */
  isSuspect: v.boolean(),
  generation: v.number(),
  taskId: v.optional(v.id("tasks")),
  /** When its context was built. The turn knows nothing that happened later. */
  claimedAt: v.number(),
  /** Price-weighted tokens that budgets allow it to spend; absent without a budget. */
  allowance: v.optional(v.number()),
  /** The tokens that the run had used when it last asked for more. */
  askedTokens: v.optional(v.number())
})

/** What a session has seen of a task, once a turn is answered. */
export const seenTask = v.object({
  /** The number of the full text on which later deltas build. */
  fullText: v.number(),
  generation: v.number(),
  /** When the turn was claimed. */
  at: v.number(),
  /** The creation time of the newest message that was shown; 0 if there was none. */
  newestAt: v.number(),
  /** The shown messages that are nearly as new as the newest, or newer because they joined the turn. */
  recentIds: v.array(v.id("messages")),
  /** By part of the prompt. */
  fingerprints: v.record(v.string(), v.string())
})

export const sessionTables = {
  /** One row per agent, or per agent and task if the account's scope is `task`: the unit of exclusion. */
  sessions: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    /** An agent's deliveries and heartbeats run in different sessions, one at a time. */
    kind: runKind,
    taskId: v.optional(v.id("tasks")),
    generation: v.number(),
    /** Random. The fence mark in the session's prompts derives from it and the generation. */
    fenceSecret: v.string(),
    /** Takes effect at the next claim. */
    nextGeneration: v.optional(v.number()),
    /** When its last lease ended. */
    usedAt: v.optional(v.number()),
    /**
     * Full texts with a lower number may be missing from the gateway's history, because that history became shorter.
     */
    historyFrom: v.optional(v.number()),
    /** The approximate number of tokens in the history at the last answered turn of this generation. */
    historyTokens: v.optional(v.number()),
    /** Its last answered request, from which unanswered requests are estimated. */
    lastRequest: v.optional(
      v.object({ inputTokens: v.number(), model: v.union(v.string(), v.null()), price: v.union(tokenPrice, v.null()) })
    ),
    epoch: v.number(),
    lease: v.optional(lease),
    /** The smallest `at` of its ready notifications; absent while it is leased or its agent is paused. */
    at: v.optional(v.number()),
    /** Copies of the lease's fields, for the indexes. */
    expiresAt: v.optional(v.number()),
    leaseRuntimeId: v.optional(v.string()),
    leaseTaskId: v.optional(v.id("tasks")),
    /**
     * Set when the lease is recalled: calls under its epoch are refused. The lease keeps the session until its process
     * has aborted the turn, or until it expires.
     */
    recalled: v.optional(recall),
    /**
     * A person's latest message for the running turn, if it has not joined the turn yet. Separate from the lease, so that
     * only such messages and joins rerun the subscription that lists them.
     */
    news: v.optional(v.id("messages")),
    /**
     * Runs of this generation that were stopped after they began, since the last completed turn. The gateway's history
     * still contains them.
     */
    stoppedRuns: v.array(v.string())
  })
    .index("by_account", ["accountId"])
    .index("by_agent", ["agentId", "kind", "taskId"])
    .index("by_generation", ["agentId", "generation"])
    .index("by_agent_at", ["agentId", "at"])
    .index("by_agent_expiry", ["agentId", "kind", "expiresAt"])
    .index("by_at", ["accountId", "at"])
    .index("by_recalled", ["accountId", "recalled"])
    .index("by_news", ["accountId", "news"])
    .index("by_lease_task", ["leaseTaskId"])
    .index("by_runtime", ["accountId", "leaseRuntimeId", "expiresAt"]),

  /** What the gateway's history of a session contains of a task. Not used after four hours. */
  seenTasks: defineTable({
    accountId: v.id("accounts"),
    sessionId: v.id("sessions"),
    taskId: v.id("tasks"),
    /** The epoch of the last turn that showed something. */
    epoch: v.number(),
    /** What was seen with that turn and without it. Until the turn is answered, only `before` counts. */
    seen: seenTask,
    before: v.union(seenTask, v.null())
  })
    .index("by_account", ["accountId"])
    .index("by_session", ["sessionId", "taskId"])
    .index("by_age", ["seen.at"]),

  /**
   * Stops of an agent's or a task's runs that are still in progress. Notifications older than the row are not claimed
   * and take no more events.
   */
  stops: defineTable({
    accountId: v.id("accounts"),
    agentId: v.optional(v.id("agents")),
    taskId: v.optional(v.id("tasks")),
    /** The run that archived the task, which continues. */
    exceptRun: v.optional(v.string()),
    actor,
    reason: v.string()
  }).index("by_account", ["accountId"]),

  /**
   * One row for each paused agent, and one without agentId while the account is paused. Separate from other rows, so
   * that only a pause reruns the queries that read it.
   */
  pauses: defineTable({ accountId: v.id("accounts"), agentId: v.optional(v.id("agents")), by: actor })
    .index("by_account_age", ["accountId"])
    .index("by_account", ["accountId", "agentId"])
}
