import type { Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { activeAgents } from "../agents/agents.ts"
import type { ReadBudget } from "./readBudget.ts"

/** The approximate size of an agent's row. */
const charactersPerAgent = 600

/** The name of the account's first owner, or of its first member without one. */
export const primaryPersonOf = async (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">) => {
  const members = await ctx.db
    .query("members")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .take(100)
  const person = members.find((member) => member.role === "owner") ?? members[0]
  return person === undefined ? null : { name: person.name }
}

/**
 * The parts that all contexts of an account share. A claim reads them once; `known` is the account's row if it was read
 * already.
 */
export const accountContextOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  budget?: ReadBudget,
  known = ctx.db.get("accounts", accountId)
) => {
  const account = await known
  const agents = await activeAgents(ctx, accountId)
  const primaryPerson = await primaryPersonOf(ctx, accountId)
  const repository = await ctx.db
    .query("documents")
    .withIndex("by_repository", (q) => q.eq("accountId", accountId).eq("isRepository", true))
    .first()
  const texts = (account?.briefing?.length ?? 0) + (repository?.content.length ?? 0)
  budget?.noteCharacters(texts + agents.length * charactersPerAgent)
  return { accountId, account, agents, primaryPerson, repository }
}

export type AccountContext = Awaited<ReturnType<typeof accountContextOf>>
