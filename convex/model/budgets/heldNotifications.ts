import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import { notWaiting } from "../notifications/events.ts"
import { enqueue } from "../queue/sessions.ts"
import type { Permission } from "./budgets.ts"

/** Later than any due time. */
const never = 8_640_000_000_000_000

/** Makes a notification wait for a budget. Does not count an attempt. */
export const holdNotification = async (
  ctx: MutationCtx,
  row: Pick<Doc<"notifications">, "_id" | "at" | "held" | "readyAt">,
  { reason, refusedBy, until }: Exclude<Permission, { readonly allowance: unknown }>
): Promise<void> => {
  const since = until ?? never
  // A notification that was held before keeps the order it had before that.
  const { at, readyAt } = row.held ?? row
  await ctx.db.patch("notifications", row._id, {
    held: { budgetId: refusedBy._id, reason, until, at, readyAt },
    at: since,
    readyAt: since,
    retryAt: until ?? undefined
  })
}

const batch = 100

/**
 * Makes up to 100 notifications that wait for the budget ready again, in their old order. Returns whether there may be
 * more.
 */
export const releaseHeld = async (ctx: MutationCtx, budgetId: Id<"budgets">): Promise<boolean> => {
  const rows = await ctx.db
    .query("notifications")
    .withIndex("by_held", (q) => q.eq("held.budgetId", budgetId))
    .take(batch)
  for (const { _id, held, sessionId } of rows) {
    if (held === undefined) continue
    const { at, readyAt } = held
    await ctx.db.patch("notifications", _id, { ...notWaiting, at, readyAt })
    const session = sessionId === undefined ? null : await ctx.db.get("sessions", sessionId)
    if (session !== null) await enqueue(ctx, session, at)
  }
  return rows.length === batch
}
