import type { OfKind, PathIn } from "../controlPlane/ConvexFunctions.ts"

/** The functions that the commands for people call; the only list of their paths. */
export const personFunctions = {
  createAccount: "app/accounts:create",
  accounts: "app/accounts:list",
  agents: "app/agents:list",
  createAgent: "app/agents:create",
  watch: "app/agents:watch",
  pauseAgent: "app/agents:pause",
  resumeAgent: "app/agents:resume",
  removeAgent: "app/agents:remove",
  tasks: "app/tasks:list",
  task: "app/tasks:get",
  createTask: "app/tasks:create",
  assignTask: "app/tasks:assign",
  moveTask: "app/tasks:setStatus",
  post: "app/messages:post",
  thread: "app/messages:list",
  inbox: "app/notifications:inbox",
  markRead: "app/notifications:markRead",
  runs: "app/runs:list",
  runningTurns: "app/runs:running",
  run: "app/runs:get",
  stopRuns: "app/runs:stop",
  runAgain: "app/runs:again",
  deadLetters: "app/notifications:deadLetters",
  retryDeadLetter: "app/notifications:retry",
  discardDeadLetter: "app/notifications:discard",
  usageReport: "app/usage:report",
  approvals: "app/approvals:list",
  approval: "app/approvals:show",
  approve: "app/approvals:approve",
  deny: "app/approvals:deny",
  policies: "app/policies:list",
  setPolicy: "app/policies:set",
  removePolicy: "app/policies:remove",
  provisionToken: "app/tokens:provision",
  revokeToken: "app/tokens:revoke",
  tokens: "app/tokens:list",
  webhooks: "app/webhooks:list",
  addWebhook: "app/webhooks:add",
  testWebhook: "app/webhooks:test",
  enableWebhook: "app/webhooks:enable",
  removeWebhook: "app/webhooks:remove",
  webhookHistory: "app/webhooks:history",
  resendDelivery: "app/webhooks:resend"
} as const satisfies Record<string, PathIn<"app">>

export type PersonPath = (typeof personFunctions)[keyof typeof personFunctions]
export type PersonQuery = OfKind<"query", PersonPath>
export type PersonMutation = OfKind<"mutation", PersonPath>

/** Functions whose caller need not be a member of an account yet. */
export const withoutAccount: ReadonlySet<PersonPath> = new Set([
  personFunctions.createAccount,
  personFunctions.accounts
])
