import type { Doc, Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { maxAgents } from "../agents/agents.ts"

type Pause = Doc<"pauses">

/** The pause of the account, or of this agent; null if there is none. Reads at most one row. */
export const pauseOf = (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  agentId?: Id<"agents">
): Promise<Pause | null> =>
  ctx.db
    .query("pauses")
    .withIndex("by_account", (q) => q.eq("accountId", accountId).eq("agentId", agentId))
    .unique()

/** Whether the account itself is paused, and which of its agents are. */
export interface Pauses {
  readonly isAccountPaused: boolean
  readonly agentIds: ReadonlySet<Id<"agents">>
}

/** All pauses of the account. Reads one row each. */
export const pausesOf = async (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<Pauses> => {
  const rows = await ctx.db
    .query("pauses")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .take(maxAgents + 1)
  return {
    isAccountPaused: rows.some(({ agentId }) => agentId === undefined),
    agentIds: new Set(rows.flatMap(({ agentId }) => agentId ?? []))
  }
}
