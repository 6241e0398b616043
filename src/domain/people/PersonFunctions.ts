import type { api } from "../../../convex/_generated/api.js"

type Api = (typeof api)["app"]

/**
 * The path of a function that the deployment offers to people; only types are imported, so no code of convex/ is
 * loaded.
 */
type AppPath = { [Module in keyof Api & string]: `app/${Module}:${keyof Api[Module] & string}` }[keyof Api & string]

type ReferenceOf<Path> = Path extends `app/${infer Module extends keyof Api & string}:${infer Name}`
  ? Api[Module][Name & keyof Api[Module]]
  : never

/** The functions that the commands for people call; the only list of their paths. */
export const personFunctions = {
  createAccount: "app/accounts:create",
  accounts: "app/accounts:list",
  agents: "app/agents:list",
  createAgent: "app/agents:create",
  pauseAgent: "app/agents:pause",
  resumeAgent: "app/agents:resume",
  removeAgent: "app/agents:remove",
  tasks: "app/tasks:list",
  createTask: "app/tasks:create",
  assignTask: "app/tasks:assign",
  moveTask: "app/tasks:setStatus",
  post: "app/messages:post",
  thread: "app/messages:list",
  notifications: "app/notifications:list",
  deadLetters: "app/notifications:deadLetters",
  retryDeadLetter: "app/notifications:retry",
  discardDeadLetter: "app/notifications:discard",
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
} as const satisfies Record<string, AppPath>

export type PersonPath = (typeof personFunctions)[keyof typeof personFunctions]

type PathOfKind<Kind> = {
  [Path in PersonPath]: ReferenceOf<Path> extends { readonly _type: Kind } ? Path : never
}[PersonPath]

export type PersonQuery = PathOfKind<"query">
export type PersonMutation = PathOfKind<"mutation">

/** The arguments of a function, without the account that the client adds. */
export type PersonArguments<Path extends PersonPath> = Omit<ReferenceOf<Path>["_args"], "accountId">

/** The answer of a function. */
export type PersonAnswer<Path extends PersonPath> = ReferenceOf<Path>["_returnType"]

/** Functions whose caller need not be a member of an account yet. */
export const withoutAccount: ReadonlySet<PersonPath> = new Set([
  personFunctions.createAccount,
  personFunctions.accounts
])
