/** The archive of an account: one line per row, and a last line that shows that the archive is complete. */
import { Schema } from "effect"

const Position = Schema.Struct({ table: Schema.String, after: Schema.Finite })

/** A page of an account's rows; `next` continues after it. */
export const ExportPage = Schema.Struct({
  rows: Schema.Array(Schema.Struct({ table: Schema.String, document: Schema.Unknown })),
  next: Schema.NullOr(Position)
})
export type ExportRow = (typeof ExportPage.Type)["rows"][number]

/** The last line of an archive. */
export interface Manifest {
  readonly format: 1
  readonly accountId: string
  readonly name: string
  /** ISO 8601. */
  readonly exportedAt: string
  /** The number of rows of each table that has any. */
  readonly rows: Readonly<Record<string, number>>
}

/** The numbers of rows by table, with those of a further page. */
export const countRows = (
  counts: Readonly<Record<string, number>>,
  rows: ReadonlyArray<ExportRow>
): Readonly<Record<string, number>> => {
  const sums = { ...counts }
  for (const { table } of rows) sums[table] = (sums[table] ?? 0) + 1
  return sums
}
