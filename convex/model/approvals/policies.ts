import type { Infer } from "convex/values"
import { conditionProblem, type ToolPolicy } from "../../../src/domain/shared/ToolPolicy.ts"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"
import type { policedTool, policyEffect, StoredPolicy } from "../../tables/approvals.ts"
import { refusal } from "../access/refusal.ts"
import { recordActivity } from "../accounts/activities.ts"
import { accountOf } from "../agents/agents.ts"
import { randomHex } from "../database/randomHex.ts"

const maxPolicies = 100
const maxRole = 200

/** `task_delete: ask, for lead, with status=done` */
export const describePolicy = ({ agentId, effect, role, tool, when }: ToolPolicy, agentSlug: string | null): string => {
  const whom = agentId !== undefined ? `for ${agentSlug ?? "an agent"}` : role === undefined ? null : `for role ${role}`
  return [`${tool}: ${effect}`, whom, when === undefined ? null : `with ${when}`].filter(Boolean).join(", ")
}

/** Whether the two policies decide about the same calls. */
const isAbout = (left: ToolPolicy, right: ToolPolicy): boolean =>
  left.tool === right.tool &&
  left.agentId === right.agentId &&
  left.role?.toLowerCase() === right.role?.toLowerCase() &&
  left.when === right.when

/** What happens when an agent, the agents of a role, or any agent of the account calls a tool. */
export interface NewPolicy {
  readonly tool: Infer<typeof policedTool>
  readonly effect: Infer<typeof policyEffect>
  readonly agent: Doc<"agents"> | null
  readonly role: string | undefined
  readonly when: string | undefined
}

/** The policy as it is stored, without an id. Fails with `invalid` or `not_found`. */
const policyOf = ({ agent, effect, tool, ...given }: NewPolicy): Omit<StoredPolicy, "id"> => {
  const role = given.role?.trim()
  const when = given.when?.replaceAll(/\s/g, "").toLowerCase()
  if (agent !== null && role !== undefined) {
    throw refusal("invalid", "A policy applies to an agent or to a role. Set two policies for both.")
  }
  if (role === "" || (role?.length ?? 0) > maxRole) {
    throw refusal("invalid", `A role has 1 to ${maxRole} characters. Copy it from the list of agents.`)
  }
  const problem = when === undefined ? null : conditionProblem(tool, when)
  if (problem !== null) throw refusal("invalid", problem)
  if (agent?.removedAt !== undefined) throw refusal("not_found", "The agent was removed. Name one of the roster.")
  return {
    tool,
    effect,
    ...(agent === null ? {} : { agentId: agent._id }),
    ...(role === undefined ? {} : { role }),
    ...(when === undefined ? {} : { when })
  }
}

/** Whether the account has this policy. */
export const hasPolicy = (policies: ReadonlyArray<StoredPolicy>, given: NewPolicy): boolean => {
  const policy = policyOf(given)
  return policies.some((each) => isAbout(each, policy) && each.effect === policy.effect)
}

/** Sets a policy. Replaces the policy for the same calls. Returns its id. Reads the account. */
export const setPolicy = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  given: NewPolicy,
  actor: Actor
): Promise<string> => {
  const policy = policyOf(given)
  const { toolPolicies = [] } = await accountOf(ctx, accountId)
  const found = toolPolicies.find((each) => isAbout(each, policy))
  if (found === undefined && toolPolicies.length >= maxPolicies) {
    throw refusal("limit", `An account has at most ${maxPolicies} policies. Remove one first.`)
  }
  const stored: StoredPolicy = { ...policy, id: found?.id ?? randomHex(8) }
  const others = toolPolicies.filter(({ id }) => id !== stored.id)
  await ctx.db.patch("accounts", accountId, { toolPolicies: [...others, stored] })
  const summary = `policy set: ${describePolicy(stored, given.agent?.slug ?? null)}`
  await recordActivity(ctx, { accountId, type: "policy_set", actor, summary })
  return stored.id
}
