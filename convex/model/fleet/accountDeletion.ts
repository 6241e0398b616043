import { internal } from "../../_generated/api.js"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"
import { refusal } from "../access/refusal.ts"
import { recordActivity } from "../accounts/activities.ts"
import { drawsOf } from "../budgets/spendingBook.ts"
import { lengthOf, readWithin } from "../database/readWithin.ts"
import { pauseOf } from "../queue/pauses.ts"
import { runningRuntimes } from "../runtimes/runtimes.ts"
import { ownedTables, rowsOf } from "./ownedTables.ts"

/** The number of rows, and of their characters, after which a batch ends. */
const batch = 200
const batchCharacters = 2_000_000

/** Whether a turn of the account may still run: a session has a lease that has not expired. */
const hasLiveLease = async (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<boolean> => {
  const leased = await ctx.db
    .query("sessions")
    .withIndex("by_runtime", (q) => q.eq("accountId", accountId).gt("leaseRuntimeId", ""))
    .take(batch)
  return leased.some(({ expiresAt = 0 }) => expiresAt > Date.now())
}

/** Fails with `conflict` while the account works. */
const mustBeAtRest = async (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<void> => {
  if ((await pauseOf(ctx, accountId)) === null && (await runningRuntimes(ctx, accountId)).length > 0) {
    throw refusal(
      "conflict",
      "A runtime of the account is running. Stop it, or pause the account first: `fleet pause`."
    )
  }
  if (await hasLiveLease(ctx, accountId)) {
    throw refusal(
      "conflict",
      "Turns of the account are running. Wait until they end, or abort them: `fleet pause --release`."
    )
  }
}

/**
 * Deletes an account and everything that belongs to it. Its tokens and members are deleted first, so that no one can
 * call; the rest follows in scheduled batches. A repeated call continues a deletion that was interrupted. Fails with
 * `invalid` if the name is not the account's, and with `conflict` while the account works.
 */
export const deleteAccount = async (
  ctx: MutationCtx,
  account: Doc<"accounts">,
  name: string,
  actor: Actor
): Promise<void> => {
  if (name !== account.name) {
    throw refusal("invalid", "The name is not the name of this account. `fleet show` shows the name.")
  }
  if (account.deletion === undefined) {
    await mustBeAtRest(ctx, account._id)
    await ctx.db.patch("accounts", account._id, { deletion: { by: actor, at: Date.now() } })
    await recordActivity(ctx, {
      accountId: account._id,
      type: "account_deletion_requested",
      actor,
      summary: "the account is being deleted"
    })
  }
  await continueDeletion(ctx, account._id)
}

/**
 * Deletes the next 200 rows of an account that is being deleted, and schedules the next batch. The account's own row is
 * deleted when no table has a row of it. Each batch starts with the first table, so that it finds rows that were added
 * in the meantime. Reads a range of each table that it finds empty.
 */
export const continueDeletion = async (ctx: MutationCtx, accountId: Id<"accounts">): Promise<void> => {
  const account = await ctx.db.get("accounts", accountId)
  if (account?.deletion === undefined) return
  let [rowsLeft, charactersLeft] = [batch, batchCharacters]
  for (const table of ownedTables) {
    if (rowsLeft <= 0 || charactersLeft <= 0) break
    const rows = await readWithin(rowsOf(ctx, table, accountId), rowsLeft, charactersLeft, lengthOf)
    for (const row of rows) {
      if (rowsLeft <= 0) break
      if (table === "budgets") {
        const draws = await drawsOf(ctx, row._id as Id<"budgets">)
        for (const { _id } of draws) await ctx.db.delete("budgetDraws", _id)
        rowsLeft -= draws.length
      }
      await ctx.db.delete(table as "messages", row._id as Id<"messages">)
      rowsLeft -= 1
      charactersLeft -= lengthOf(row)
    }
  }
  if (rowsLeft === batch) {
    await ctx.db.delete("accounts", accountId)
    return
  }
  await ctx.scheduler.runAfter(0, internal.scheduled.deletions.account, { accountId })
}
