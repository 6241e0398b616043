import { v } from "convex/values"
import { internalMutation } from "../_generated/server.js"
import { continueDeletion } from "../model/fleet/accountDeletion.ts"

/** The next batch of an account's deletion. Scheduled by operator/accounts:remove, and reschedules itself. */
export const account = internalMutation({
  args: { accountId: v.id("accounts") },
  returns: v.null(),
  handler: async (ctx, { accountId }): Promise<null> => {
    await continueDeletion(ctx, accountId)
    return null
  }
})
