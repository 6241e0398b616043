import type { Infer } from "convex/values"
import { internal } from "../../_generated/api.js"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"
import type { budgetPeriod, budgetUnit } from "../../tables/budgets.ts"
import { refusal } from "../access/refusal.ts"
import { recordActivity } from "../accounts/activities.ts"
import { accountOf } from "../agents/agents.ts"
import { deleteBudget, recountDraws } from "./budgets.ts"
import { type Budget, budgetsOf, maxBudgets, SpendingBook, undrawn } from "./spendingBook.ts"

const maxLimit = 1_000_000_000_000

/** How much an account, an agent or the work on a task may spend in a period. */
export interface NewBudget {
  readonly scope: Pick<Doc<"budgets">, "agentId" | "taskId">
  readonly period: Infer<typeof budgetPeriod>
  readonly unit: Infer<typeof budgetUnit>
  readonly limit: number
}

/** The budget of this scope and period, if there is one. */
export const sameBudget = (
  budgets: ReadonlyArray<Budget>,
  { period, scope }: Pick<NewBudget, "scope" | "period">
): Budget | undefined =>
  budgets.find((each) => each.period === period && each.agentId === scope.agentId && each.taskId === scope.taskId)

/**
 * Sets a budget. Replaces the budget of the same scope and period; past spending still counts. Work that waits for the
 * replaced budget is checked again. Reads the budgets, and for a budget of the account three rows per agent.
 */
export const setBudget = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  { limit, period, scope, unit }: NewBudget,
  actor: Actor
): Promise<Id<"budgets">> => {
  if (!(limit > 0 && limit <= maxLimit)) {
    throw refusal("invalid", `limit is out of range: more than 0, at most ${maxLimit}. Pause instead to spend nothing.`)
  }
  const all = await budgetsOf(ctx, accountId)
  const found = sameBudget(all, { period, scope })
  if (found === undefined && all.length >= maxBudgets) {
    throw refusal("limit", `An account has at most ${maxBudgets} budgets. Remove one first.`)
  }
  // People are notified again under the new limit.
  const change = { unit, limit, warnedIn: undefined, stoppedIn: undefined }
  const isSame = found !== undefined && found.unit === unit
  if (isSame) await ctx.db.patch("budgets", found._id, change)
  else if (found !== undefined) await deleteBudget(ctx, found._id)
  const id = isSame
    ? found._id
    : await ctx.db.insert("budgets", { accountId, ...scope, period, unit, limit, ...undrawn })
  const budget = await ctx.db.get("budgets", id)
  const book = new SpendingBook(ctx, await accountOf(ctx, accountId), Date.now())
  if (budget !== null) await recountDraws(ctx, book, budget)
  const summary = `budget set to ${limit} ${unit} (${period})`
  await recordActivity(ctx, { accountId, type: "budget_set", actor, summary })
  if (found !== undefined) await ctx.scheduler.runAfter(0, internal.scheduled.budgets.resume, { budgetId: found._id })
  return id
}
