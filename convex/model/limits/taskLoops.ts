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

/** Counts a turn of an agent on the task; answers how many there were since a person acted on it. Reads and writes one row. */
export const countTurn = async (ctx: Ctx, task: Pick<Doc<"tasks">, "_id" | "accountId">): Promise<number> => {
  const found = await loopOf(ctx, task._id)
  const turns = (found?.turns ?? 0) + 1
  await save(ctx, task, found, { turns })
  return turns
}

/** Marks the task as one whose hop limit a person was told of. Answers false if it already is. Reads one row. */
export const markHopLimitNotified = async (
  ctx: Ctx,
  task: Pick<Doc<"tasks">, "_id" | "accountId">
): Promise<boolean> => {
  const found = await loopOf(ctx, task._id)
  if (found?.isHopLimitTold === true) return false
  await save(ctx, task, found, { isHopLimitTold: true })
  return true
}

/** Lets agents begin again, because a person acted on the task; who calls this clears the task's own mark. Reads one row. */
export const resetTaskLoop = async (ctx: Ctx, taskId: Id<"tasks">): Promise<void> => {
  const loop = await loopOf(ctx, taskId)
  if (loop !== null) await ctx.db.delete("taskLoops", loop._id)
}
