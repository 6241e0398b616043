import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"

/** Wakes every runtime of the account, because work of this agent became claimable. Reads and writes one row. */
export const wakeFor = async (
  ctx: Pick<MutationCtx, "db">,
  agent: { readonly accountId: Id<"accounts">; readonly agentId: Id<"agents"> }
): Promise<void> => {
  const { accountId, agentId } = agent
  const found = await ctx.db
    .query("wakes")
    .withIndex("by_agent", (q) => q.eq("agentId", agentId))
    .unique()
  if (found === null) await ctx.db.insert("wakes", { accountId, agentId, count: 1 })
  else await ctx.db.patch("wakes", found._id, { count: found.count + 1 })
}

/** The sum of all wake-ups, which changes with each. Reads one row per agent that ever had work. */
export const wakeCount = async (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<number> => {
  const rows: Array<Doc<"wakes">> = await ctx.db
    .query("wakes")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .take(1_000)
  return rows.reduce((sum, { count }) => sum + count, 0)
}
