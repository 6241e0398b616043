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

/** The flags of an agent for which neither its account nor its own settings set any. */
export const defaultAgentFlags: AgentFlags = {
  canCreateTasks: false,
  canModifyTaskStatus: true,
  canCreateDocuments: true,
  canMentionAgents: true,
  canReviewTasks: false,
  canMarkDone: false
}

/** An agent's flags: its own, otherwise the account's, otherwise the defaults. */
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
