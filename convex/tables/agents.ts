import { defineTable } from "convex/server"
import { v } from "convex/values"
import { flagSettings } from "./accounts.ts"

export const agentTables = {
  agents: defineTable({
    accountId: v.id("accounts"),
    slug: v.string(),
    name: v.string(),
    /** The name in lower case, for mentions. */
    nameKey: v.string(),
    role: v.string(),
    isOrchestrator: v.boolean(),
    flags: flagSettings,
    /** Minutes between heartbeats, or a cron expression in UTC. */
    heartbeat: v.union(v.number(), v.string()),
    model: v.union(v.string(), v.null()),
    skillIds: v.array(v.id("skills")),
    /** The first generation of its sessions. No earlier agent with this slug has used it. */
    firstGeneration: v.number(),
    removedAt: v.optional(v.number())
  })
    .index("by_account_age", ["accountId"])
    .index("by_account", ["accountId", "removedAt"])
    .index("by_slug_ever", ["accountId", "slug"])
    .index("by_slug", ["accountId", "removedAt", "slug"])
    .index("by_name", ["accountId", "removedAt", "nameKey"])
    .index("by_orchestrator", ["accountId", "removedAt", "isOrchestrator"]),

  /**
   * One row per agent: the texts of its workspace files. Separate from agents, because many mutations read the roster.
   */
  agentTexts: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    soul: v.string(),
    identity: v.string(),
    userText: v.string()
  })
    .index("by_account", ["accountId"])
    .index("by_agent", ["agentId"]),

  skills: defineTable({
    accountId: v.id("accounts"),
    slug: v.string(),
    name: v.string(),
    description: v.string(),
    content: v.string(),
    isEnabled: v.boolean()
  })
    .index("by_account_age", ["accountId"])
    .index("by_account", ["accountId", "slug"])
}
