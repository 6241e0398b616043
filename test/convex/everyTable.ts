import type { TableNames } from "../../convex/_generated/dataModel.js"
import schema from "../../convex/schema.ts"
import type { emptyPlane } from "./controlPlane.ts"

type Database = ReturnType<typeof emptyPlane>

/** The names of all tables with rows of an account. A rollout belongs to the deployment. */
export const tables = (Object.keys(schema.tables) as ReadonlyArray<TableNames>).filter((name) => name !== "rollouts")

const documentTypeOf = (table: TableNames): any => (schema.tables[table] as any).export().documentType

/** A value that the type accepts; optional fields are left out. */
const sample = (type: any, idOf: (table: TableNames) => string, name = ""): unknown => {
  switch (type.type) {
    case "string":
      return `some ${name}`
    case "number":
      return 1
    case "boolean":
      return false
    case "literal":
      return type.value
    case "id":
      return idOf(type.tableName)
    case "union":
      return sample(type.value[0], idOf, name)
    case "array":
      return []
    case "record":
      return {}
    case "object":
      return Object.fromEntries(
        Object.entries<any>(type.value)
          .filter(([, field]) => !field.optional)
          .map(([field, { fieldType }]) => [field, sample(fieldType, idOf, `${name}.${field}`)])
      )
    default:
      return null
  }
}

/** The tables that a row of this one must refer to. */
const referencesOf = (type: any): ReadonlyArray<TableNames> => {
  switch (type.type) {
    case "id":
      return [type.tableName]
    case "union":
      return referencesOf(type.value[0])
    case "object":
      return Object.values<any>(type.value).flatMap((field) => (field.optional ? [] : referencesOf(field.fieldType)))
    default:
      return []
  }
}

/** Adds one row to every table for the account, and returns the account's id. */
export const fillTables = async (t: Database, name: string): Promise<string> =>
  t.run(async (ctx) => {
    const ids = new Map<TableNames, string>()
    const add = async (table: TableNames): Promise<void> => {
      if (ids.has(table)) return
      for (const needed of referencesOf(documentTypeOf(table))) await add(needed)
      const row = sample(documentTypeOf(table), (of) => ids.get(of) ?? "", table) as object
      ids.set(table, await ctx.db.insert(table, { ...row, ...(table === "accounts" ? { name } : {}) } as never))
    }
    for (const table of tables) await add(table)
    return ids.get("accounts") ?? ""
  })

/** The number of rows of each table that has any. */
export const rowCounts = async (t: Database): Promise<Record<string, number>> =>
  t.run(async (ctx) => {
    const counts: Record<string, number> = {}
    for (const table of tables) {
      const { length } = await ctx.db.query(table).collect()
      if (length > 0) counts[table] = length
    }
    return counts
  })
