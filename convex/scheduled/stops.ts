import { v } from "convex/values"
import { internalMutation } from "../_generated/server.js"
import { continueStop as next } from "../model/runs/stops.ts"

/** Ends the next batch of an agent's or a task's runs. Scheduled by the stop, and reschedules itself. */
export const continueStop = internalMutation({
  args: { id: v.id("stops") },
  returns: v.null(),
  handler: async (ctx, { id }): Promise<null> => {
    await next(ctx, id)
    return null
  }
})
