import type { Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"

/** Adds an entry to the account's activity list. */
export const recordActivity = async (
  ctx: Pick<MutationCtx, "db">,
  activity: {
    readonly accountId: Id<"accounts">
    readonly type: string
    readonly actor: Actor
    readonly summary: string
    readonly taskId?: Id<"tasks">
  }
): Promise<void> => {
  await ctx.db.insert("activities", activity)
}
