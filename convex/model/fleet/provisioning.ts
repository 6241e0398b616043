import { ConvexError } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"
import { refusal, type RefusalCode } from "../access/refusal.ts"
import { provisionToken } from "../access/tokens.ts"
import { type AccountSettings, configureAccount, insertAccount } from "../accounts/accounts.ts"
import { recordActivity } from "../accounts/activities.ts"
import { memberOf, putMember } from "../accounts/members.ts"
import { accountOf, agentBySlug, textsOf } from "../agents/agents.ts"
import { addAgent, changeAgent } from "../agents/roster.ts"
import { hasPolicy, setPolicy } from "../approvals/policies.ts"
import { sameBudget, setBudget } from "../budgets/budgetSetting.ts"
import { budgetsOf } from "../budgets/spendingBook.ts"
import { canonical } from "../runs/effects.ts"
import { type AccountFile, checkFile } from "./accountFile.ts"
import { fleetAccountOf } from "./fleetAccounts.ts"

/** What a provisioning changed, one sentence each, and the text of a token that it created. */
export interface Provisioned {
  readonly accountId: Id<"accounts">
  readonly changes: Array<string>
  readonly serviceToken: string | null
}

interface Work {
  readonly ctx: MutationCtx
  readonly accountId: Id<"accounts">
  readonly actor: Actor
  readonly changes: Array<string>
}

const shown = (value: unknown): string => {
  const text = JSON.stringify(value)
  return text.length > 60 ? `${text.slice(0, 59)}…` : text
}

/** The given fields whose values differ from the current ones. */
const differences = <Fields extends object>(given: Fields, current: object): Partial<Fields> =>
  Object.fromEntries(
    Object.entries(given).filter(
      ([name, value]) =>
        value !== undefined && canonical(value) !== canonical((current as Record<string, unknown>)[name] ?? null)
    )
  ) as Partial<Fields>

/** `name, model` or `timeZone "UTC" -> "Europe/Berlin"` if both are short. */
const described = (changed: object, current: object): string =>
  Object.entries(changed)
    .map(([name, value]) => `${name} ${shown((current as Record<string, unknown>)[name] ?? null)} -> ${shown(value)}`)
    .join(", ")

/** The account of the file; creates it if there is none, and gives the key to one that people created. */
const accountFor = async (ctx: MutationCtx, file: AccountFile, actor: Actor, changes: Array<string>) => {
  const { accountId, key, name } = file
  const keyed = await ctx.db
    .query("accounts")
    .withIndex("by_key", (q) => q.eq("key", key))
    .unique()
  const named = accountId === undefined ? null : await fleetAccountOf(ctx, accountId)
  if (named !== null && (named.key ?? key) !== key) {
    throw refusal("conflict", "The account of accountId has another key. Use that key, or leave accountId out.")
  }
  if (keyed !== null && named !== null && keyed._id !== named._id) {
    throw refusal("conflict", "Another account has this key. Choose another key for the account of accountId.")
  }
  const found = keyed ?? named
  if (found?.deletion !== undefined) {
    throw refusal("conflict", "The account is being deleted. Wait until the list of accounts no longer shows it.")
  }
  if (found !== null) {
    if (found.key !== undefined) return found
    await ctx.db.patch("accounts", found._id, { key })
    changes.push(`give the account ${shown(found.name)} the key ${key}`)
    const summary = `the account has the key ${key}`
    await recordActivity(ctx, { accountId: found._id, type: "account_configured", actor, summary })
    return accountOf(ctx, found._id)
  }
  const created = await insertAccount(ctx, name, key)
  changes.push(`create the account ${shown(name)} with the key ${key}`)
  await recordActivity(ctx, { accountId: created, type: "account_created", actor, summary: "account created" })
  return accountOf(ctx, created)
}

const provisionSettings = async ({ actor, changes, ctx }: Work, account: Doc<"accounts">, file: AccountFile) => {
  const { agentFlags, briefing, name, prices, sessionScope, timeZone } = file
  const given = { name: name.trim(), briefing, prices, sessionScope, timeZone }
  const flags = differences(agentFlags ?? {}, account.agentFlags)
  const changed: AccountSettings = {
    ...differences(given, account),
    ...(Object.keys(flags).length === 0 ? {} : { agentFlags: flags })
  }
  if (Object.keys(changed).length === 0) return
  changes.push(`change the account: ${described(changed, account)}`)
  await configureAccount(ctx, account, changed, actor)
}

/** Provisions the entries of a list in their order. A refusal of one names it. */
const eachOf = async <A>(
  list: "members" | "agents" | "budgets" | "policies",
  entries: ReadonlyArray<A> | undefined,
  provisionEntry: (entry: A) => Promise<void>
): Promise<void> => {
  for (const [index, entry] of (entries ?? []).entries()) {
    try {
      await provisionEntry(entry)
    } catch (error) {
      if (!(error instanceof ConvexError)) throw error
      const { code, message, ...details } = error.data as { code: RefusalCode; message: string }
      throw refusal(code, `${list}[${index}]: ${message}`, details)
    }
  }
}

const provisionMembers = async ({ accountId, actor, changes, ctx }: Work, members: AccountFile["members"]) => {
  await eachOf("members", members, async (member) => {
    const found = await memberOf(ctx, accountId, member.tokenIdentifier)
    const given = { name: member.name.trim(), role: member.role }
    const changed = differences(given, found ?? {})
    if (Object.keys(changed).length === 0) return
    changes.push(
      found === null
        ? `add the member ${shown(given.name)} as ${given.role}`
        : `change the member ${shown(given.name)}: ${described(changed, found)}`
    )
    await putMember(ctx, accountId, member, actor)
  })
  const owner = await ctx.db
    .query("members")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .take(1_000)
  if (owner.some(({ role }) => role === "owner")) return
  throw refusal("invalid", "The account has no owner. Give one of the members the role owner.")
}

const provisionAgents = async ({ accountId, actor, changes, ctx }: Work, agents: AccountFile["agents"]) => {
  await eachOf("agents", agents, async ({ slug, ...fields }) => {
    const found = await agentBySlug(ctx, accountId, slug)
    if (found === null) {
      changes.push(`add the agent ${slug}`)
      await addAgent(ctx, accountId, slug, fields, actor)
      return
    }
    const trimmed = {
      ...fields,
      name: fields.name.trim(),
      ...(fields.role === undefined ? {} : { role: fields.role.trim() }),
      ...(typeof fields.heartbeat === "string" ? { heartbeat: fields.heartbeat.trim() } : {})
    }
    const { identity, soul, userText } = await textsOf(ctx, found._id)
    const current = { ...found, identity, soul, userText }
    const changed = differences(trimmed, current)
    if (Object.keys(changed).length === 0) return
    changes.push(`change the agent ${slug}: ${described(changed, current)}`)
    await changeAgent(ctx, found, changed, actor)
  })
}

/** The agent that an entry of the file names; null if it names none. */
const namedAgent = async ({ accountId, ctx }: Work, slug: string | undefined) => {
  if (slug === undefined) return null
  const agent = await agentBySlug(ctx, accountId, slug)
  if (agent === null) {
    throw refusal("not_found", "agent is not the slug of an agent of the account. Correct it, or add it to agents.")
  }
  return agent
}

const provisionBudgets = async (work: Work, budgets: AccountFile["budgets"]) => {
  const { accountId, actor, changes, ctx } = work
  await eachOf("budgets", budgets, async ({ agent: slug, limit, period, unit }) => {
    const agent = await namedAgent(work, slug)
    const scope = agent === null ? {} : { agentId: agent._id }
    const found = sameBudget(await budgetsOf(ctx, accountId), { period, scope })
    if (found !== undefined && found.unit === unit && found.limit === limit) return
    changes.push(`set the ${period} budget of ${slug ?? "the account"} to ${limit} ${unit}`)
    await setBudget(ctx, accountId, { scope, period, unit, limit }, actor)
  })
}

const provisionPolicies = async (work: Work, policies: AccountFile["policies"]) => {
  const { accountId, actor, changes, ctx } = work
  await eachOf("policies", policies, async ({ agent: slug, effect, role, tool, when }) => {
    const agent = await namedAgent(work, slug)
    const policy = { tool, effect, agent, role, when }
    const { toolPolicies = [] } = await accountOf(ctx, accountId)
    if (hasPolicy(toolPolicies, policy)) return
    const whom = slug ?? role
    changes.push(`set the policy ${tool}: ${effect}${whom === undefined ? "" : ` for ${whom}`}`)
    await setPolicy(ctx, accountId, policy, actor)
  })
}

const provisionServiceToken = async (
  { accountId, actor, changes, ctx }: Work,
  token: AccountFile["serviceToken"]
): Promise<string | null> => {
  if (token === undefined) return null
  const tokens = await ctx.db
    .query("serviceTokens")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .order("desc")
    .take(200)
  if (tokens.some(({ label, revokedAt }) => label === token.label && revokedAt === undefined)) return null
  changes.push(`create the service token ${shown(token.label)}`)
  return (await provisionToken(ctx, accountId, token.label, actor)).serviceToken
}

/**
 * Makes an account agree with an operator's file: creates what is missing and changes what differs. A second call with
 * the same file changes nothing. Nothing is removed. Reads the account with its members, agents, budgets and tokens.
 */
export const provision = async (ctx: MutationCtx, file: AccountFile, actor: Actor): Promise<Provisioned> => {
  checkFile(file)
  const changes: Array<string> = []
  const account = await accountFor(ctx, file, actor, changes)
  const work: Work = { ctx, accountId: account._id, actor, changes }
  await provisionSettings(work, account, file)
  await provisionMembers(work, file.members)
  await provisionAgents(work, file.agents)
  await provisionBudgets(work, file.budgets)
  await provisionPolicies(work, file.policies)
  const serviceToken = await provisionServiceToken(work, file.serviceToken)
  return { accountId: account._id, changes, serviceToken }
}
