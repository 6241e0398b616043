import { type Infer, v } from "convex/values"
import { type AgentFlags, effectiveFlags } from "../../../src/domain/shared/AgentFlags.ts"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { ownRow } from "../access/ownRow.ts"
import { refusal } from "../access/refusal.ts"

/** All flags, with the defaults filled in. */
export const flagSet = v.object({
  canCreateTasks: v.boolean(),
  canModifyTaskStatus: v.boolean(),
  canCreateDocuments: v.boolean(),
  canMentionAgents: v.boolean(),
  canReviewTasks: v.boolean(),
  canMarkDone: v.boolean()
})

/** An agent as other agents and people see it. */
export const agentRef = v.object({ id: v.string(), slug: v.string(), name: v.string() })
export const toAgentRef = (agent: Doc<"agents">): Infer<typeof agentRef> => ({
  id: agent._id,
  slug: agent.slug,
  name: agent.name
})

/** The agent's flags with those of its account applied. */
export const flagsOf = (
  account: Pick<Doc<"accounts">, "agentFlags">,
  agent: Pick<Doc<"agents">, "flags">
): AgentFlags => effectiveFlags(account.agentFlags, agent.flags)

/** The agent that runs the turn, as its prompt shows it. */
export const agentView = v.object({
  id: v.string(),
  slug: v.string(),
  name: v.string(),
  role: v.string(),
  isOrchestrator: v.boolean(),
  flags: flagSet
})
export const toAgentView = (
  account: Pick<Doc<"accounts">, "agentFlags">,
  agent: Doc<"agents">
): Infer<typeof agentView> => ({
  ...toAgentRef(agent),
  role: agent.role,
  isOrchestrator: agent.isOrchestrator,
  flags: flagsOf(account, agent)
})

/** The long texts of an agent. */
export type AgentTexts = Pick<Doc<"agentTexts">, "soul" | "identity" | "userText">

/** The agent's long texts, which only profiles need. Reads one row. */
export const textsOf = async (ctx: Pick<QueryCtx, "db">, agentId: Id<"agents">): Promise<Doc<"agentTexts">> => {
  const texts = await ctx.db
    .query("agentTexts")
    .withIndex("by_agent", (q) => q.eq("agentId", agentId))
    .unique()
  if (texts === null) throw new Error("The agent has no row in agentTexts.")
  return texts
}

/** The other agents of the account, which the agent may mention. */
export const colleague = v.object({ slug: v.string(), name: v.string(), role: v.string() })
export const colleaguesOf = (
  agents: ReadonlyArray<Doc<"agents">>,
  agent: Doc<"agents">
): Array<Infer<typeof colleague>> =>
  agents.filter((each) => each._id !== agent._id).map((each) => ({ slug: each.slug, name: each.name, role: each.role }))

/** The maximum number of agents on a roster. */
export const maxAgents = 200

/** The agents on the account's roster. Reads one row each. */
export const activeAgents = (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<Array<Doc<"agents">>> =>
  ctx.db
    .query("agents")
    .withIndex("by_account", (q) => q.eq("accountId", accountId).eq("removedAt", undefined))
    .take(maxAgents)

/** A name in the form in which mentions compare it. */
export const nameKey = (name: string): string => name.toLowerCase()

/** The agents in the order in which they joined, as the roster lists them. */
export const inRosterOrder = (agents: Iterable<Doc<"agents">>): Array<Doc<"agents">> =>
  [...agents].toSorted((left, right) => left._creationTime - right._creationTime)

/**
 * The agents with these ids that are on the roster, without duplicates, in the order given. Reads one row for each
 * agent that is not in `known`.
 */
export const agentsOnRoster = async (
  ctx: Pick<QueryCtx, "db">,
  ids: Iterable<Id<"agents">>,
  known: ReadonlyArray<Doc<"agents">> = []
): Promise<Array<Doc<"agents">>> => {
  const agents: Array<Doc<"agents">> = []
  for (const id of new Set(ids)) {
    const agent = known.find(({ _id }) => _id === id) ?? (await ctx.db.get("agents", id))
    if (agent !== null && agent.removedAt === undefined) agents.push(agent)
  }
  return agents
}

/** The account's orchestrator; null if it has none. */
export const orchestratorOf = (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<Doc<"agents"> | null> =>
  ctx.db
    .query("agents")
    .withIndex("by_orchestrator", (q) =>
      q.eq("accountId", accountId).eq("removedAt", undefined).eq("isOrchestrator", true)
    )
    .first()

/** The agent with this slug on the roster. */
export const agentBySlug = (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  slug: string
): Promise<Doc<"agents"> | null> =>
  ctx.db
    .query("agents")
    .withIndex("by_slug", (q) =>
      q.eq("accountId", accountId).eq("removedAt", undefined).eq("slug", slug.trim().replace(/^@/, "").toLowerCase())
    )
    .unique()

/** The agents on the roster whose name has this key. Reads one row each. */
export const agentsByName = (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  key: string
): Promise<Array<Doc<"agents">>> =>
  ctx.db
    .query("agents")
    .withIndex("by_name", (q) => q.eq("accountId", accountId).eq("removedAt", undefined).eq("nameKey", key))
    .take(maxAgents)

/**
 * The agents with these slugs, without duplicates. Fails with `not_found` and the position of the first unknown slug.
 */
export const agentsBySlugs = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  slugs: ReadonlyArray<string>
): Promise<Array<Doc<"agents">>> => {
  const found = new Map<Id<"agents">, Doc<"agents">>()
  for (const [index, slug] of slugs.entries()) {
    const agent = await agentBySlug(ctx, accountId, slug)
    if (agent === null) {
      throw refusal(
        "not_found",
        `No agent on the roster has the slug at position ${index + 1}. Use a slug from the roster.`
      )
    }
    found.set(agent._id, agent)
  }
  return [...found.values()]
}

/** The account's agent with this id, removed or not. Fails with `not_found` otherwise. */
export const agentOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  agentId: string
): Promise<Doc<"agents">> => {
  const agent = await ownRow(ctx, "agents", accountId, agentId)
  if (agent === null) {
    throw refusal("not_found", "The account has no agent with this id. Use an id from its roster.")
  }
  return agent
}

/** The agent on the roster with this slug, otherwise the one with this id. Reads at most two rows. */
export const agentByIdOrSlug = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  agent: string
): Promise<Doc<"agents">> => (await agentBySlug(ctx, accountId, agent)) ?? (await agentOf(ctx, accountId, agent))

/** The account's row. Fails with `not_found` if the account was deleted. */
export const accountOf = async (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<Doc<"accounts">> => {
  const account = await ctx.db.get("accounts", accountId)
  if (account === null) throw refusal("not_found", "The account was deleted. Check ACCOUNT_ID.")
  return account
}
