import { v } from "convex/values"
import { serviceMutation, serviceQuery } from "../model/access/serviceFunctions.ts"
import { bounded } from "../model/database/bounded.ts"
import { operator } from "../model/notifications/deadLetters.ts"
import { recordProgress, reportedTurn } from "../model/runs/progress.ts"
import { listRuns, runDetails, runDetailsOf, runView } from "../model/runs/runList.ts"
import { stopAnswer, stopArgs, stopRequested } from "../model/runs/stopRequest.ts"
import { requeueStopped } from "../model/runs/stops.ts"

/** Like app/runs:list. For operators with a runtime's token. Reads three or four rows each, and each pause. */
export const list = serviceQuery({
  args: { ended: v.optional(v.boolean()), limit: v.optional(v.number()) },
  returns: v.array(runView),
  handler: (ctx, { ended, limit }) =>
    listRuns(ctx, ctx.accountId, { hasEnded: ended ?? false, limit: bounded(limit, 50, 200) })
})

/** Like app/runs:get. For operators with a runtime's token. Reads five rows, each pause, attempt and effect. */
export const get = serviceQuery({
  args: { run: v.string() },
  returns: runDetails,
  handler: (ctx, { run }) => runDetailsOf(ctx, ctx.accountId, run)
})

/**
 * Stores how far the runtime's running turns are, in place of its last report. Turns that have ended are ignored. For
 * runtimes, which call it at most every 10 s while members watch. Reads and writes one row.
 */
export const progress = serviceMutation({
  args: { runtimeId: v.string(), turns: v.array(reportedTurn) },
  returns: v.null(),
  handler: async (ctx, args): Promise<null> => {
    await recordProgress(ctx, ctx.accountId, args)
    return null
  }
})

/** Like app/runs:stop. For operators with a runtime's token. Reads the runs, and what a note in each thread reads. */
export const stop = serviceMutation({
  args: stopArgs,
  returns: stopAnswer,
  handler: (ctx, args) => stopRequested(ctx, ctx.accountId, operator, args)
})

/** Like app/runs:again. For operators with a runtime's token. Reads six rows. */
export const again = serviceMutation({
  args: { run: v.string() },
  returns: v.null(),
  handler: async (ctx, { run }): Promise<null> => {
    await requeueStopped(ctx, ctx.accountId, run, operator)
    return null
  }
})
