import { memberQuery } from "../model/access/personFunctions.ts"
import { reportArgs, usageReport, usageReportOf } from "../model/usage/usageReport.ts"

/**
 * What the account's agents spent in the last `days` days of the account's time zone (default 7, at most 400), by
 * agent, task, day or model. By task, a line is everything ever spent on a task that had usage in that time. For
 * members. Reads one row per agent and day, or per agent and task, at most 4,000; `isCut` is true if there are more.
 */
export const report = memberQuery({
  args: reportArgs,
  returns: usageReport,
  handler: (ctx, args) => usageReportOf(ctx, ctx.accountId, args)
})
