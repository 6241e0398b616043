import type { Doc, Id, TableNames } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { refusal } from "../access/refusal.ts"
import { accountOf } from "../agents/agents.ts"
import { drawsOf } from "../budgets/spendingBook.ts"
import { lengthOf, readWithin } from "../database/readWithin.ts"
import { type OwnedTable, ownedTables, rowsOf } from "./ownedTables.ts"

/** The number of rows, and of their characters, of one page. */
const pageSize = 500
const pageCharacters = 2_000_000
/** Few, because each can have the draws of every agent. */
const budgetsPerPage = 5

/** Fields that someone could misuse; a webhook's URL can itself be a secret. Archives do not contain them. */
const secrets: { readonly [Table in TableNames]?: ReadonlyArray<string> } = {
  serviceTokens: ["hash"],
  webhooks: ["secret", "url"],
  sessions: ["fenceSecret"]
}

/** Where a page starts: with the rows of a table that were created after that time. */
export interface ExportPosition {
  readonly table: string
  readonly after: number
}

/** A page of an archive: rows with their tables, and where the next page starts. */
export interface ExportPage {
  readonly rows: Array<{ readonly table: string; readonly document: Record<string, unknown> }>
  readonly next: ExportPosition | null
}

/** The tables of an archive, in their order: the account's row, then every table with rows of it. */
export const exportedTables: ReadonlyArray<TableNames> = [
  "accounts",
  ...ownedTables.flatMap((table) => (table === "budgets" ? (["budgets", "budgetDraws"] as const) : [table]))
]

const without = (row: Doc<TableNames>, names: ReadonlyArray<string> = []): Record<string, unknown> =>
  Object.fromEntries(Object.entries(row).filter(([name]) => !names.includes(name)))

/** The draws of the next budgets after `after`, and the last of these budgets if there may be more. */
const drawsAfter = async (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">, after: number) => {
  const budgets = await ctx.db
    .query("budgets")
    .withIndex("by_account", (q) => q.eq("accountId", accountId).gt("_creationTime", after))
    .take(budgetsPerPage)
  const rows: Array<Doc<TableNames>> = []
  for (const { _id } of budgets) rows.push(...(await drawsOf(ctx, _id)))
  return { rows, last: budgets.length === budgetsPerPage ? budgets.at(-1) : undefined }
}

/** The next rows of the table after `after`, and the last of them if there may be more. */
const rowsAfter = async (
  ctx: Pick<QueryCtx, "db">,
  {
    accountId,
    after,
    characters,
    count,
    table
  }: {
    readonly accountId: Id<"accounts">
    readonly table: TableNames
    readonly after: number
    readonly count: number
    readonly characters: number
  }
): Promise<{ readonly rows: Array<Doc<TableNames>>; readonly last: Doc<TableNames> | undefined }> => {
  if (table === "accounts") return { rows: [await accountOf(ctx, accountId)], last: undefined }
  if (table === "budgetDraws") return drawsAfter(ctx, accountId, after)
  const rows = await readWithin(rowsOf(ctx, table as OwnedTable, accountId, after), count, characters, lengthOf)
  const isCut = rows.length >= count || rows.reduce((sum, row) => sum + lengthOf(row), 0) >= characters
  return { rows, last: isCut ? rows.at(-1) : undefined }
}

/**
 * The next rows of an account, of one table after the other, up to about 500 rows or two million characters, without
 * secrets. Fails with `invalid` if there is no such table. Reads a range of each table, and one for each of five
 * budgets.
 */
export const exportPage = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  from: ExportPosition
): Promise<ExportPage> => {
  const first = exportedTables.findIndex((table) => table === from.table)
  if (first === -1) throw refusal("invalid", "There is no such table. Pass the `next` of an earlier page.")
  const page: ExportPage["rows"] = []
  let characters = pageCharacters
  let after = from.after
  for (const table of exportedTables.slice(first)) {
    const count = pageSize - page.length
    if (count <= 0 || characters <= 0) return { rows: page, next: { table, after: 0 } }
    const { last, rows } = await rowsAfter(ctx, { accountId, table, after, count, characters })
    for (const row of rows) {
      characters -= lengthOf(row)
      page.push({ table, document: without(row, secrets[table]) })
    }
    if (last !== undefined) return { rows: page, next: { table, after: last._creationTime } }
    after = 0
  }
  return { rows: page, next: null }
}
