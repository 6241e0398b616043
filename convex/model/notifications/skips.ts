import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import { refreshSession } from "../queue/sessions.ts"
import { notWaiting } from "./events.ts"

/** More than a task can have: events join, so each agent of the account has only a few. */
const taskBatch = 400

const skipAll = async (ctx: MutationCtx, rows: ReadonlyArray<Doc<"notifications">>, reason: string): Promise<void> => {
  for (const row of rows) {
    await ctx.db.patch("notifications", row._id, {
      state: "delivered",
      outcome: "skipped",
      outcomeReason: reason,
      endedAt: Date.now(),
      ...notWaiting
    })
  }
  const sessionIds = new Set(rows.flatMap(({ sessionId }) => sessionId ?? []))
  for (const id of sessionIds) await refreshSession(ctx, id)
}

/**
 * Skips at most 400 notifications of the task that only agents caused and that were never claimed. Reads them, and two
 * rows per session.
 */
export const skipCausedByAgents = async (ctx: MutationCtx, taskId: Id<"tasks">, reason: string): Promise<void> => {
  const rows = await ctx.db
    .query("notifications")
    .withIndex("by_task", (q) => q.eq("taskId", taskId).eq("state", "ready"))
    .take(taskBatch)
  const isCausedByAgents = ({ claims, events }: Doc<"notifications">) =>
    claims === 0 && events.every(({ actor }) => actor.type === "agent")
  await skipAll(ctx, rows.filter(isCausedByAgents), reason)
}
