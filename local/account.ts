import type { Person } from "./person.ts"

/** An account with a team, made through the functions that people use. */
export type Account = {
  readonly accountId: string
  readonly serviceToken: string
  /** Agent ids by slug. */
  readonly agents: Readonly<Record<string, string>>
}

/** An agent to create; its other settings are the defaults. */
export type NewAgent = {
  readonly slug: string
  readonly name: string
  readonly role: string
  readonly isOrchestrator?: boolean
  readonly flags?: Record<string, boolean>
  /** Minutes between heartbeats, or a cron expression. */
  readonly heartbeat?: number | string
}

/** The team of the demo: one plans, one works, one reviews. */
export const demoTeam: ReadonlyArray<NewAgent> = [
  { slug: "squad-lead", name: "Squad Lead", role: "plans, assigns and follows up", isOrchestrator: true },
  { slug: "engineer", name: "Engineer", role: "builds and fixes" },
  { slug: "qa", name: "QA", role: "tests and reviews", flags: { canReviewTasks: true } }
]

/** Creates an account with a service token and the team. */
export const makeAccount = async (
  person: Person,
  team: ReadonlyArray<NewAgent> = demoTeam,
  name = "Acme"
): Promise<Account> => {
  const { accountId } = await person.mutation("app/accounts:create", { name })
  const { serviceToken } = await person.mutation("app/tokens:provision", { accountId, label: "runtime" })
  const agents: Record<string, string> = {}
  for (const { flags, isOrchestrator, ...agent } of team) {
    const made = await person.mutation("app/agents:create", {
      accountId,
      ...agent,
      ...(isOrchestrator === undefined ? {} : { isOrchestrator }),
      ...(flags === undefined ? {} : { flags })
    })
    agents[agent.slug] = made.agentId
  }
  return { accountId, serviceToken, agents }
}

/** The runtime's environment for this account; `more` overrides it. */
export const runtimeEnv = (
  account: Account,
  planeUrl: string,
  gateway: { readonly url: string; readonly token?: string },
  more: Readonly<Record<string, string>> = {}
): Record<string, string> => ({
  ACCOUNT_ID: account.accountId,
  CONVEX_URL: planeUrl,
  SERVICE_TOKEN: account.serviceToken,
  OPENCLAW_GATEWAY_URL: gateway.url,
  ...(gateway.token === undefined ? {} : { OPENCLAW_GATEWAY_TOKEN: gateway.token }),
  LOG_FORMAT: "json",
  // Demonstrations and tests do not wait a minute for updates between agents.
  QUIET_TIME: "0",
  ...more
})
