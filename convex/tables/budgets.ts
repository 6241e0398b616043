import { defineTable } from "convex/server"
import { v } from "convex/values"

/** Whose spending a budget limits. Without an agent and a task it is the account's budget. */
export const budgetScope = { agentId: v.optional(v.id("agents")), taskId: v.optional(v.id("tasks")) }

export const budgetPeriod = v.union(v.literal("day"), v.literal("month"), v.literal("lifetime"))

/** US dollars, or price-weighted tokens. */
export const budgetUnit = v.union(v.literal("usd"), v.literal("tokens"))

/** Why a notification may not start, and until when. Null: until someone raises the budget. */
export const hold = v.object({
  budgetId: v.id("budgets"),
  reason: v.string(),
  until: v.union(v.number(), v.null()),
  /** Its order and ready time before it was held. */
  at: v.number(),
  readyAt: v.number()
})

export const budgetTables = {
  /** The maximum that an account, an agent or the work on a task may spend. */
  budgets: defineTable({
    accountId: v.id("accounts"),
    ...budgetScope,
    period: budgetPeriod,
    unit: budgetUnit,
    limit: v.number(),
    /** For the account's budgets: the window (a day, a month or empty), and what agents have drawn of it. */
    window: v.string(),
    drawn: v.number(),
    /** What agents had spent in the window at the last count, and when a claim last counted. */
    spent: v.number(),
    countedAt: v.number(),
    /** The windows in which people were last notified of the warning and of the stop. */
    warnedIn: v.optional(v.string()),
    stoppedIn: v.optional(v.string())
  })
    .index("by_account", ["accountId"])
    .index("by_scope", ["accountId", "agentId", "taskId"]),

  /**
   * What an agent has drawn of an account's budget in a window. Agents draw slices, so that not every run writes the
   * budget's row.
   */
  budgetDraws: defineTable({
    budgetId: v.id("budgets"),
    agentId: v.id("agents"),
    window: v.string(),
    drawn: v.number()
  }).index("by_budget", ["budgetId", "agentId"])
}
