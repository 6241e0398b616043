import { v } from "convex/values"
import { internal } from "../_generated/api.js"
import { internalMutation } from "../_generated/server.js"

const keptMs = 90 * 24 * 60 * 60 * 1_000
const batch = 500

/**
 * Deletes notifications that ended ninety days ago, and the ledger rows of runs as old. Dead letters stay until an
 * operator decides. Daily, in batches of 500; claims cost the same with or without it.
 */
export const sweep = internalMutation({
  args: {},
  returns: v.null(),
  handler: async (ctx): Promise<null> => {
    const before = Date.now() - keptMs
    let isMore = false
    for (const state of ["delivered", "discarded"] as const) {
      const rows = await ctx.db
        .query("notifications")
        .withIndex("by_retention", (q) => q.eq("state", state).gt("endedAt", 0).lt("endedAt", before))
        .take(batch)
      for (const row of rows) await ctx.db.delete("notifications", row._id)
      isMore ||= rows.length === batch
    }
    const effects = await ctx.db
      .query("effects")
      .withIndex("by_creation_time", (q) => q.lt("_creationTime", before))
      .take(batch)
    for (const effect of effects) await ctx.db.delete("effects", effect._id)
    isMore ||= effects.length === batch
    if (isMore) await ctx.scheduler.runAfter(0, internal.scheduled.retention.sweep, {})
    return null
  }
})
