import { memberQuery } from "../model/access/personFunctions.ts"
import { reportArgs, usageReport, usageReportOf } from "../model/usage/usageReport.ts"

/**
 * What the account's agents spent, by agent, task, day or model: over the last `days` days of the account's time zone
 * (7 when absent, at most 400). By task, each line is all that was ever spent on a task on which something was spent in
 * that time. For members; one row per agent and day, or per agent and task, is read, at most 4,000; `isCut` says that
 * there are more.
 */
export const report = memberQuery({
  args: reportArgs,
  returns: usageReport,
  handler: (ctx, args) => usageReportOf(ctx, ctx.accountId, args)
})
