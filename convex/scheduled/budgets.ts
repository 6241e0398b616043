import { v } from "convex/values"
import { internal } from "../_generated/api.js"
import { internalMutation } from "../_generated/server.js"
import { releaseHeld } from "../model/budgets/heldNotifications.ts"

/**
 * Makes the next hundred notifications that waited for a budget ready again, so that claims check them again. Scheduled
 * when the budget is set or removed, and reschedules itself while there are more. Reads them and their sessions.
 */
export const resume = internalMutation({
  args: { budgetId: v.id("budgets") },
  returns: v.null(),
  handler: async (ctx, { budgetId }): Promise<null> => {
    if (await releaseHeld(ctx, budgetId))
      await ctx.scheduler.runAfter(0, internal.scheduled.budgets.resume, { budgetId })
    return null
  }
})
