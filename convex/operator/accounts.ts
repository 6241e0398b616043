import { v } from "convex/values"
import { internalQuery } from "../_generated/server.js"
import { bounded } from "../model/database/bounded.ts"
import { fleetFilter, fleetPage, listAccounts, pageSize } from "../model/fleet/fleetAccounts.ts"

/**
 * Accounts with their runtimes, queue, dead letters, failures and usage of today, in the order of their creation: of the
 * next 50 the first that pass the filter. Pass `next` as `after` for the page that follows. For holders of the deploy
 * key. Reads six ranges for each account that it considers.
 */
export const list = internalQuery({
  args: { after: v.optional(v.number()), limit: v.optional(v.number()), ...fleetFilter.fields },
  returns: fleetPage,
  handler: (ctx, { after = 0, limit, ...filter }) =>
    listAccounts(ctx, { after, limit: bounded(limit, pageSize, pageSize) }, filter)
})
