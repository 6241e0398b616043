import { v } from "convex/values"
import { internalMutation } from "../_generated/server.js"
import { stepRollout } from "../model/fleet/rolloutSteps.ts"

/**
 * The next step of a rollout, for the accounts after that position. Scheduled by the operator's request, and
 * reschedules itself until the rollout ends or stops.
 */
export const step = internalMutation({
  args: { id: v.id("rollouts"), step: v.number(), after: v.number() },
  returns: v.null(),
  handler: async (ctx, args): Promise<null> => {
    await stepRollout(ctx, args)
    return null
  }
})
