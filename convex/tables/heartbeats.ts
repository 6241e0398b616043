import { defineTable } from "convex/server"
import { v } from "convex/values"
import { failure, runEnd } from "./runs.ts"

export const heartbeatTables = {
  /** One row per agent. Separate from agents, so that a heartbeat does not rerun the roster's subscriptions. */
  heartbeats: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    sessionId: v.id("sessions"),
    /** The schedule from which dueAt was calculated: minutes, or a cron expression in UTC. */
    schedule: v.union(v.number(), v.string()),
    /** The due time of this heartbeat. Together with the agent it identifies the run. */
    dueAt: v.number(),
    /** When it can be claimed: dueAt, or later after a failure. Absent while it is claimed or its agent is paused. */
    at: v.optional(v.number()),
    attempts: v.number(),
    /** The number of claims of this heartbeat. Unlike attempts it never decreases. */
    claims: v.number(),
    /** The heartbeat's own failures, including the crashes before them. */
    failures: v.number(),
    crashes: v.number(),
    error: v.optional(failure),
    /** The trace of the last attempt that stored its outcome; the span is removed with the next heartbeat. */
    traceId: v.optional(v.string()),
    spanId: v.optional(v.string()),
    end: v.optional(runEnd),
    status: v.string(),
    currentTaskId: v.optional(v.id("tasks")),
    lastHeartbeatAt: v.optional(v.number()),
    /** A fingerprint of what the agent saw at its last finished heartbeat. */
    fingerprint: v.optional(v.string()),
    pendingFingerprint: v.optional(v.string())
  })
    .index("by_agent", ["agentId", "at"])
    .index("by_account", ["accountId"])
    .index("by_at", ["accountId", "at"])
}
