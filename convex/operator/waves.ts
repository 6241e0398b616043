import { v } from "convex/values"
import { internalMutation, internalQuery } from "../_generated/server.js"
import { bounded } from "../model/database/bounded.ts"
import { cancelRollout, resumeRollout, rollBackRollout, rolloutOf, startRollout } from "../model/fleet/rollouts.ts"
import { accountsOfRollout, rolloutPage, rolloutView, viewOf } from "../model/fleet/rolloutView.ts"
import { targetOf } from "../model/runtimes/commandRequests.ts"
import { rolloutAccountState } from "../tables/rollouts.ts"

const times = {
  /** How long an account may take until all its runtimes are online on the target; 30 minutes by default. */
  deadlineMs: v.optional(v.number()),
  /** How long it must then stay healthy; 5 minutes by default. */
  observeMs: v.optional(v.number())
}

const waves = v.array(v.array(v.string()))

const minuteMs = 60_000
const timesOf = ({
  deadlineMs = 30 * minuteMs,
  observeMs = 5 * minuteMs
}: {
  deadlineMs?: number
  observeMs?: number
}) => ({
  deadlineMs,
  observeMs
})

/**
 * Starts an upgrade of accounts in waves, given as account ids. The scheduler drives it. Fails with `conflict` while
 * another rollout has not ended. For holders of the deploy key. Reads one row and writes one for each account.
 */
export const upgrade = internalMutation({
  args: { runtimeVersion: v.optional(v.string()), openclawVersion: v.optional(v.string()), waves, ...times },
  returns: v.object({ rolloutId: v.string() }),
  handler: async (ctx, { waves, ...args }): Promise<{ rolloutId: string }> => ({
    rolloutId: await startRollout(ctx, { kind: "upgrade", ...targetOf(args), waves, ...timesOf(args) })
  })
})

/** Like upgrade, but restarts the accounts' runtimes. For holders of the deploy key. Reads the same. */
export const restart = internalMutation({
  args: { waves, ...times },
  returns: v.object({ rolloutId: v.string() }),
  handler: async (ctx, { waves, ...args }): Promise<{ rolloutId: string }> => ({
    rolloutId: await startRollout(ctx, {
      kind: "restart",
      runtimeVersion: null,
      openclawVersion: null,
      waves,
      ...timesOf(args)
    })
  })
})

const which = { rolloutId: v.optional(v.string()) }

/** The latest rollout, or the given one. For holders of the deploy key. Reads one row. */
export const show = internalQuery({
  args: which,
  returns: rolloutView,
  handler: async (ctx, { rolloutId }) => viewOf(await rolloutOf(ctx, rolloutId))
})

/**
 * The accounts of the latest rollout or the given one, in the order of the waves, or only those in a state. `after` is
 * for paging: pass the `next` of the last page. For holders of the deploy key. Reads two rows for each of at most 200
 * accounts.
 */
export const accounts = internalQuery({
  args: {
    ...which,
    state: v.optional(rolloutAccountState),
    after: v.optional(v.number()),
    limit: v.optional(v.number())
  },
  returns: rolloutPage,
  handler: async (ctx, { after = -1, limit, rolloutId, state }) =>
    accountsOfRollout(ctx, await rolloutOf(ctx, rolloutId), state, after, bounded(limit, 100, 200))
})

/**
 * Continues a stopped rollout: tries its failed accounts again, except those to skip. For holders of the deploy key.
 * Reads at most 200 failed accounts, and the accounts to skip with their commands.
 */
export const resume = internalMutation({
  args: { skip: v.optional(v.array(v.string())) },
  returns: v.null(),
  handler: async (ctx, { skip = [] }): Promise<null> => {
    await resumeRollout(ctx, skip)
    return null
  }
})

/**
 * Rolls the last wave of the latest upgrade back, or all its waves. Also after the upgrade has ended. For holders of
 * the deploy key. Reads one row.
 */
export const rollback = internalMutation({
  args: { all: v.optional(v.boolean()) },
  returns: v.null(),
  handler: async (ctx, { all = false }): Promise<null> => {
    await rollBackRollout(ctx, all)
    return null
  }
})

/**
 * Ends the active rollout. Accounts keep the versions that they have, and no further one is asked. For holders of the
 * deploy key. Reads one row.
 */
export const cancel = internalMutation({
  args: {},
  returns: v.null(),
  handler: async (ctx): Promise<null> => {
    await cancelRollout(ctx)
    return null
  }
})
