import { v } from "convex/values"
import { internal } from "../_generated/api.js"
import { internalMutation } from "../_generated/server.js"
import { continueRemoval, removal } from "../model/agents/roster.ts"
import { endSubscriptions } from "../model/tasks/subscriptions.ts"

/** The next batch of an agent's removal. Scheduled by app/agents:remove, and reschedules itself. */
export const agent = internalMutation({
  args: removal.fields,
  returns: v.null(),
  handler: async (ctx, args): Promise<null> => {
    await continueRemoval(ctx, args)
    return null
  }
})

/** Deletes the next 200 subscriptions of a removed member. Scheduled by app/members:remove, and reschedules itself. */
export const member = internalMutation({
  args: { memberId: v.id("members") },
  returns: v.null(),
  handler: async (ctx, { memberId }): Promise<null> => {
    if (await endSubscriptions(ctx, { memberId })) {
      await ctx.scheduler.runAfter(0, internal.scheduled.removals.member, { memberId })
    }
    return null
  }
})
