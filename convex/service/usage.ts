import { v } from "convex/values"
import { ownRow } from "../model/access/ownRow.ts"
import { refusal } from "../model/access/refusal.ts"
import { serviceMutation, serviceQuery } from "../model/access/serviceFunctions.ts"
import { accountOf } from "../model/agents/agents.ts"
import { permit, urgencyOf } from "../model/budgets/budgets.ts"
import { SpendingBook } from "../model/budgets/spendingBook.ts"
import { heldSession, notificationOf } from "../model/queue/fences.ts"
import { fenceArgs } from "../model/runs/runs.ts"
import { traceArgs, traceOf } from "../model/runs/traces.ts"
import { recordAttempt } from "../model/usage/usage.ts"
import { reportArgs, usageReport, usageReportOf } from "../model/usage/usageReport.ts"
import { spending } from "../tables/attempts.ts"

/**
 * Records what an attempt spent after its lease was lost, when no other call can report it. Replaces an estimate. Needs
 * no lease. For runtimes. Reads seven rows.
 */
export const record = serviceMutation({
  args: { ...fenceArgs, usage: spending, ...traceArgs },
  returns: v.null(),
  handler: async (ctx, { epoch, run, session: sessionId, usage, ...trace }) => {
    const session = await ownRow(ctx, "sessions", ctx.accountId, sessionId)
    const row = await notificationOf(ctx, run)
    const isOfSession =
      session !== null &&
      epoch >= 1 &&
      epoch <= session.epoch &&
      (row === null ? run.startsWith(session.agentId) : row.sessionId === session._id)
    if (!isOfSession) throw refusal("not_found", "No attempt of the run has this session and epoch. Check the fence.")
    const { accountId, agentId, kind } = session
    // The lease of a stopped run stays until its process has aborted the turn.
    const lease = session.lease?.epoch === epoch ? session.lease : undefined
    const end = (lease === undefined ? undefined : session.recalled) ?? "lease_lost"
    const attempt = { accountId, agentId, kind, run, epoch, taskId: row?.taskId, lease }
    await recordAttempt(ctx, attempt, session, usage, { end, ...traceOf(trace) })
    return null
  }
})

/**
 * Lets a run that used up its allowance spend more. Returns its new total allowance (null: no limit), or the reason why
 * a budget refuses, and until when. For runtimes. Reads what a claim reads for the budgets of one run.
 */
export const allow = serviceMutation({
  args: { ...fenceArgs, usedTokens: v.number() },
  returns: v.union(
    v.object({ allowance: v.union(v.number(), v.null()) }),
    v.object({ reason: v.string(), until: v.union(v.number(), v.null()) })
  ),
  handler: async (ctx, { usedTokens, ...fence }) => {
    const session = await heldSession(ctx, ctx.accountId, fence)
    const { allowance: known = null, askedTokens = 0, ...lease } = session.lease
    // A call that arrives after a later one changes nothing.
    if (usedTokens < askedTokens) return { allowance: known }
    const row = await notificationOf(ctx, fence.run)
    const book = new SpendingBook(ctx, await accountOf(ctx, ctx.accountId), Date.now())
    const permission = await permit(ctx, book, {
      agentId: session.agentId,
      taskId: row?.taskId,
      urgency: row === null ? "passive" : urgencyOf(row),
      running: { session: session._id, used: Math.max(0, usedTokens) }
    })
    if ("refusedBy" in permission) return { reason: permission.reason, until: permission.until }
    const { allowance } = permission
    const asked = { ...lease, askedTokens: usedTokens }
    await ctx.db.patch("sessions", session._id, { lease: allowance === null ? asked : { ...asked, allowance } })
    return { allowance }
  }
})

/** Like app/usage:report. For operators with a runtime's token. */
export const report = serviceQuery({
  args: reportArgs,
  returns: usageReport,
  handler: (ctx, args) => usageReportOf(ctx, ctx.accountId, args)
})
