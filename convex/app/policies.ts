import { v } from "convex/values"
import { managerMutation, memberQuery } from "../model/access/personFunctions.ts"
import { refusal } from "../model/access/refusal.ts"
import { recordActivity } from "../model/accounts/activities.ts"
import { accountOf, agentOf } from "../model/agents/agents.ts"
import { describePolicy, setPolicy } from "../model/approvals/policies.ts"
import { policedTool, policyEffect, toolPolicy } from "../tables/approvals.ts"

/**
 * Sets what happens when an agent, the agents of a role, or any agent of the account calls a tool that changes data.
 * Replaces the policy for the same calls. For owners and admins. Reads the account, and the agent if one is named.
 */
export const set = managerMutation({
  args: {
    tool: policedTool,
    effect: policyEffect,
    agentId: v.optional(v.string()),
    role: v.optional(v.string()),
    when: v.optional(v.string())
  },
  returns: v.object({ id: v.string() }),
  handler: async (ctx, { agentId, effect, role, tool, when }) => {
    const agent = agentId === undefined ? null : await agentOf(ctx, ctx.accountId, agentId)
    return { id: await setPolicy(ctx, ctx.accountId, { tool, effect, agent, role, when }, ctx.actor) }
  }
})

/**
 * Removes a policy. Requests for approval that it caused stay open. For owners and admins. Reads the account and the
 * policy's agent.
 */
export const remove = managerMutation({
  args: { id: v.string() },
  returns: v.null(),
  handler: async (ctx, { id }) => {
    const { toolPolicies = [] } = await accountOf(ctx, ctx.accountId)
    const policy = toolPolicies.find((each) => each.id === id)
    if (policy === undefined) {
      throw refusal("not_found", "The account has no policy with this id. List its policies.")
    }
    await ctx.db.patch("accounts", ctx.accountId, { toolPolicies: toolPolicies.filter((each) => each !== policy) })
    const agent = policy.agentId === undefined ? null : await ctx.db.get("agents", policy.agentId)
    const summary = `policy removed: ${describePolicy(policy, agent?.slug ?? null)}`
    await recordActivity(ctx, { accountId: ctx.accountId, type: "policy_removed", actor: ctx.actor, summary })
    return null
  }
})

/** The account's policies for tools. For members. Reads the account, and one row per policy for an agent. */
export const list = memberQuery({
  args: {},
  returns: v.array(v.object({ ...toolPolicy.fields, agentSlug: v.union(v.string(), v.null()) })),
  handler: async (ctx) => {
    const { toolPolicies = [] } = await accountOf(ctx, ctx.accountId)
    const views = []
    for (const policy of toolPolicies) {
      const agent = policy.agentId === undefined ? null : await ctx.db.get("agents", policy.agentId)
      views.push({ ...policy, agentSlug: agent?.slug ?? null })
    }
    return views
  }
})
