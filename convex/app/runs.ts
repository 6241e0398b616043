import { v } from "convex/values"
import { memberMutation, memberQuery } from "../model/access/personFunctions.ts"
import { bounded } from "../model/database/bounded.ts"
import { listRuns, runDetails, runDetailsOf, runView, watchedRun, watchedRuns } from "../model/runs/runList.ts"
import { stopAnswer, stopArgs, stopRequested } from "../model/runs/stopRequest.ts"
import { requeueStopped } from "../model/runs/stops.ts"

/**
 * The running and waiting runs, or the runs that ended last. For members. Reads three or four rows each, and each
 * pause.
 */
export const list = memberQuery({
  args: { ended: v.optional(v.boolean()), limit: v.optional(v.number()) },
  returns: v.array(runView),
  handler: (ctx, { ended, limit }) =>
    listRuns(ctx, ctx.accountId, { hasEnded: ended ?? false, limit: bounded(limit, 50, 200) })
})

/**
 * The running runs, at most 200, with how far their turns are: the current tool, the last activity, and whether the
 * turn seems stuck. Runtimes report that only while a member calls app/agents:watch. For members. Reads four rows each,
 * one per runtime, and the watch.
 */
export const running = memberQuery({
  args: {},
  returns: v.array(watchedRun),
  handler: (ctx) => watchedRuns(ctx, ctx.accountId, 200)
})

/**
 * The details of a run, with its attempts. For members. Reads five rows, each pause, attempt and effect.
 */
export const get = memberQuery({
  args: { run: v.string() },
  returns: runDetails,
  handler: (ctx, { run }) => runDetailsOf(ctx, ctx.accountId, run)
})

/**
 * Stops a run, or all runs of an agent or a task. From this commit on none of them can write. Returns the outcome of a
 * run that had ended already. For members. Reads the runs, and what a note in each thread reads.
 */
export const stop = memberMutation({
  args: stopArgs,
  returns: stopAnswer,
  handler: (ctx, args) => stopRequested(ctx, ctx.accountId, ctx.actor, args)
})

/** Runs a stopped notification again with a new budget of attempts. For members. Reads six rows. */
export const again = memberMutation({
  args: { run: v.string() },
  returns: v.null(),
  handler: async (ctx, { run }): Promise<null> => {
    await requeueStopped(ctx, ctx.accountId, run, ctx.actor)
    return null
  }
})
