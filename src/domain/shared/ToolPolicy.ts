/** The tools that change data, which a policy can restrict. Tools that only read are always allowed. */
export const policedTools = [
  "task_status",
  "task_update",
  "task_create",
  "document_upsert",
  "response_request",
  "task_delete",
  "task_message",
  "task_assign",
  "task_link_pr"
] as const
export type PolicedTool = (typeof policedTools)[number]

/** What a policy does with a call: execute it, ask a person first, or refuse it. The last one is the strictest. */
export const policyEffects = ["allow", "ask", "deny"] as const
export type PolicyEffect = (typeof policyEffects)[number]

/** By argument: the values that a condition can require, and the tools that have the argument. */
const conditions: Readonly<
  Record<string, { readonly values: ReadonlyArray<string>; readonly tools: ReadonlyArray<PolicedTool> }>
> = {
  status: {
    values: ["inbox", "assigned", "in_progress", "review", "done", "blocked"],
    tools: ["task_status", "task_update", "task_create"]
  },
  priority: { values: ["1", "2", "3", "4", "5"], tools: ["task_update", "task_create"] },
  /** The call names an agent that is not assigned to the task. */
  assignee: { values: ["outside"], tools: ["task_assign", "task_update", "task_create"] }
}

/** Why a policy for the tool cannot have this condition, such as `status=done`; null if it can. */
export const conditionProblem = (tool: PolicedTool, when: string): string | null => {
  const [argument = "", value = ""] = when.split("=", 2)
  const known = Object.hasOwn(conditions, argument) ? conditions[argument] : undefined
  if (known === undefined || !known.values.includes(value)) {
    const forms = Object.entries(conditions).map(([name, { values }]) => `${name}=${values.join("|")}`)
    return `There is no such condition. Use one of: ${forms.join(", ")}.`
  }
  return known.tools.includes(tool)
    ? null
    : `${tool} has no argument ${argument}. This condition is possible for ${known.tools.join(", ")}.`
}

/** A policy for calls of one tool. Without an agent and a role it applies to every agent of the account. */
export interface ToolPolicy {
  readonly tool: PolicedTool
  readonly effect: PolicyEffect
  readonly agentId?: string | undefined
  /** The role of agents, compared without regard to case. */
  readonly role?: string | undefined
  /** A condition on the arguments, such as `status=done`. */
  readonly when?: string | undefined
}

/** The parts of a call that policies judge. An absent argument fulfils no condition. */
export interface PolicedCall {
  readonly tool: PolicedTool
  readonly agentId: string
  readonly role: string
  readonly status?: string | undefined
  readonly priority?: number | undefined
  /** The call names an agent that is not assigned to the task. */
  readonly hasOutsideAssignee?: boolean | undefined
}

const roleKey = (role: string): string => role.trim().toLowerCase()

const isMet = (when: string, call: PolicedCall): boolean => {
  const [argument, value] = when.split("=", 2)
  switch (argument) {
    case "status":
      return call.status === value
    case "priority":
      return call.priority !== undefined && String(call.priority) === value
    case "assignee":
      return call.hasOutsideAssignee === true
    default:
      return false
  }
}

const applies = ({ agentId, role, tool, when }: ToolPolicy, call: PolicedCall): boolean =>
  tool === call.tool &&
  (agentId === undefined || agentId === call.agentId) &&
  (role === undefined || roleKey(role) === roleKey(call.role)) &&
  (when === undefined || isMet(when, call))

/** The agent before its role before the account, then a condition before none, then the strictest. */
const rank = ({ agentId, effect, role, when }: ToolPolicy): number =>
  (agentId !== undefined ? 20 : role !== undefined ? 10 : 0) +
  (when === undefined ? 0 : 5) +
  policyEffects.indexOf(effect)

/** What happens with a call, and the policy that decides it; null if no policy applies. */
export interface PolicyVerdict<Policy> {
  readonly effect: PolicyEffect
  readonly policy: Policy | null
}

/**
 * The most specific policy that applies decides: one for the agent before one for its role before one for the account;
 * among these one with a condition before one without; among several conditions the strictest. Without one the call is
 * allowed.
 */
export const judgeCall = <Policy extends ToolPolicy>(
  policies: ReadonlyArray<Policy>,
  call: PolicedCall
): PolicyVerdict<Policy> => {
  const [first] = policies.filter((policy) => applies(policy, call)).toSorted((left, right) => rank(right) - rank(left))
  return first === undefined ? { effect: "allow", policy: null } : { effect: first.effect, policy: first }
}
