import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import { recordActivity } from "../accounts/activities.ts"
import { systemActor } from "../accounts/actor.ts"
import { notifyMember } from "../notifications/notify.ts"
import { personOrigin } from "../notifications/origin.ts"
import { announce } from "../webhooks/announce.ts"

/** The recipients of a notice: the creator of the task for a task's budget, otherwise the account's owners. */
const recipientsOf = async (ctx: Pick<MutationCtx, "db">, budget: Doc<"budgets">, task: Doc<"tasks">) => {
  if (budget.taskId !== undefined && task.createdBy.type === "person") {
    const id = ctx.db.normalizeId("members", task.createdBy.id ?? "")
    const creator = id === null ? null : await ctx.db.get("members", id)
    if (creator !== null) return [creator]
  }
  const members = await ctx.db
    .query("members")
    .withIndex("by_account", (q) => q.eq("accountId", budget.accountId))
    .take(100)
  return members.filter(({ role }) => role === "owner")
}

/**
 * The task to which the notice belongs: the task of the work, or for a heartbeat the task on which agents last spent
 * tokens.
 */
const taskFor = async (ctx: Pick<MutationCtx, "db">, budget: Doc<"budgets">, taskId: Id<"tasks"> | undefined) => {
  if (taskId !== undefined) return await ctx.db.get("tasks", taskId)
  const latest = await ctx.db
    .query("usageTotals")
    .withIndex("by_account", (q) => q.eq("accountId", budget.accountId))
    .order("desc")
    .first()
  return latest === null ? null : await ctx.db.get("tasks", latest.taskId)
}

/** Notifies people and webhooks, once per window, that a budget is nearly used up or that work waits for it. */
export const sendBudgetNotice = async (
  ctx: MutationCtx,
  budget: Doc<"budgets">,
  options: {
    readonly window: string
    readonly kind: "warned" | "stopped"
    readonly taskId: Id<"tasks"> | undefined
    readonly what: string
  }
): Promise<void> => {
  const { kind, taskId, what, window } = options
  const field = kind === "warned" ? "warnedIn" : "stoppedIn"
  if (budget[field] === window) return
  const task = await taskFor(ctx, budget, taskId)
  if (task === null) return
  await ctx.db.patch("budgets", budget._id, { [field]: window })
  const text =
    kind === "warned"
      ? `80 % of ${what} is used. Heartbeats and passive updates wait. Raise the budget with app/budgets:set.`
      : `Work waits because ${what} is used up. It continues in the next window, or at once if you raise the budget (app/budgets:set).`
  const { _id: budgetId, accountId, agentId = null, limit, period, unit } = budget
  await recordActivity(ctx, { accountId, type: `budget_${kind}`, actor: systemActor, taskId: task._id, summary: text })
  await announce(ctx, accountId, {
    type: `budget.${kind}`,
    data: { budgetId, agentId, taskId: budget.taskId ?? null, period, unit, limit, text }
  })
  const origin = personOrigin(systemActor)
  for (const { _id } of await recipientsOf(ctx, budget, task)) {
    await notifyMember(ctx, task, _id, origin, { type: "thread_update", request: text })
  }
}
