import { v } from "convex/values"
import { memberMutation, memberQuery } from "../model/access/personFunctions.ts"
import { bounded } from "../model/database/bounded.ts"
import { listRuns, runDetails, runDetailsOf, runView } from "../model/runs/runList.ts"
import { stopAnswer, stopArgs, stopRequested } from "../model/runs/stopRequest.ts"
import { requeueStopped } from "../model/runs/stops.ts"

/** The runs that are running and waiting, or the latest that ended. For members; three or four rows of each are read. */
export const list = memberQuery({
  args: { ended: v.optional(v.boolean()), limit: v.optional(v.number()) },
  returns: v.array(runView),
  handler: (ctx, { ended, limit }) =>
    listRuns(ctx, ctx.accountId, { hasEnded: ended ?? false, limit: bounded(limit, 50, 200) })
})

/** A run of a notification in full, with what its attempts did. For members; four rows, one per attempt and one per effect are read. */
export const get = memberQuery({
  args: { run: v.string() },
  returns: runDetails,
  handler: (ctx, { run }) => runDetailsOf(ctx, ctx.accountId, run)
})

/**
 * Stops a run, or all runs of an agent or a task, at once: nothing of them is written from this commit on. A run that has
 * ended answers what it ended with. For members; the runs are read, and what a note in each thread reads.
 */
export const stop = memberMutation({
  args: stopArgs,
  returns: stopAnswer,
  handler: (ctx, args) => stopRequested(ctx, ctx.accountId, ctx.actor, args)
})

/** Runs a stopped notification again with a new budget of attempts. For members; six rows are read. */
export const again = memberMutation({
  args: { run: v.string() },
  returns: v.null(),
  handler: async (ctx, { run }): Promise<null> => {
    await requeueStopped(ctx, ctx.accountId, run, ctx.actor)
    return null
  }
})
