import { v } from "convex/values"
import { internal } from "../_generated/api.js"
import type { Doc } from "../_generated/dataModel.js"
import { ownRow } from "../model/access/ownRow.ts"
import { managerMutation, memberQuery } from "../model/access/personFunctions.ts"
import { refusal } from "../model/access/refusal.ts"
import { recordActivity } from "../model/accounts/activities.ts"
import { activeAgents, agentOf } from "../model/agents/agents.ts"
import { deleteBudget, spentOf } from "../model/budgets/budgets.ts"
import { setBudget } from "../model/budgets/budgetSetting.ts"
import { budgetsOf } from "../model/budgets/spendingBook.ts"
import { taskOf } from "../model/tasks/taskView.ts"
import { budgetPeriod, budgetUnit } from "../tables/budgets.ts"

/**
 * Sets how much the account, an agent or the work on a task may spend in a period. Replaces the budget of the same
 * scope and period; past spending still counts. Work that waits for the replaced budget is checked again. For owners
 * and admins. Reads the budgets, and for a budget of the account three rows per agent.
 */
export const set = managerMutation({
  args: {
    agentId: v.optional(v.string()),
    taskId: v.optional(v.string()),
    period: budgetPeriod,
    unit: budgetUnit,
    limit: v.number()
  },
  returns: v.object({ id: v.string() }),
  handler: async (ctx, { agentId, limit, period, taskId, unit }) => {
    if (agentId !== undefined && taskId !== undefined) {
      throw refusal("invalid", "A budget applies to an agent or to a task. Set two budgets to limit both.")
    }
    const scope: Pick<Doc<"budgets">, "agentId" | "taskId"> = {
      ...(agentId === undefined ? {} : { agentId: (await agentOf(ctx, ctx.accountId, agentId))._id }),
      ...(taskId === undefined ? {} : { taskId: (await taskOf(ctx, ctx.accountId, taskId))._id })
    }
    return { id: await setBudget(ctx, ctx.accountId, { scope, period, unit, limit }, ctx.actor) }
  }
})

/**
 * Removes a budget. The other budgets decide about the work that waited for it. For owners and admins. Reads one row.
 */
export const remove = managerMutation({
  args: { id: v.string() },
  returns: v.null(),
  handler: async (ctx, args) => {
    const budget = await ownRow(ctx, "budgets", ctx.accountId, args.id)
    if (budget === null) {
      throw refusal("not_found", "The account has no budget with this id. List its budgets.")
    }
    await deleteBudget(ctx, budget._id)
    const summary = `budget of ${budget.limit} ${budget.unit} (${budget.period}) removed`
    await recordActivity(ctx, { accountId: ctx.accountId, type: "budget_removed", actor: ctx.actor, summary })
    await ctx.scheduler.runAfter(0, internal.scheduled.budgets.resume, { budgetId: budget._id })
    return null
  }
})

/**
 * The account's budgets with what was spent of each in its current day, month or lifetime. For members. Reads the
 * budgets, at most 200, and the latest sums of every agent or of a task's agents.
 */
export const list = memberQuery({
  args: {},
  returns: v.array(
    v.object({
      id: v.string(),
      agentId: v.union(v.string(), v.null()),
      taskId: v.union(v.string(), v.null()),
      period: budgetPeriod,
      unit: budgetUnit,
      limit: v.number(),
      spent: v.number()
    })
  ),
  handler: async (ctx) => {
    const budgets = await budgetsOf(ctx, ctx.accountId)
    const agents = await activeAgents(ctx, ctx.accountId)
    const views = []
    for (const budget of budgets) {
      const { _id, agentId = null, limit, period, taskId = null, unit } = budget
      const spent = await spentOf(ctx, budget, agents)
      views.push({ id: _id, agentId, taskId, period, unit, limit, spent })
    }
    return views
  }
})
