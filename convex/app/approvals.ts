import { v } from "convex/values"
import { memberMutation, memberQuery } from "../model/access/personFunctions.ts"
import { approvalOf, approve as approveRequest, deny as denyRequest } from "../model/approvals/approvalDecisions.ts"
import { approvalView, listApprovals, toApprovalView } from "../model/approvals/approvalView.ts"
import { bounded } from "../model/database/bounded.ts"

/**
 * The open requests for approval, or those of the latest that ended, newest first, with arguments cut at 200 characters.
 * For members. Reads three rows each, at most 200 requests or 3,000,000 characters.
 */
export const list = memberQuery({
  args: { ended: v.optional(v.boolean()), limit: v.optional(v.number()) },
  returns: v.array(approvalView),
  handler: (ctx, { ended, limit }) =>
    listApprovals(ctx, ctx.accountId, { hasEnded: ended ?? false, limit: bounded(limit, 50, 200) })
})

/** A request for approval with its whole arguments and its result. For members. Reads three rows. */
export const show = memberQuery({
  args: { id: v.string() },
  returns: approvalView,
  handler: async (ctx, { id }) => toApprovalView(ctx, await approvalOf(ctx, ctx.accountId, id))
})

/**
 * Executes the recorded call once, as the agent that asked, and notifies the agent of the result. Fails with `conflict`,
 * having changed nothing, if the request has ended, the agent was removed, the task is archived or its status or
 * assignees differ from when the agent asked. A refusal of the tool itself is returned as it is, with nothing changed.
 * For members. Reads what the tool reads and about fifteen more rows.
 */
export const approve = memberMutation({
  args: { id: v.string() },
  returns: approvalView,
  handler: async (ctx, { id }) => {
    await approveRequest(ctx, ctx.accountId, id, ctx.actor)
    return await toApprovalView(ctx, await approvalOf(ctx, ctx.accountId, id))
  }
})

/**
 * Denies a request for approval, and notifies the agent with the reason. Fails with `conflict` if it has ended. For
 * members. Reads about ten rows.
 */
export const deny = memberMutation({
  args: { id: v.string(), reason: v.optional(v.string()) },
  returns: approvalView,
  handler: async (ctx, { id, reason }) => {
    await denyRequest(ctx, ctx.accountId, id, ctx.actor, reason ?? "")
    return await toApprovalView(ctx, await approvalOf(ctx, ctx.accountId, id))
  }
})
