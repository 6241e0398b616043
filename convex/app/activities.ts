import { v } from "convex/values"
import { memberQuery } from "../model/access/personFunctions.ts"
import { bounded } from "../model/database/bounded.ts"
import { taskOf } from "../model/tasks/taskView.ts"
import { actor } from "../tables/actor.ts"

/** The activities of the account or of one task, newest first. For members. Reads one row each, at most 200. */
export const list = memberQuery({
  args: { taskId: v.optional(v.string()), limit: v.optional(v.number()) },
  returns: v.array(
    v.object({
      id: v.string(),
      type: v.string(),
      actor,
      taskId: v.union(v.string(), v.null()),
      summary: v.string(),
      createdAt: v.number()
    })
  ),
  handler: async (ctx, { taskId, limit }) => {
    const count = bounded(limit, 50, 200)
    const task = taskId === undefined ? null : await taskOf(ctx, ctx.accountId, taskId)
    const lines = await (
      task === null
        ? ctx.db.query("activities").withIndex("by_account", (q) => q.eq("accountId", ctx.accountId))
        : ctx.db.query("activities").withIndex("by_task", (q) => q.eq("taskId", task._id))
    )
      .order("desc")
      .take(count)
    return lines.map((line) => ({
      id: line._id,
      type: line.type,
      actor: line.actor,
      taskId: line.taskId ?? null,
      summary: line.summary,
      createdAt: line._creationTime
    }))
  }
})
