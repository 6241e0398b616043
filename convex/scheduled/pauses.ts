import { v } from "convex/values"
import { internalMutation } from "../_generated/server.js"
import { holdSessions, requeueSessions } from "../model/queue/pausing.ts"

/** Removes the next sessions of a paused agent from the order of claims. Scheduled by its pause, and reschedules itself. */
export const hold = internalMutation({
  args: { agentId: v.id("agents") },
  returns: v.null(),
  handler: async (ctx, { agentId }): Promise<null> => {
    await holdSessions(ctx, agentId)
    return null
  }
})

/** Returns the next sessions of a resumed agent to the order of claims. Scheduled by its resumption, and reschedules itself. */
export const offer = internalMutation({
  args: { agentId: v.id("agents"), after: v.number() },
  returns: v.null(),
  handler: async (ctx, { after, agentId }): Promise<null> => {
    await requeueSessions(ctx, agentId, after)
    return null
  }
})
