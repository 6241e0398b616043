import { defineTable } from "convex/server"
import { v } from "convex/values"

/** US dollars per million tokens. */
export const tokenPrice = v.object({
  input: v.number(),
  output: v.number(),
  cacheRead: v.number(),
  cacheWrite: v.number()
})

export const tokens = {
  inputTokens: v.number(),
  outputTokens: v.number(),
  /** The parts of inputTokens that the provider read from, and wrote to, its prompt cache. */
  cacheReadTokens: v.number(),
  cacheWriteTokens: v.number()
}

/** The sum of several attempts. */
export const usageSum = v.object({
  attempts: v.number(),
  ...tokens,
  weightedTokens: v.number(),
  /** The estimated part of weightedTokens. */
  estimatedTokens: v.number(),
  /** US dollars of everything that has a price. */
  cost: v.number(),
  /** The part of weightedTokens without a price. */
  unpricedTokens: v.number()
})

/** Running sums as of a day in the account's time zone (YYYY-MM-DD): of that day, its month, and all time. */
export const runningSums = { day: v.string(), today: usageSum, month: usageSum, total: usageSum }

export const usageTables = {
  /** One row per agent and day with usage, by model. Only outcomes of the agent's own runs write it. */
  usageDays: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    ...runningSums,
    models: v.array(v.object({ model: v.union(v.string(), v.null()), sum: usageSum }))
  })
    .index("by_account_age", ["accountId"])
    .index("by_agent", ["agentId", "day"])
    .index("by_account", ["accountId", "day"])
    .index("by_day", ["day"]),

  /** One row per task and agent that worked on it. Only outcomes of the agent's own runs write it. */
  usageTotals: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    taskId: v.id("tasks"),
    ...runningSums
  })
    .index("by_account_age", ["accountId"])
    .index("by_task", ["taskId", "agentId"])
    .index("by_account", ["accountId", "day"])
    .index("by_day", ["day"])
}
