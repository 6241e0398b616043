import { defineTable } from "convex/server"
import { v } from "convex/values"
import { failure, runEnd } from "./runs.ts"

export const heartbeatTables = {
  /** One per agent; apart from agents, so that a heartbeat re-runs no subscription of the roster. */
  heartbeats: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    sessionId: v.id("sessions"),
    /** The schedule by which dueAt was calculated: minutes, or a cron expression in UTC. */
    schedule: v.union(v.number(), v.string()),
    /** The moment of this heartbeat; with the agent it identifies its run. */
    dueAt: v.number(),
    /** When it can be claimed: dueAt, or later after a failure; absent while it is claimed. */
    at: v.optional(v.number()),
    attempts: v.number(),
    /** How often this heartbeat was claimed; unlike attempts never reduced. */
    claims: v.number(),
    /** Own failures of this heartbeat, and the crashes before them. */
    failures: v.number(),
    crashes: v.number(),
    error: v.optional(failure),
    /** Of the last attempt that stored its end; the span only until the next heartbeat. */
    traceId: v.optional(v.string()),
    spanId: v.optional(v.string()),
    end: v.optional(runEnd),
    status: v.string(),
    currentTaskId: v.optional(v.id("tasks")),
    lastHeartbeatAt: v.optional(v.number()),
    /** Of what the agent saw at its last finished heartbeat. */
    fingerprint: v.optional(v.string()),
    pendingFingerprint: v.optional(v.string())
  })
    .index("by_agent", ["agentId", "at"])
    .index("by_account", ["accountId"])
    .index("by_at", ["accountId", "at"])
}
