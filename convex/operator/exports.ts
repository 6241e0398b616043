import { v } from "convex/values"
import { internalQuery } from "../_generated/server.js"
import { exportPage } from "../model/fleet/accountExport.ts"
import { fleetAccountOf } from "../model/fleet/fleetAccounts.ts"

const position = v.object({ table: v.string(), after: v.number() })

/**
 * The next rows of an account for an archive, without secrets, about 500 of them: of one table after the other, in the
 * order of their creation. Pass `next` as `from` for the page that follows. For holders of the deploy key. Reads these
 * rows and a range of each table.
 */
export const page = internalQuery({
  args: { accountId: v.string(), from: v.optional(position) },
  returns: v.object({
    rows: v.array(v.object({ table: v.string(), document: v.any() })),
    next: v.union(position, v.null())
  }),
  handler: async (ctx, { accountId, from = { table: "accounts", after: 0 } }) =>
    exportPage(ctx, (await fleetAccountOf(ctx, accountId))._id, from)
})
