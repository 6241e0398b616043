import { type Infer, v } from "convex/values"
import type { Doc } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { flagSettings, role, sessionScope } from "../../tables/accounts.ts"
import { activeAgents } from "../agents/agents.ts"
import { budgetReport, budgetReportOf } from "../budgets/budgetReport.ts"
import { deadLetter, listDeadLetters } from "../notifications/deadLetters.ts"
import { pausesOf } from "../queue/pauses.ts"
import { lastCommand, lastCommandOf } from "../runtimes/commands.ts"
import { fleetAccount, summaryOf } from "./fleetAccounts.ts"

const maxMembers = 50
const maxTokens = 50
const maxWebhooks = 50
const maxListed = 10

/** One account with everything that an operator looks for. */
export const accountDetails = v.object({
  account: fleetAccount,
  settings: v.object({ timeZone: v.string(), sessionScope, agentFlags: flagSettings, policies: v.number() }),
  commands: v.array(v.object({ runtimeId: v.string(), lastCommand })),
  agents: v.array(
    v.object({
      slug: v.string(),
      name: v.string(),
      role: v.string(),
      model: v.union(v.string(), v.null()),
      heartbeat: v.union(v.number(), v.string()),
      isPaused: v.boolean()
    })
  ),
  members: v.array(v.object({ name: v.string(), role, tokenIdentifier: v.string() })),
  /** Those that are not revoked. */
  tokens: v.array(v.object({ label: v.string(), createdAt: v.number() })),
  webhooks: v.object({ count: v.number(), disabled: v.number(), failing: v.number() }),
  ...budgetReport.fields,
  /** The latest ten. */
  deadLetters: v.array(deadLetter),
  activities: v.array(v.object({ at: v.number(), by: v.string(), type: v.string(), summary: v.string() }))
})

/**
 * One account in detail. Reads what a list reads of it, the roster, at most fifty members, tokens and webhooks, the
 * budgets with the latest sums of their agents, and ten dead letters and activities.
 */
export const detailsOf = async (
  ctx: Pick<QueryCtx, "db">,
  account: Doc<"accounts">
): Promise<Infer<typeof accountDetails>> => {
  const now = Date.now()
  const { _id: accountId, agentFlags, sessionScope, timeZone, toolPolicies = [] } = account
  const { view } = await summaryOf(ctx, account, now)
  const commands = []
  for (const { runtimeId } of view.runtimes) {
    commands.push({ runtimeId, lastCommand: await lastCommandOf(ctx, accountId, runtimeId) })
  }
  const { agentIds: paused } = await pausesOf(ctx, accountId)
  const agents = (await activeAgents(ctx, accountId)).map(({ _id, heartbeat, model, name, role, slug }) => {
    return { slug, name, role, model, heartbeat, isPaused: paused.has(_id) }
  })
  const members = await ctx.db
    .query("members")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .take(maxMembers)
  const tokens = await ctx.db
    .query("serviceTokens")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .order("desc")
    .take(maxTokens)
  const webhooks = await ctx.db
    .query("webhooks")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .take(maxWebhooks)
  const activities = await ctx.db
    .query("activities")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .order("desc")
    .take(maxListed)
  return {
    account: view,
    settings: { timeZone, sessionScope, agentFlags, policies: toolPolicies.length },
    commands,
    agents,
    members: members.map(({ name, role, tokenIdentifier }) => ({ name, role, tokenIdentifier })),
    tokens: tokens
      .filter(({ revokedAt }) => revokedAt === undefined)
      .map(({ _creationTime, label }) => ({ label, createdAt: _creationTime })),
    webhooks: {
      count: webhooks.length,
      disabled: webhooks.filter(({ disabled }) => disabled !== undefined).length,
      failing: webhooks.filter(({ failingSince }) => failingSince !== undefined).length
    },
    ...(await budgetReportOf(ctx, accountId, now)),
    deadLetters: await listDeadLetters(ctx, accountId, maxListed),
    activities: activities.map(({ _creationTime, actor, summary, type }) => {
      return { at: _creationTime, by: actor.name, type, summary }
    })
  }
}
