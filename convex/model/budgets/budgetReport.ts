import { type Infer, v } from "convex/values"
import type { Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { budgetPeriod, budgetUnit } from "../../tables/budgets.ts"
import { accountOf, activeAgents } from "../agents/agents.ts"
import { endOf } from "../usage/days.ts"
import { spentOf } from "./budgets.ts"
import { budgetsOf } from "./spendingBook.ts"

/** The maximum number of held notifications in a report. */
const maxHeld = 20

/** The budgets with what was spent of each, and the first notifications that they hold. */
export const budgetReport = v.object({
  budgets: v.array(
    v.object({
      scope: v.union(v.literal("account"), v.literal("agent"), v.literal("task")),
      /** The agent's slug or the task's title; null for the account. */
      name: v.union(v.string(), v.null()),
      period: budgetPeriod,
      unit: budgetUnit,
      limit: v.number(),
      spent: v.number(),
      /** When the current day or month ends; null for a lifetime budget. */
      until: v.union(v.number(), v.null())
    })
  ),
  held: v.array(
    v.object({
      agent: v.string(),
      task: v.string(),
      reason: v.string(),
      /** Null: until someone raises the budget. */
      until: v.union(v.number(), v.null())
    })
  )
})
type BudgetReport = Infer<typeof budgetReport>

/**
 * Reads at most 200 budgets, for each the latest sums of its agents, and at most 20 notifications with agent and task.
 */
export const budgetReportOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  now: number
): Promise<BudgetReport> => {
  const { timeZone } = await accountOf(ctx, accountId)
  const agents = await activeAgents(ctx, accountId)
  const budgets: BudgetReport["budgets"] = []
  const held: BudgetReport["held"] = []
  for (const budget of await budgetsOf(ctx, accountId)) {
    const { agentId, limit, period, taskId, unit } = budget
    const agent = agentId === undefined ? null : await ctx.db.get("agents", agentId)
    const task = taskId === undefined ? null : await ctx.db.get("tasks", taskId)
    budgets.push({
      scope: agentId !== undefined ? "agent" : taskId !== undefined ? "task" : "account",
      name: agent?.slug ?? task?.title ?? null,
      period,
      unit,
      limit,
      spent: await spentOf(ctx, budget, agents),
      until: period === "lifetime" ? null : endOf(period, timeZone, now)
    })
    const rows = await ctx.db
      .query("notifications")
      .withIndex("by_held", (q) => q.eq("held.budgetId", budget._id))
      .take(maxHeld - held.length)
    for (const row of rows) {
      if (row.held === undefined || row.agentId === undefined) continue
      const recipient = await ctx.db.get("agents", row.agentId)
      const about = await ctx.db.get("tasks", row.taskId)
      const { reason, until } = row.held
      held.push({ agent: recipient?.slug ?? row.agentId, task: about?.title ?? row.taskId, reason, until })
    }
  }
  return { budgets, held }
}
