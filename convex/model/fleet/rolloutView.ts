import { type Infer, v } from "convex/values"
import type { Doc } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { rolloutAccountState, rolloutState, rolloutTarget, waveCounts } from "../../tables/rollouts.ts"
import { versions } from "../../tables/runtimes.ts"

/** A rollout with the number of its accounts in each state, and what happened. */
export const rolloutView = v.object({
  id: v.string(),
  ...rolloutTarget,
  state: rolloutState,
  wave: v.number(),
  waves: v.array(v.object({ size: v.number(), counts: waveCounts })),
  deadlineMs: v.number(),
  observeMs: v.number(),
  startedAt: v.number(),
  /** When its last step ran. A running rollout has one at least once a minute. */
  steppedAt: v.number(),
  endedAt: v.union(v.number(), v.null()),
  log: v.array(v.object({ at: v.number(), text: v.string() }))
})

/** The rollout as operators see it. */
export const viewOf = (rollout: Doc<"rollouts">): Infer<typeof rolloutView> => {
  const { _creationTime, _id, deadlineMs, endedAt = null, kind, log, observeMs } = rollout
  const { openclawVersion, runtimeVersion, state, steppedAt, wave, waves } = rollout
  return {
    id: _id,
    kind,
    runtimeVersion,
    openclawVersion,
    state,
    wave,
    waves,
    deadlineMs,
    observeMs,
    startedAt: _creationTime,
    steppedAt,
    endedAt,
    log
  }
}

/** An account in a rollout. */
export const rolloutAccountView = v.object({
  accountId: v.string(),
  /** Null if the account was deleted. */
  name: v.union(v.string(), v.null()),
  wave: v.number(),
  position: v.number(),
  state: rolloutAccountState,
  reason: v.union(v.string(), v.null()),
  begunAt: v.union(v.number(), v.null()),
  /** The runtimes that were asked, and the versions that they had before. */
  runtimes: v.array(v.object({ runtimeId: v.string(), from: versions }))
})

/** Accounts of a rollout in their order. `next` continues after the page; null after the last one. */
export const rolloutPage = v.object({
  accounts: v.array(rolloutAccountView),
  next: v.union(v.number(), v.null())
})

/** The accounts of a rollout after that position, or those in a state. Reads two rows for each. */
export const accountsOfRollout = async (
  ctx: Pick<QueryCtx, "db">,
  { _id }: Doc<"rollouts">,
  state: Infer<typeof rolloutAccountState> | undefined,
  after: number,
  count: number
): Promise<Infer<typeof rolloutPage>> => {
  const accounts = ctx.db.query("rolloutAccounts")
  const entries = await (
    state === undefined
      ? accounts.withIndex("by_rollout", (q) => q.eq("rolloutId", _id).gt("position", after))
      : accounts.withIndex("by_state", (q) => q.eq("rolloutId", _id).eq("state", state).gt("position", after))
  ).take(count)
  const views = []
  for (const { accountId, begunAt = null, position, reason = null, runtimes, state, wave } of entries) {
    const account = await ctx.db.get("accounts", accountId)
    views.push({
      accountId,
      name: account?.name ?? null,
      wave,
      position,
      state,
      reason,
      begunAt,
      runtimes: runtimes.map(({ from, runtimeId }) => ({ runtimeId, from }))
    })
  }
  return { accounts: views, next: entries.length < count ? null : (entries.at(-1)?.position ?? null) }
}
