/** What an agent may do, each flag resolved. */
export interface AgentFlags {
  readonly canCreateTasks: boolean
  readonly canModifyTaskStatus: boolean
  readonly canCreateDocuments: boolean
  readonly canMentionAgents: boolean
  readonly canReviewTasks: boolean
  readonly canMarkDone: boolean
}

/** The names of all flags, in the order in which people read them. */
export const agentFlagNames = [
  "canCreateTasks",
  "canModifyTaskStatus",
  "canCreateDocuments",
  "canMentionAgents",
  "canReviewTasks",
  "canMarkDone"
] as const satisfies ReadonlyArray<keyof AgentFlags>

/** What an agent may do when neither its account nor the agent itself says anything. */
export const defaultAgentFlags: AgentFlags = {
  canCreateTasks: false,
  canModifyTaskStatus: true,
  canCreateDocuments: true,
  canMentionAgents: true,
  canReviewTasks: false,
  canMarkDone: false
}

/** The flags that hold for an agent: the defaults, overridden by the account's, overridden by its own. */
export const effectiveFlags = (
  account: Partial<AgentFlags> | undefined,
  agent: Partial<AgentFlags> | undefined
): AgentFlags => {
  const flag = (name: keyof AgentFlags): boolean => agent?.[name] ?? account?.[name] ?? defaultAgentFlags[name]
  return {
    canCreateTasks: flag("canCreateTasks"),
    canModifyTaskStatus: flag("canModifyTaskStatus"),
    canCreateDocuments: flag("canCreateDocuments"),
    canMentionAgents: flag("canMentionAgents"),
    canReviewTasks: flag("canReviewTasks"),
    canMarkDone: flag("canMarkDone")
  }
}
