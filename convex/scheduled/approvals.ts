import { v } from "convex/values"
import { internalMutation } from "../_generated/server.js"
import { expire as expireApproval } from "../model/approvals/approvalDecisions.ts"

/** Ends a request for approval about which no one decided. Scheduled by the request for its last moment. */
export const expire = internalMutation({
  args: { id: v.id("approvals") },
  returns: v.null(),
  handler: async (ctx, { id }): Promise<null> => {
    await expireApproval(ctx, id)
    return null
  }
})
