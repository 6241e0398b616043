import { v } from "convex/values"
import { internalMutation, internalQuery } from "../_generated/server.js"
import { bounded } from "../model/database/bounded.ts"
import { deleteAccount } from "../model/fleet/accountDeletion.ts"
import { accountDetails, detailsOf } from "../model/fleet/accountDetails.ts"
import {
  fleetAccountOf,
  fleetFilter,
  fleetPage,
  listAccounts,
  namedAccount,
  namedAccounts,
  pageSize
} from "../model/fleet/fleetAccounts.ts"
import { operator } from "../model/notifications/deadLetters.ts"
import { pause as pauseIt, resume as resumeIt } from "../model/queue/pausing.ts"

/**
 * Accounts with their runtimes, queue, dead letters, failures and usage of today, in the order of their creation: of
 * the next 50 the first that pass the filter. Pass `next` as `after` for the page that follows. For holders of the
 * deploy key. Reads six ranges for each account that it considers.
 */
export const list = internalQuery({
  args: { after: v.optional(v.number()), limit: v.optional(v.number()), ...fleetFilter.fields },
  returns: fleetPage,
  handler: (ctx, { after = 0, limit, ...filter }) =>
    listAccounts(ctx, { after, limit: bounded(limit, pageSize, pageSize) }, filter)
})

/**
 * One account in detail. For holders of the deploy key. Reads its roster, its budgets, and at most 50 rows of others.
 */
export const get = internalQuery({
  args: { accountId: v.string() },
  returns: accountDetails,
  handler: async (ctx, { accountId }) => detailsOf(ctx, await fleetAccountOf(ctx, accountId))
})

/**
 * The accounts that a text names, among the next 200: the one with this id or key, otherwise those whose id or name
 * begins with it, at most 20. Pass `next` as `after` to continue. For holders of the deploy key. Reads these accounts.
 */
export const find = internalQuery({
  args: { text: v.string(), after: v.optional(v.number()) },
  returns: v.object({ accounts: v.array(namedAccount), next: v.union(v.number(), v.null()) }),
  handler: (ctx, { after = 0, text }) => namedAccounts(ctx, text, after)
})

/**
 * Pauses an account: none of its turns or heartbeats starts. With `release` its running turns are aborted and their
 * work waits. For holders of the deploy key. Reads two rows, and the leases to release.
 */
export const pause = internalMutation({
  args: { accountId: v.string(), release: v.optional(v.boolean()) },
  returns: v.null(),
  handler: async (ctx, { accountId, release = false }): Promise<null> => {
    await pauseIt(ctx, (await fleetAccountOf(ctx, accountId))._id, null, { actor: operator, release })
    return null
  }
})

/** Ends the pause of an account. For holders of the deploy key. Reads two rows. */
export const resume = internalMutation({
  args: { accountId: v.string() },
  returns: v.null(),
  handler: async (ctx, { accountId }): Promise<null> => {
    await resumeIt(ctx, (await fleetAccountOf(ctx, accountId))._id, null, operator)
    return null
  }
})

/**
 * Deletes an account and everything that belongs to it: tokens and members at once, the rest in scheduled batches. The
 * account must be paused or its runtimes offline, and `name` must be its name. A repeated call continues an interrupted
 * deletion. For holders of the deploy key. Reads 200 rows.
 */
export const remove = internalMutation({
  args: { accountId: v.string(), name: v.string() },
  returns: v.null(),
  handler: async (ctx, { accountId, name }): Promise<null> => {
    await deleteAccount(ctx, await fleetAccountOf(ctx, accountId), name, operator)
    return null
  }
})
