import type { Doc, Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import type { OwnedTable } from "../fleet/ownedTables.ts"

/** The account's row with this id; null if there is none, or if it belongs to another account. Reads at most one row. */
export const ownRow = async <Table extends OwnedTable>(
  ctx: Pick<QueryCtx, "db">,
  table: Table,
  accountId: Id<"accounts">,
  given: string
): Promise<Doc<Table> | null> => {
  const id = ctx.db.normalizeId(table, given)
  const row = id === null ? null : await ctx.db.get(table, id)
  return row === null || row.accountId !== accountId ? null : row
}
