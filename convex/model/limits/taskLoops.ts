import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"

type Ctx = Pick<MutationCtx, "db">
type Loop = Pick<Doc<"taskLoops">, "turns" | "isHopLimitTold">

const loopOf = (ctx: Pick<QueryCtx, "db">, taskId: Id<"tasks">) =>
  ctx.db
    .query("taskLoops")
    .withIndex("by_task", (q) => q.eq("taskId", taskId))
    .unique()

const save = async (
  ctx: Ctx,
  { _id: taskId, accountId }: Pick<Doc<"tasks">, "_id" | "accountId">,
  found: Doc<"taskLoops"> | null,
  change: Partial<Loop>
): Promise<void> => {
  if (found !== null) await ctx.db.patch("taskLoops", found._id, change)
  else await ctx.db.insert("taskLoops", { accountId, taskId, turns: 0, isHopLimitTold: false, ...change })
}

/**
 * Counts an agent's turn on the task. Returns the number of turns since a person acted on it. Reads and writes one row.
 */
export const countTurn = async (ctx: Ctx, task: Pick<Doc<"tasks">, "_id" | "accountId">): Promise<number> => {
  const found = await loopOf(ctx, task._id)
  const turns = (found?.turns ?? 0) + 1
  await save(ctx, task, found, { turns })
  return turns
}

/**
 * Marks that a person was notified of the hop limit on the task. Returns false if that was marked already. Reads one
 * row.
 */
export const markHopLimitNotified = async (
  ctx: Ctx,
  task: Pick<Doc<"tasks">, "_id" | "accountId">
): Promise<boolean> => {
  const found = await loopOf(ctx, task._id)
  if (found?.isHopLimitTold === true) return false
  await save(ctx, task, found, { isHopLimitTold: true })
  return true
}

/**
 * Lets agents start again, because a person acted on the task. The caller resets the task's isAtTurnLimit. Reads one
 * row.
 */
export const resetTaskLoop = async (ctx: Ctx, taskId: Id<"tasks">): Promise<void> => {
  const loop = await loopOf(ctx, taskId)
  if (loop !== null) await ctx.db.delete("taskLoops", loop._id)
}

/** Lets agents start again on the task, because a person acted on it other than by changing it. Reads one row. */
export const noteAct = async (ctx: Ctx, task: Pick<Doc<"tasks">, "_id" | "isAtTurnLimit">): Promise<void> => {
  await resetTaskLoop(ctx, task._id)
  if (task.isAtTurnLimit) await ctx.db.patch("tasks", task._id, { isAtTurnLimit: false })
}
