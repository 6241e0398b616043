import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import { deleteProgress } from "../runs/progress.ts"
import { bootRow } from "./boots.ts"

/** The presence of a runtime, by its RUNTIME_ID. Reads one row. */
export const runtimeRow = (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  runtimeId: string
): Promise<Doc<"runtimes"> | null> =>
  ctx.db
    .query("runtimes")
    .withIndex("by_runtime", (q) => q.eq("accountId", accountId).eq("runtimeId", runtimeId))
    .unique()

const withStatus = (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">, status: Doc<"runtimes">["status"]) =>
  ctx.db.query("runtimes").withIndex("by_account", (q) => q.eq("accountId", accountId).eq("status", status))

/** The account's runtimes that are not offline, at most 25 of each status. Reads one row each. */
export const runningRuntimes = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">
): Promise<Array<Doc<"runtimes">>> => {
  const running: Array<Doc<"runtimes">> = []
  for (const status of ["online", "degraded", "draining", "booting"] as const) {
    running.push(...(await withStatus(ctx, accountId, status).order("desc").take(25)))
  }
  return running
}

/** The account's offline runtimes whose last pulse came before that time, the latest first. Reads one row each. */
export const offlineRuntimes = (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  before: number,
  count: number
): Promise<Array<Doc<"runtimes">>> =>
  ctx.db
    .query("runtimes")
    .withIndex("by_account", (q) => q.eq("accountId", accountId).eq("status", "offline").lt("lastPulseAt", before))
    .order("desc")
    .take(count)

const commandBatch = 50

/**
 * Deletes offline runtimes whose last pulse came before that time, with their boots, progress and commands, at most 50
 * commands each. Returns whether there may be more. Without this the rows would accumulate if each start has a
 * different RUNTIME_ID.
 */
export const deleteRuntimes = async (ctx: MutationCtx, before: number, count: number): Promise<boolean> => {
  const runtimes = await ctx.db
    .query("runtimes")
    .withIndex("by_status", (q) => q.eq("status", "offline").lt("lastPulseAt", before))
    .take(count)
  let isMore = runtimes.length === count
  for (const { _id, accountId, runtimeId } of runtimes) {
    const boot = await bootRow(ctx, accountId, runtimeId)
    if (boot !== null) await ctx.db.delete("boots", boot._id)
    await deleteProgress(ctx, accountId, runtimeId)
    const commands = await ctx.db
      .query("runtimeCommands")
      .withIndex("by_open", (q) => q.eq("accountId", accountId).eq("runtimeId", runtimeId))
      .take(commandBatch)
    for (const command of commands) await ctx.db.delete("runtimeCommands", command._id)
    // The runtime's row is deleted last, so that the next batch finds the rest.
    if (commands.length === commandBatch) isMore = true
    else await ctx.db.delete("runtimes", _id)
  }
  return isMore
}

/** Whether a runtime of the account is online or degraded; only then are its agents online. Reads at most two rows. */
export const isOnline = async (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<boolean> =>
  (await withStatus(ctx, accountId, "online").first()) !== null ||
  (await withStatus(ctx, accountId, "degraded").first()) !== null
