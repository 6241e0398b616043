import { v } from "convex/values"
import { conditionProblem, type ToolPolicy } from "../../src/domain/shared/ToolPolicy.ts"
import { managerMutation, memberQuery } from "../model/access/personFunctions.ts"
import { refusal } from "../model/access/refusal.ts"
import { recordActivity } from "../model/accounts/activities.ts"
import { accountOf, agentOf } from "../model/agents/agents.ts"
import { randomHex } from "../model/database/randomHex.ts"
import { policedTool, policyEffect, type StoredPolicy, toolPolicy } from "../tables/approvals.ts"

const maxPolicies = 100
const maxRole = 200

/** `task_delete: ask, for lead, with status=done` */
const describe = ({ agentId, effect, role, tool, when }: ToolPolicy, agentSlug: string | null): string => {
  const whom = agentId !== undefined ? `for ${agentSlug ?? "an agent"}` : role === undefined ? null : `for role ${role}`
  return [`${tool}: ${effect}`, whom, when === undefined ? null : `with ${when}`].filter(Boolean).join(", ")
}

/** Whether the two policies decide about the same calls. */
const isAbout = (left: ToolPolicy, right: ToolPolicy): boolean =>
  left.tool === right.tool &&
  left.agentId === right.agentId &&
  left.role?.toLowerCase() === right.role?.toLowerCase() &&
  left.when === right.when

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
  handler: async (ctx, { agentId, effect, tool, ...given }) => {
    const role = given.role?.trim()
    const when = given.when?.replaceAll(/\s/g, "").toLowerCase()
    if (agentId !== undefined && role !== undefined) {
      throw refusal("invalid", "A policy applies to an agent or to a role. Set two policies for both.")
    }
    if (role === "" || (role?.length ?? 0) > maxRole) {
      throw refusal("invalid", `A role has 1 to ${maxRole} characters. Copy it from the list of agents.`)
    }
    const problem = when === undefined ? null : conditionProblem(tool, when)
    if (problem !== null) throw refusal("invalid", problem)
    const agent = agentId === undefined ? null : await agentOf(ctx, ctx.accountId, agentId)
    if (agent?.removedAt !== undefined) throw refusal("not_found", "The agent was removed. Name one of the roster.")
    const policy = {
      tool,
      effect,
      ...(agent === null ? {} : { agentId: agent._id }),
      ...(role === undefined ? {} : { role }),
      ...(when === undefined ? {} : { when })
    }
    const { toolPolicies = [] } = await accountOf(ctx, ctx.accountId)
    const found = toolPolicies.find((each) => isAbout(each, policy))
    if (found === undefined && toolPolicies.length >= maxPolicies) {
      throw refusal("limit", `An account has at most ${maxPolicies} policies. Remove one first.`)
    }
    const stored: StoredPolicy = { ...policy, id: found?.id ?? randomHex(8) }
    const others = toolPolicies.filter(({ id }) => id !== stored.id)
    await ctx.db.patch("accounts", ctx.accountId, { toolPolicies: [...others, stored] })
    const summary = `policy set: ${describe(stored, agent?.slug ?? null)}`
    await recordActivity(ctx, { accountId: ctx.accountId, type: "policy_set", actor: ctx.actor, summary })
    return { id: stored.id }
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
    const summary = `policy removed: ${describe(policy, agent?.slug ?? null)}`
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
