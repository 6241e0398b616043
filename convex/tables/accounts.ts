import { defineTable } from "convex/server"
import { v } from "convex/values"
import { actor } from "./actor.ts"
import { toolPolicy } from "./approvals.ts"
import { tokenPrice } from "./usage.ts"

/** The flags that an account or an agent sets. A flag that neither sets has its default. */
export const flagSettings = v.object({
  canCreateTasks: v.optional(v.boolean()),
  canModifyTaskStatus: v.optional(v.boolean()),
  canCreateDocuments: v.optional(v.boolean()),
  canMentionAgents: v.optional(v.boolean()),
  canReviewTasks: v.optional(v.boolean()),
  canMarkDone: v.optional(v.boolean())
})

export const sessionScope = v.union(v.literal("agent"), v.literal("task"))

export const role = v.union(v.literal("owner"), v.literal("admin"), v.literal("member"))

export const accountTables = {
  accounts: defineTable({
    name: v.string(),
    agentFlags: flagSettings,
    /** `task` gives an agent one session per task instead of one for all. */
    sessionScope,
    briefing: v.union(v.string(), v.null()),
    /** The time zone of the days and months of usage, e.g. Europe/Berlin. */
    timeZone: v.string(),
    /** Prices of models that the runtimes do not know. The model * applies to all others. */
    prices: v.array(v.object({ model: v.string(), price: tokenPrice })),
    /** What agents may do with tools. Absent until the first policy is set, then never absent again. */
    toolPolicies: v.optional(v.array(toolPolicy)),
    /** Grows with every change of agents, skills or the account's settings. The pulse and agents:list return it. */
    rosterRevision: v.number(),
    /** The operator's own name for the account in files; absent for accounts that people created. */
    key: v.optional(v.string()),
    /** Set from the request to delete the account until nothing of it is left. */
    deletion: v.optional(v.object({ by: actor, at: v.number() }))
  }).index("by_key", ["key"]),

  members: defineTable({
    accountId: v.id("accounts"),
    tokenIdentifier: v.string(),
    name: v.string(),
    /** The name in lower case, for mentions. */
    nameKey: v.string(),
    role
  })
    .index("by_account", ["accountId"])
    .index("by_name", ["accountId", "nameKey"])
    .index("by_identity", ["tokenIdentifier", "accountId"]),

  serviceTokens: defineTable({
    accountId: v.id("accounts"),
    hash: v.string(),
    label: v.string(),
    createdBy: actor,
    revokedAt: v.optional(v.number())
  })
    .index("by_hash", ["hash"])
    .index("by_account", ["accountId"]),

  activities: defineTable({
    accountId: v.id("accounts"),
    type: v.string(),
    actor,
    taskId: v.optional(v.id("tasks")),
    summary: v.string()
  })
    .index("by_account", ["accountId"])
    .index("by_task", ["taskId"])
}
