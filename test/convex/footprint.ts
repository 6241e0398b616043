import type { Id } from "../../convex/_generated/dataModel.js"
import type { MutationCtx } from "../../convex/_generated/server.js"
import type { Plane } from "./controlPlane.ts"

type Row = Readonly<Record<string, unknown>> & { readonly _id: string }

interface Range {
  readonly table: string
  /** Fields that the index range fixes to a value. Bounds and the number of rows are ignored. */
  readonly fixed: ReadonlyArray<readonly [field: string, value: unknown]>
}

/** What a transaction read and wrote, from which follows whether the commit of one transaction reruns the other. */
export interface Footprint {
  readonly documents: ReadonlySet<string>
  readonly ranges: ReadonlyArray<Range>
  /** The versions of each written row, before and after. */
  readonly writes: ReadonlyMap<string, { readonly table: string; readonly versions: ReadonlyArray<Row> }>
}

const endings = new Set<string | symbol>(["first", "unique", "take", "collect", Symbol.asyncIterator])

/** Runs a transaction, rolls it back and returns its footprint, so that the next one starts from the same state. */
export const footprintOf = async (
  plane: Plane,
  run: (ctx: MutationCtx, accountId: Id<"accounts">) => Promise<unknown>
): Promise<Footprint> => {
  const documents = new Set<string>()
  const ranges: Array<Range> = []
  const writes = new Map<string, { table: string; versions: Array<Row> }>()
  const rollback = new Error("rolled back")
  try {
    await plane.t.run(async (context) => {
      const db = context.db as any
      const write = async (method: string, table: string, id: string, ...rest: ReadonlyArray<unknown>) => {
        const versions = [await db.get(table, id)]
        await db[method](table, id, ...rest)
        versions.push(await db.get(table, id))
        const earlier = writes.get(id)?.versions ?? []
        writes.set(id, { table, versions: [...earlier, ...versions.filter((version) => version !== null)] })
      }
      const followed = (query: any, table: string): any =>
        new Proxy(query, {
          get: (target, name) => {
            if (name === "withIndex") {
              return (index: string, range?: (q: unknown) => unknown) => {
                const fixed: Array<readonly [string, unknown]> = []
                const q: any = {
                  eq: (field: string, value: unknown) => {
                    fixed.push([field, value])
                    return q
                  }
                }
                for (const bound of ["gt", "gte", "lt", "lte"]) q[bound] = () => q
                range?.(q)
                ranges.push({ table, fixed })
                return followed(target.withIndex(index, range), table)
              }
            }
            if (name === "order") return (order: string) => followed(target.order(order), table)
            if (!endings.has(name)) throw new Error(`footprintOf does not follow ${String(name)}.`)
            return target[name].bind(target)
          }
        })
      const recorded = {
        ...Object.fromEntries(
          ["patch", "replace", "delete"].map((method) => [
            method,
            (table: string, id: string, ...rest: ReadonlyArray<unknown>) => write(method, table, id, ...rest)
          ])
        ),
        normalizeId: db.normalizeId.bind(db),
        get: (table: string, id: string) => {
          documents.add(id)
          return db.get(table, id)
        },
        insert: async (table: string, row: object) => {
          const id = await db.insert(table, row)
          writes.set(id, { table, versions: [await db.get(table, id)] })
          return id
        },
        query: (table: string) => followed(db.query(table), table)
      }
      await run({ ...context, db: recorded } as unknown as MutationCtx, plane.accountId as Id<"accounts">)
      throw rollback
    })
  } catch (error) {
    if (error !== rollback) throw error
  }
  return { documents, ranges, writes }
}

const valueAt = (row: Row, field: string): unknown =>
  field.split(".").reduce<unknown>((value, name) => (value as Readonly<Record<string, unknown>>)[name], row)

/** The tables in which a commit of `writer` would rerun `reader`. */
export const conflictsOf = (writer: Footprint, reader: Footprint): Array<string> => {
  const tables = new Set<string>()
  for (const [id, { table, versions }] of writer.writes) {
    const isInRange = reader.ranges.some(
      (range) =>
        range.table === table &&
        versions.some((row) => range.fixed.every(([field, value]) => valueAt(row, field) === value))
    )
    if (isInRange || reader.documents.has(id) || reader.writes.has(id)) tables.add(table)
  }
  return [...tables].toSorted()
}

/** The read intervals of a transaction as a deployment counts them: index ranges, and documents read or written. */
export const intervalsOf = ({ documents, ranges, writes }: Footprint): number =>
  ranges.length + new Set([...documents, ...writes.keys()]).size
