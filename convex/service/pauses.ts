import { v } from "convex/values"
import { serviceMutation } from "../model/access/serviceFunctions.ts"
import { agentByIdOrSlug } from "../model/agents/agents.ts"
import { operator } from "../model/notifications/deadLetters.ts"
import { pause as pauseIt, resume as resumeIt } from "../model/queue/pausing.ts"

/**
 * Pauses an agent (its slug or id), or the account if none is named. `release` aborts running turns and releases their
 * work. For operators with a runtime's token. Reads the same as app/agents:pause and app/runtimes:pause.
 */
export const pause = serviceMutation({
  args: { agent: v.optional(v.string()), release: v.optional(v.boolean()) },
  returns: v.null(),
  handler: async (ctx, { agent, release = false }): Promise<null> => {
    const paused = agent === undefined ? null : await agentByIdOrSlug(ctx, ctx.accountId, agent)
    await pauseIt(ctx, ctx.accountId, paused, { actor: operator, release })
    return null
  }
})

/**
 * Ends the pause of an agent or the account. For operators with a runtime's token. Reads the same as app/agents:resume
 * and app/runtimes:resume.
 */
export const resume = serviceMutation({
  args: { agent: v.optional(v.string()) },
  returns: v.null(),
  handler: async (ctx, { agent }): Promise<null> => {
    await resumeIt(
      ctx,
      ctx.accountId,
      agent === undefined ? null : await agentByIdOrSlug(ctx, ctx.accountId, agent),
      operator
    )
    return null
  }
})
