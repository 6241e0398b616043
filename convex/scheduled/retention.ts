import { v } from "convex/values"
import { internal } from "../_generated/api.js"
import type { MutationCtx } from "../_generated/server.js"
import { internalMutation } from "../_generated/server.js"
import { seenMs } from "../model/contexts/seenTasks.ts"
import { deleteRollouts } from "../model/fleet/rollouts.ts"
import { notificationOf } from "../model/queue/fences.ts"
import { deleteRuntimes } from "../model/runtimes/runtimes.ts"
import { dayIn } from "../model/usage/days.ts"

const dayMs = 24 * 60 * 60 * 1_000
const keptMs = 90 * dayMs
const runtimesKeptMs = 7 * dayMs
const webhookDeliveriesKeptMs = 30 * dayMs
/** Thirteen months, so that a month can be compared with the same month of the previous year. */
const sumsKeptMs = 396 * dayMs
const batch = 250
const runtimesBatch = 10
/** Few, because each can hold 64,000 characters of arguments. */
const approvalsBatch = 25

/**
 * The rows whose notification was deleted. Heartbeats have none, so their rows are always included. Reads one row per
 * run.
 */
const ofDeletedRuns = async <Row>(
  ctx: Pick<MutationCtx, "db">,
  rows: ReadonlyArray<Row>,
  runOf: (row: Row) => string
): Promise<Array<Row>> => {
  const kept = new Map<string, boolean>()
  const forgotten: Array<Row> = []
  for (const row of rows) {
    const run = runOf(row)
    const isKept = kept.get(run) ?? (await notificationOf(ctx, run)) !== null
    kept.set(run, isKept)
    if (!isKept) forgotten.push(row)
  }
  return forgotten
}

/** Deletes sums of usage older than 13 months. Returns whether there may be more. */
const deleteSums = async (ctx: MutationCtx, now: number): Promise<boolean> => {
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
  return [days, totals].some((rows) => rows.length === batch)
}

/** Deletes deliveries of webhooks that ended before that time. Returns whether there may be more. */
const deleteWebhookDeliveries = async (ctx: MutationCtx, before: number): Promise<boolean> => {
  let isMore = false
  for (const state of ["delivered", "failed"] as const) {
    const rows = await ctx.db
      .query("webhookDeliveries")
      .withIndex("by_retention", (q) => q.eq("state", state).gt("endedAt", 0).lt("endedAt", before))
      .take(batch)
    for (const { _id } of rows) await ctx.db.delete("webhookDeliveries", _id)
    isMore ||= rows.length === batch
  }
  return isMore
}

/**
 * Deletes notifications and requests for approval 90 days after they ended, and the effects and attempts of their runs
 * once the notification is gone, and rollouts. Dead letters, and the records of their runs, stay until an operator
 * decides. Also deletes sums of usage after 13 months, runtimes that were offline for seven days, deliveries of
 * webhooks 30 days after they ended, and what sessions saw more than four hours ago. Runs daily, in batches of 250 rows
 * per kind and ten runtimes, and schedules the next batch if there is more. Effects and attempts continue from `after`
 * and `attemptsAfter` (epoch milliseconds). Reads those rows and the notification of each run.
 */
export const sweep = internalMutation({
  args: { after: v.optional(v.number()), attemptsAfter: v.optional(v.number()) },
  returns: v.null(),
  handler: async (ctx, { after = 0, attemptsAfter = 0 }): Promise<null> => {
    const before = Date.now() - keptMs
    let isMore = await deleteRuntimes(ctx, Date.now() - runtimesKeptMs, runtimesBatch)
    if (await deleteSums(ctx, Date.now())) isMore = true
    if (await deleteRollouts(ctx, before)) isMore = true
    for (const state of ["delivered", "discarded"] as const) {
      const rows = await ctx.db
        .query("notifications")
        .withIndex("by_retention", (q) => q.eq("state", state).gt("endedAt", 0).lt("endedAt", before))
        .take(batch)
      for (const row of rows) await ctx.db.delete("notifications", row._id)
      isMore ||= rows.length === batch
    }
    const approvals = await ctx.db
      .query("approvals")
      .withIndex("by_retention", (q) => q.gt("endedAt", 0).lt("endedAt", before))
      .take(approvalsBatch)
    for (const { _id } of approvals) await ctx.db.delete("approvals", _id)
    isMore ||= approvals.length === approvalsBatch
    const seen = await ctx.db
      .query("seenTasks")
      .withIndex("by_age", (q) => q.lt("seen.at", Date.now() - seenMs))
      .take(batch)
    for (const { _id } of seen) await ctx.db.delete("seenTasks", _id)
    isMore ||= seen.length === batch
    if (await deleteWebhookDeliveries(ctx, Date.now() - webhookDeliveriesKeptMs)) isMore = true
    const effects = await ctx.db
      .query("effects")
      .withIndex("by_creation_time", (q) => q.gt("_creationTime", after).lt("_creationTime", before))
      .take(batch)
    for (const { _id } of await ofDeletedRuns(ctx, effects, ({ runId }) => runId)) await ctx.db.delete("effects", _id)
    const attempts = await ctx.db
      .query("attempts")
      .withIndex("by_creation_time", (q) => q.gt("_creationTime", attemptsAfter).lt("_creationTime", before))
      .take(batch)
    for (const { _id } of await ofDeletedRuns(ctx, attempts, ({ run }) => run)) await ctx.db.delete("attempts", _id)
    isMore ||= effects.length === batch || attempts.length === batch
    // Rows that stay are not read again before tomorrow.
    const next = {
      after: effects.at(-1)?._creationTime ?? after,
      attemptsAfter: attempts.at(-1)?._creationTime ?? attemptsAfter
    }
    if (isMore) await ctx.scheduler.runAfter(0, internal.scheduled.retention.sweep, next)
    return null
  }
})
