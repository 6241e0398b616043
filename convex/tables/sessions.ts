import { defineTable } from "convex/server"
import { v } from "convex/values"
import { actor } from "./actor.ts"
import { runKind } from "./runs.ts"
import { tokenPrice } from "./usage.ts"

/** Why a lease was taken back from its process: its run was stopped, or its agent or account is paused. */
export const recall = v.union(v.literal("stopped"), v.literal("paused"))

/** The one live turn of a session. */
export const lease = v.object({
  runtimeId: v.string(),
  bootId: v.string(),
  epoch: v.number(),
  expiresAt: v.number(),
  /** The notification's id, or the agent and due moment of a heartbeat. */
  run: v.string(),
  kind: runKind,
  /** Its last two attempts ended with their process. */
  isSuspect: v.boolean(),
  generation: v.number(),
  taskId: v.optional(v.id("tasks")),
  /** When its context was built: its turn knows nothing later. */
  claimedAt: v.number(),
  /** Price-weighted tokens that budgets let it spend; absent without a budget. */
  allowance: v.optional(v.number())
})

/** What a session has seen of a task once a turn is answered. */
export const seenTask = v.object({
  /** The number of the text that showed everything, on which later ones build. */
  fullText: v.number(),
  generation: v.number(),
  /** When the turn was claimed. */
  at: v.number(),
  /** When the newest message that was shown was created; 0 if there was none. */
  newestAt: v.number(),
  /** The messages shown that are about as new. */
  recentIds: v.array(v.id("messages")),
  /** By part of the prompt. */
  fingerprints: v.record(v.string(), v.string())
})

export const sessionTables = {
  /** One per agent (and task, if the account says so): the unit of exclusion. */
  sessions: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    /** Deliveries and heartbeats of an agent run in different sessions, one at a time. */
    kind: runKind,
    taskId: v.optional(v.id("tasks")),
    generation: v.number(),
    /** Random; the mark of the fences in its prompts derives from it and the generation. */
    fenceSecret: v.string(),
    /** Takes effect at the next claim. */
    nextGeneration: v.optional(v.number()),
    /** When its last lease ended. */
    usedAt: v.optional(v.number()),
    /** Full texts with a lower number may be gone from the gateway's history, which was seen to have become shorter. */
    historyFrom: v.optional(v.number()),
    /** About how many tokens the history held at the last answered turn of this generation. */
    historyTokens: v.optional(v.number()),
    /** Its last answered request, by which requests without an answer are estimated. */
    lastRequest: v.optional(
      v.object({ inputTokens: v.number(), model: v.union(v.string(), v.null()), price: v.union(tokenPrice, v.null()) })
    ),
    epoch: v.number(),
    lease: v.optional(lease),
    /** The least `at` of its ready notifications; absent while it is leased. */
    at: v.optional(v.number()),
    /** Of the lease, for the indexes. */
    expiresAt: v.optional(v.number()),
    leaseRuntimeId: v.optional(v.string()),
    leaseTaskId: v.optional(v.id("tasks")),
    /** The lease fences nothing any more, and keeps the session until its process has aborted the turn, or it expires. */
    recalled: v.optional(recall),
    /** Runs of this generation that were stopped after they began, since a turn completed: the gateway still shows them. */
    stoppedRuns: v.array(v.string())
  })
    .index("by_agent", ["agentId", "kind", "taskId"])
    .index("by_generation", ["agentId", "generation"])
    .index("by_agent_at", ["agentId", "at"])
    .index("by_agent_expiry", ["agentId", "kind", "expiresAt"])
    .index("by_at", ["accountId", "at"])
    .index("by_recalled", ["accountId", "recalled"])
    .index("by_lease_task", ["leaseTaskId"])
    .index("by_runtime", ["accountId", "leaseRuntimeId", "expiresAt"]),

  /** What the gateway's history of a session holds of a task. Of no use after four hours. */
  seenTasks: defineTable({
    accountId: v.id("accounts"),
    sessionId: v.id("sessions"),
    taskId: v.id("tasks"),
    /** Of the last turn that showed something. */
    epoch: v.number(),
    /** With that turn, and without it: until it is answered it does not count. */
    seen: seenTask,
    before: v.union(seenTask, v.null())
  })
    .index("by_session", ["sessionId", "taskId"])
    .index("by_age", ["seen.at"]),

  /**
   * Stops of an agent's or a task's runs that have not ended all of them yet. What is older than the row is not claimed and
   * takes no more events.
   */
  stops: defineTable({
    accountId: v.id("accounts"),
    agentId: v.optional(v.id("agents")),
    taskId: v.optional(v.id("tasks")),
    /** The run that archived the task: it continues. */
    exceptRun: v.optional(v.string()),
    actor,
    reason: v.string()
  }).index("by_account", ["accountId"]),

  /** One row while the account, or one of its agents, is paused; rows of their own, so that only a pause re-runs readers. */
  pauses: defineTable({ accountId: v.id("accounts"), agentId: v.optional(v.id("agents")), by: actor }).index(
    "by_account",
    ["accountId", "agentId"]
  )
}
