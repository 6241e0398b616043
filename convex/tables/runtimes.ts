import { defineTable } from "convex/server"
import { v } from "convex/values"
import { actor } from "./actor.ts"

export const runtimeStatus = v.union(
  v.literal("booting"),
  v.literal("online"),
  v.literal("degraded"),
  v.literal("draining"),
  v.literal("offline")
)

export const versions = v.object({ runtime: v.string(), openclaw: v.union(v.string(), v.null()) })

export const infrastructure = v.object({
  dropletId: v.union(v.string(), v.null()),
  ipAddress: v.union(v.string(), v.null()),
  region: v.union(v.string(), v.null())
})

export const runtimeTables = {
  /**
   * One row per RUNTIME_ID: the boot that may claim. Separate from runtimes, so that the pulse does not write a row
   * that every claim and renewal reads.
   */
  boots: defineTable({
    accountId: v.id("accounts"),
    runtimeId: v.string(),
    bootId: v.string(),
    /** The twenty boots before this one. */
    formerBootIds: v.array(v.string()),
    /** The number of the last claim that leased a run. */
    lastClaim: v.number(),
    /** The boot has made its last claim: its leases are released, and further claims are refused. */
    hasEnded: v.boolean()
  })
    .index("by_account", ["accountId"])
    .index("by_runtime", ["accountId", "runtimeId"]),

  /** One per RUNTIME_ID: presence and health. */
  runtimes: defineTable({
    accountId: v.id("accounts"),
    runtimeId: v.string(),
    status: runtimeStatus,
    reasons: v.array(v.string()),
    health: v.union(v.string(), v.null()),
    versions,
    infrastructure,
    intervalMs: v.number(),
    lastPulseAt: v.number(),
    lapseJobId: v.optional(v.id("_scheduled_functions"))
  })
    .index("by_account_age", ["accountId"])
    .index("by_runtime", ["accountId", "runtimeId"])
    .index("by_account", ["accountId", "status", "lastPulseAt"])
    .index("by_status", ["status", "lastPulseAt"]),

  /** A command from a person or a rollout to a runtime. */
  runtimeCommands: defineTable({
    accountId: v.id("accounts"),
    runtimeId: v.string(),
    kind: v.union(v.literal("restart"), v.literal("upgrade"), v.literal("rollback")),
    runtimeVersion: v.union(v.string(), v.null()),
    openclawVersion: v.union(v.string(), v.null()),
    requestedBy: actor,
    state: v.union(
      v.literal("pending"),
      v.literal("taken"),
      v.literal("success"),
      v.literal("failed"),
      v.literal("rolled_back")
    ),
    isOpen: v.boolean(),
    takenAt: v.optional(v.number()),
    /** The boot that took it, and when that boot last reported progress. */
    takenBy: v.optional(v.string()),
    heardAt: v.optional(v.number()),
    /** The reported progress, or why it failed. */
    message: v.optional(v.string()),
    /** Fails it if it is not heard of in time. Absent once it has ended. */
    timeOutJobId: v.optional(v.id("_scheduled_functions"))
  })
    .index("by_open", ["accountId", "runtimeId", "isOpen"])
    .index("by_account", ["accountId"])
}
