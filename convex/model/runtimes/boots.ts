import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import { refusal } from "../access/refusal.ts"

const formerBootsKept = 20
/** The fields of a boot that has not claimed. */
const unclaimed = { lastClaim: 0, hasEnded: false }

/** The row with the boot of this RUNTIME_ID that may claim. Reads one row. */
export const bootRow = (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  runtimeId: string
): Promise<Doc<"boots"> | null> =>
  ctx.db
    .query("boots")
    .withIndex("by_runtime", (q) => q.eq("accountId", accountId).eq("runtimeId", runtimeId))
    .unique()

const supersededBoot = () =>
  refusal(
    "conflict",
    "A later process runs with the same RUNTIME_ID. Stop this one, or give each its own RUNTIME_ID.",
    {
      reason: "superseded"
    }
  )

/** The row of the current boot. Fails with `conflict` if another boot is current. Reads one row. */
export const mustBeCurrentBoot = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  runtimeId: string,
  bootId: string
): Promise<Doc<"boots">> => {
  const row = await bootRow(ctx, accountId, runtimeId)
  if (row?.bootId === bootId) return row
  if (row?.formerBootIds.includes(bootId) === true) throw supersededBoot()
  const who = row === null ? "runtime" : "boot"
  throw refusal("conflict", `This ${who} has not sent a pulse yet. Call service/runtimes:pulse first.`, {
    reason: "no_pulse"
  })
}

/** Like mustBeCurrentBoot, but also fails with `conflict` if the boot has made its last claim. */
export const claimingBoot = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  runtimeId: string,
  bootId: string
): Promise<Doc<"boots">> => {
  const row = await mustBeCurrentBoot(ctx, accountId, runtimeId, bootId)
  if (!row.hasEnded) return row
  throw refusal("conflict", "This boot has made its last claim. Start the runtime again.", { reason: "ended" })
}

/**
 * Makes this boot the current one of its RUNTIME_ID. Returns true if it is new. Fails with `conflict` for an earlier
 * boot. Reads one row, and writes it only if the boot is new.
 */
export const takeBoot = async (
  ctx: Pick<MutationCtx, "db">,
  accountId: Id<"accounts">,
  runtimeId: string,
  bootId: string
): Promise<boolean> => {
  const row = await bootRow(ctx, accountId, runtimeId)
  if (row === null) {
    await ctx.db.insert("boots", { accountId, runtimeId, bootId, formerBootIds: [], ...unclaimed })
    return true
  }
  if (row.bootId === bootId) return false
  if (row.formerBootIds.includes(bootId)) throw supersededBoot()
  await ctx.db.patch("boots", row._id, {
    bootId,
    ...unclaimed,
    formerBootIds: [row.bootId, ...row.formerBootIds].slice(0, formerBootsKept)
  })
  return true
}
