import type { Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"

/**
 * The next time after `after` at which a claim could find work only because time has passed: the retry of a
 * notification, a heartbeat, or the expiry of another runtime's lease. Includes a retry behind a running turn, because
 * the end of that turn wakes no one. Reads two rows.
 */
export const nextDueAt = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  nextExpiry: number | null,
  after: number
): Promise<number | null> => {
  const notification = await ctx.db
    .query("notifications")
    .withIndex("by_retry", (q) => q.eq("accountId", accountId).gt("retryAt", after))
    .first()
  const heartbeat = await ctx.db
    .query("heartbeats")
    .withIndex("by_at", (q) => q.eq("accountId", accountId).gt("at", after))
    .first()
  const moments = [notification?.retryAt, heartbeat?.at, nextExpiry]
  const known = moments.filter((moment) => moment !== undefined && moment !== null)
  return known.length === 0 ? null : Math.min(...known)
}

/** Whether a free session or a heartbeat is due. Reads at most two rows. */
export const hasClaimable = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  now: number
): Promise<boolean> => {
  const session = await ctx.db
    .query("sessions")
    .withIndex("by_at", (q) => q.eq("accountId", accountId).gt("at", 0).lte("at", now))
    .first()
  if (session !== null) return true
  const heartbeat = await ctx.db
    .query("heartbeats")
    .withIndex("by_at", (q) => q.eq("accountId", accountId).gt("at", 0).lte("at", now))
    .first()
  return heartbeat !== null
}

/** The time since which the oldest ready notification waits; null if there is none. Reads one row. */
export const oldestReady = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  now: number
): Promise<number | null> => {
  const oldest = await ctx.db
    .query("notifications")
    .withIndex("by_state", (q) => q.eq("accountId", accountId).eq("state", "ready").lte("readyAt", now))
    .first()
  return oldest?.readyAt ?? null
}
