import type { Doc, Id } from "../_generated/dataModel.js"
import type { QueryCtx } from "../_generated/server.js"
import { refusal } from "./refusal.ts"

/** The row of a runtime, by its RUNTIME_ID. */
export const runtimeRow = (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  runtimeId: string
): Promise<Doc<"runtimes"> | null> =>
  ctx.db
    .query("runtimes")
    .withIndex("by_runtime", (q) => q.eq("accountId", accountId).eq("runtimeId", runtimeId))
    .unique()

/** What an earlier boot is told when it calls again. */
export const supersededBoot = () =>
  refusal("conflict", "A later process runs with the same RUNTIME_ID: stop this one, or give each its own id.", {
    reason: "superseded"
  })

/** Fails with `conflict` unless this boot is the one that last pulsed for its RUNTIME_ID. Reads one row. */
export const mustBeCurrentBoot = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  runtimeId: string,
  bootId: string
): Promise<void> => {
  const row = await runtimeRow(ctx, accountId, runtimeId)
  if (row === null) {
    throw refusal("conflict", "This runtime has not pulsed yet: call service/runtimes:pulse first.", {
      reason: "no_pulse"
    })
  }
  if (row.bootId !== bootId) {
    throw row.formerBootIds.includes(bootId)
      ? supersededBoot()
      : refusal("conflict", "This boot has not pulsed yet: call service/runtimes:pulse first.", { reason: "no_pulse" })
  }
}

/** Whether the account's runtimes are to hold still. Reads one row. */
export const isPaused = async (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<boolean> => {
  const row = await ctx.db
    .query("pauses")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .unique()
  return row?.isPaused ?? false
}
