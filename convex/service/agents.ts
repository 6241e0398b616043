import { v } from "convex/values"
import { accountOf, activeAgents, flagsOf, flagSet, toAgentRef } from "../model/agents.ts"
import { serviceQuery } from "../model/serviceFunctions.ts"

/**
 * The roster with effective flags, and its revision. For runtimes, subscribed; the account and one row per agent are
 * read, and no presence or heartbeat row.
 */
export const list = serviceQuery({
  args: {},
  returns: v.object({
    revision: v.number(),
    agents: v.array(
      v.object({
        id: v.string(),
        slug: v.string(),
        name: v.string(),
        role: v.string(),
        isOrchestrator: v.boolean(),
        flags: flagSet,
        heartbeat: v.union(v.number(), v.string()),
        model: v.union(v.string(), v.null())
      })
    )
  }),
  handler: async (ctx) => {
    const account = await accountOf(ctx, ctx.accountId)
    const agents = await activeAgents(ctx, ctx.accountId)
    return {
      revision: account.rosterRevision,
      agents: agents.map((agent) => ({
        ...toAgentRef(agent),
        role: agent.role,
        isOrchestrator: agent.isOrchestrator,
        flags: flagsOf(account, agent),
        heartbeat: agent.heartbeat,
        model: agent.model
      }))
    }
  }
})
