import { v } from "convex/values"
import { internal } from "../_generated/api.js"
import type { MutationCtx } from "../_generated/server.js"
import { internalMutation } from "../_generated/server.js"
import { dayIn } from "../model/days.ts"
import { forgetRuntimes } from "../model/runtimes.ts"
import { seenMs } from "../model/seenTasks.ts"

const dayMs = 24 * 60 * 60 * 1_000
const keptMs = 90 * dayMs
const runtimesKeptMs = 7 * dayMs
/** Thirteen months, so that a month can be compared with the same one of last year. */
const sumsKeptMs = 396 * dayMs
const batch = 250
const runtimesBatch = 10

/** Whether the run may be tried again, so that its ledger still keeps it from doing things twice. Reads one row. */
const mayRunAgain = async (ctx: Pick<MutationCtx, "db">, runId: string): Promise<boolean> => {
  const id = ctx.db.normalizeId("notifications", runId)
  // A heartbeat is given up when the next one is due.
  const row = id === null ? null : await ctx.db.get("notifications", id)
  return row !== null && row.state !== "delivered" && row.state !== "discarded"
}

/** Deletes what attempts spent ninety days ago, and sums of 13 months ago; returns whether there may be more. */
const forgetUsage = async (ctx: MutationCtx, now: number): Promise<boolean> => {
  const attempts = await ctx.db
    .query("attempts")
    .withIndex("by_creation_time", (q) => q.lt("_creationTime", now - keptMs))
    .take(batch)
  for (const { _id } of attempts) await ctx.db.delete("attempts", _id)
  const firstDay = dayIn("UTC", now - sumsKeptMs)
  const days = await ctx.db
    .query("usageDays")
    .withIndex("by_day", (q) => q.lt("day", firstDay))
    .take(batch)
  for (const { _id } of days) await ctx.db.delete("usageDays", _id)
  const totals = await ctx.db
    .query("usageTotals")
    .withIndex("by_day", (q) => q.lt("day", firstDay))
    .take(batch)
  for (const { _id } of totals) await ctx.db.delete("usageTotals", _id)
  return [attempts, days, totals].some((rows) => rows.length === batch)
}

/**
 * Deletes notifications that ended ninety days ago, and ledger rows as old of runs that are over. Dead letters stay
 * until an operator decides, and with them what their runs did. Deletes what attempts spent after ninety days, sums of
 * usage after 13 months, runtimes that have been offline for seven days, and what sessions saw more than four hours ago.
 * Runs daily, in batches of 250 rows per kind and ten runtimes, and schedules the next batch while there is more;
 * the ledger continues from `after` (epoch milliseconds). Reads those rows and the notification of each run.
 */
export const sweep = internalMutation({
  args: { after: v.optional(v.number()) },
  returns: v.null(),
  handler: async (ctx, { after = 0 }): Promise<null> => {
    const before = Date.now() - keptMs
    let isMore = await forgetRuntimes(ctx, Date.now() - runtimesKeptMs, runtimesBatch)
    if (await forgetUsage(ctx, Date.now())) isMore = true
    for (const state of ["delivered", "discarded"] as const) {
      const rows = await ctx.db
        .query("notifications")
        .withIndex("by_retention", (q) => q.eq("state", state).gt("endedAt", 0).lt("endedAt", before))
        .take(batch)
      for (const row of rows) await ctx.db.delete("notifications", row._id)
      isMore ||= rows.length === batch
    }
    const seen = await ctx.db
      .query("seenTasks")
      .withIndex("by_age", (q) => q.lt("seen.at", Date.now() - seenMs))
      .take(batch)
    for (const { _id } of seen) await ctx.db.delete("seenTasks", _id)
    isMore ||= seen.length === batch
    const effects = await ctx.db
      .query("effects")
      .withIndex("by_creation_time", (q) => q.gt("_creationTime", after).lt("_creationTime", before))
      .take(batch)
    const kept = new Map<string, boolean>()
    for (const { _id, runId } of effects) {
      const isKept = kept.get(runId) ?? (await mayRunAgain(ctx, runId))
      kept.set(runId, isKept)
      if (!isKept) await ctx.db.delete("effects", _id)
    }
    isMore ||= effects.length === batch
    // What is kept is not looked at again before tomorrow.
    const last = effects.at(-1)?._creationTime ?? after
    if (isMore) await ctx.scheduler.runAfter(0, internal.scheduled.retention.sweep, { after: last })
    return null
  }
})
