import { v } from "convex/values"
import { serviceMutation, serviceQuery } from "../model/access/serviceFunctions.ts"
import { bounded } from "../model/database/bounded.ts"
import { operator } from "../model/notifications/deadLetters.ts"
import { listRuns, runDetails, runDetailsOf, runView } from "../model/runs/runList.ts"
import { stopAnswer, stopArgs, stopRequested } from "../model/runs/stopRequest.ts"
import { requeueStopped } from "../model/runs/stops.ts"

/** As app/runs:list. For operators by a runtime's token; three or four rows of each are read. */
export const list = serviceQuery({
  args: { ended: v.optional(v.boolean()), limit: v.optional(v.number()) },
  returns: v.array(runView),
  handler: (ctx, { ended, limit }) =>
    listRuns(ctx, ctx.accountId, { hasEnded: ended ?? false, limit: bounded(limit, 50, 200) })
})

/** As app/runs:get. For operators by a runtime's token; four rows and one per effect are read. */
export const get = serviceQuery({
  args: { run: v.string() },
  returns: runDetails,
  handler: (ctx, { run }) => runDetailsOf(ctx, ctx.accountId, run)
})

/** As app/runs:stop. For operators by a runtime's token; the runs are read, and what a note in each thread reads. */
export const stop = serviceMutation({
  args: stopArgs,
  returns: stopAnswer,
  handler: (ctx, args) => stopRequested(ctx, ctx.accountId, operator, args)
})

/** As app/runs:again. For operators by a runtime's token; six rows are read. */
export const again = serviceMutation({
  args: { run: v.string() },
  returns: v.null(),
  handler: async (ctx, { run }): Promise<null> => {
    await requeueStopped(ctx, ctx.accountId, run, operator)
    return null
  }
})
