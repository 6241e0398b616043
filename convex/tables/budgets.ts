import { defineTable } from "convex/server"
import { v } from "convex/values"

/** Of what a budget limits the spending; a budget of neither is the account's. */
export const budgetScope = { agentId: v.optional(v.id("agents")), taskId: v.optional(v.id("tasks")) }

export const budgetPeriod = v.union(v.literal("day"), v.literal("month"), v.literal("lifetime"))

/** US dollars, or price-weighted tokens. */
export const budgetUnit = v.union(v.literal("usd"), v.literal("tokens"))

/** Why a notification may not start, and until when; null means until the budget is raised. */
export const hold = v.object({
  budgetId: v.id("budgets"),
  reason: v.string(),
  until: v.union(v.number(), v.null()),
  /** Its order and readiness before. */
  at: v.number(),
  readyAt: v.number()
})

export const budgetTables = {
  /** How much an account, an agent or the work on a task may spend. */
  budgets: defineTable({
    accountId: v.id("accounts"),
    ...budgetScope,
    period: budgetPeriod,
    unit: budgetUnit,
    limit: v.number(),
    /** Of the account's: the window (a day, a month or nothing) and what agents have drawn of it. */
    window: v.string(),
    drawn: v.number(),
    /** What agents had spent of it in the window when that was last counted, and when a claim last counted. */
    spent: v.number(),
    countedAt: v.number(),
    /** The windows in which people were last told of the warning and of the stop. */
    warnedIn: v.optional(v.string()),
    stoppedIn: v.optional(v.string())
  }).index("by_scope", ["accountId", "agentId", "taskId"]),

  /** What an agent drew of an account's budget in a window, in slices, so that the budget is written per slice. */
  budgetDraws: defineTable({
    budgetId: v.id("budgets"),
    agentId: v.id("agents"),
    window: v.string(),
    drawn: v.number()
  }).index("by_budget", ["budgetId", "agentId"])
}
