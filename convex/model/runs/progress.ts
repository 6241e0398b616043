import { type Infer, v } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import { turnProgress } from "../../tables/progress.ts"
import { refusal } from "../access/refusal.ts"
import { cut } from "../database/cut.ts"
import { maxNamed } from "../queue/leases.ts"
import type { LeasedSession } from "../queue/sessions.ts"

/** How long a watch is valid. */
const watchMs = 60_000
/** A watch that is younger is not written again. */
const renewedAfterMs = 20_000
const maxToolLength = 100

/** From when to when members watch without a gap; null if none has watched. */
export const watched = v.union(v.object({ since: v.number(), until: v.number() }), v.null())

/** A running turn as a runtime reports it: times as milliseconds that have passed. */
export const reportedTurn = v.object({
  session: v.string(),
  epoch: v.number(),
  tool: v.union(v.string(), v.null()),
  stepMs: v.number(),
  quietMs: v.number(),
  isStuck: v.boolean()
})

/** How far a running turn is, for people. */
export const runProgress = v.object({
  tool: turnProgress.fields.tool,
  stepSince: v.number(),
  lastActivityAt: v.number(),
  isStuck: v.boolean()
})

const watchRow = (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<Doc<"watches"> | null> =>
  ctx.db
    .query("watches")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .unique()

const progressRow = (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  runtimeId: string
): Promise<Doc<"progress"> | null> =>
  ctx.db
    .query("progress")
    .withIndex("by_runtime", (q) => q.eq("accountId", accountId).eq("runtimeId", runtimeId))
    .unique()

/** The account's present or last watch. Reads one row. */
export const watchOf = async (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<Infer<typeof watched>> => {
  const row = await watchRow(ctx, accountId)
  return row === null ? null : { since: row.since, until: row.until }
}

/** Watches for 60 s. Returns the time. Reads one row, and writes it at most every 20 s. */
export const watch = async (ctx: MutationCtx, accountId: Id<"accounts">): Promise<number> => {
  const now = Date.now()
  const until = now + watchMs
  const row = await watchRow(ctx, accountId)
  if (row === null) await ctx.db.insert("watches", { accountId, since: now, until })
  else if (row.until <= now) await ctx.db.patch("watches", row._id, { since: now, until })
  else if (until - row.until >= renewedAfterMs) await ctx.db.patch("watches", row._id, { until })
  return now
}

/**
 * Stores how far a runtime's turns are, in place of its last report. Checks no lease, so that it conflicts with
 * nothing: a reader ignores turns that have ended. Fails with `limit` for more turns than a process can hold. Reads one
 * row.
 */
export const recordProgress = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  { runtimeId, turns }: { readonly runtimeId: string; readonly turns: ReadonlyArray<Infer<typeof reportedTurn>> }
): Promise<void> => {
  if (turns.length > maxNamed) throw refusal("limit", `A process has at most ${maxNamed} running turns.`)
  const at = Date.now()
  const report = {
    at,
    turns: turns.map(({ epoch, isStuck, quietMs, session, stepMs, tool }) => ({
      session,
      epoch,
      tool: tool === null ? null : cut(tool, maxToolLength),
      stepSince: at - stepMs,
      lastActivityAt: at - quietMs,
      isStuck
    }))
  }
  const row = await progressRow(ctx, accountId, runtimeId)
  if (row === null) await ctx.db.insert("progress", { accountId, runtimeId, ...report })
  else await ctx.db.patch("progress", row._id, report)
}

/** Deletes what a runtime reported last. Reads one row. */
export const deleteProgress = async (ctx: MutationCtx, accountId: Id<"accounts">, runtimeId: string): Promise<void> => {
  const row = await progressRow(ctx, accountId, runtimeId)
  if (row !== null) await ctx.db.delete("progress", row._id)
}

/**
 * A lookup of how far the turn of a lease is; null if its runtime has not reported it since the present watch began.
 * Reads the watch, and one row for each runtime.
 */
export const progressOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">
): Promise<(session: LeasedSession) => Promise<Infer<typeof runProgress> | null>> => {
  const since = (await watchOf(ctx, accountId))?.since ?? Number.MAX_SAFE_INTEGER
  const rows = new Map<string, Doc<"progress"> | null>()
  return async ({ _id, lease }) => {
    const { epoch, runtimeId } = lease
    if (!rows.has(runtimeId)) rows.set(runtimeId, await progressRow(ctx, accountId, runtimeId))
    const row = rows.get(runtimeId)
    if (row === null || row === undefined || row.at < since) return null
    const turn = row.turns.find((each) => each.session === _id && each.epoch === epoch)
    if (turn === undefined) return null
    const { isStuck, lastActivityAt, stepSince, tool } = turn
    return { tool, stepSince, lastActivityAt, isStuck }
  }
}
