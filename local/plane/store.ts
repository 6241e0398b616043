import { holdsCommitTimestamp, withCommitTimestamp } from "./commitTimestamp.ts"
import { type DatabaseFake, type PageRequest, type QueryJson } from "./convexInternals.ts"
import { type Document, tableOf } from "./document.ts"
import { checkStorable } from "./documentLimits.ts"
import { Queries } from "./queries.ts"
import { type Change, ReadSet } from "./readSet.ts"
import { Table } from "./table.ts"

/** Counts of one transaction, for the statistics. */
export type Usage = { documentsRead: number; documentsWritten: number }

const systemTables = new Set(["_scheduled_functions", "_storage"])

/**
 * The documents of the plane, instead of convex-test's own store. Writes are made in place, with an undo list per
 * transaction, so that reads never merge pending writes. Each declared index is a sorted structure, so that a range
 * costs as much as its result, not as its table.
 */
export class Store {
  /** The reads of the running transaction; the engine sets a new one for each. */
  reads: ReadSet = new ReadSet()
  usage: Usage = { documentsRead: 0, documentsWritten: 0 }
  private readonly database: DatabaseFake
  private readonly queries: Queries
  private readonly tables = new Map<string, Table>()
  private levels: Array<Array<Change>> = []
  /** The transaction reads a stale snapshot, on which it does not depend. */
  private isStale = false

  /**
   * Replaces the methods of a convex-test store. `onFiltered` is called with the size of each document that is read and
   * then filtered out.
   */
  constructor(database: DatabaseFake, onFiltered: (bytes: number) => void) {
    this.database = database
    this.queries = new Queries(database, {
      table: (name) => this.table(name),
      addRange: (table, covers) => {
        if (!this.isStale) this.reads.addRange(table, covers)
      },
      countRead: () => {
        this.usage.documentsRead += 1
      },
      onFiltered
    })
    const validate = Reflect.get(database, "_validate") as DatabaseFake["_validate"]
    Object.assign(database, {
      startTransaction: () => this.startTransaction(),
      get: (table: string | undefined, id: string) => this.get(table, id),
      _addWrite: (id: string, document: Document | null) => this.write(id, document),
      commit: () => this.commit(),
      rollbackWrites: () => this.rollback(),
      stashWrites: () => this.stash(),
      restoreWrites: (stashed: Array<Array<Change>>) => this.restore(stashed),
      startQuery: (query: QueryJson) => this.queries.start(query),
      queryNext: (id: number) => this.queries.next(id),
      paginate: (request: PageRequest) => this.queries.paginate(request),
      _validate(this: unknown, ...document: Parameters<DatabaseFake["_validate"]>) {
        withoutStacks(() => Reflect.apply(validate, this, document))
      },
      _iterateDocs: (table: string, callback: (document: Document) => void) => {
        for (const document of this.table(table).documents.values()) callback(document)
      }
    })
  }

  /** Restores documents without a transaction; each table is sorted once. */
  load(documents: Iterable<Document>): void {
    const byTable = Map.groupBy(documents, (document) => tableOf(document._id) ?? "")
    for (const [name, rows] of byTable) this.table(name).load(rows)
  }

  /** How many documents each table holds. */
  counts(): Record<string, number> {
    return Object.fromEntries([...this.tables].map(([name, table]) => [name, table.documents.size]))
  }

  /** All current documents of a table, including uncommitted writes. */
  *all(table: string): Iterable<Document> {
    yield* this.table(table).documents.values()
  }

  peek(id: string): Document | null {
    const table = tableOf(id)
    return table === null ? null : (this.table(table).documents.get(id) ?? null)
  }

  /** The changes that the innermost open transaction would commit: one per document, with final values. */
  changes(): ReadonlyArray<Change> {
    const byId = new Map<string, Change>()
    for (const change of this.levels.at(-1) ?? []) {
      const earlier = byId.get(change.id)
      if (earlier === undefined) byId.set(change.id, { ...change })
      else earlier.after = change.after
    }
    return [...byId.values()].filter(({ before, after }) => before !== null || after !== null)
  }

  private startTransaction(): void {
    this.levels.push([])
  }

  private get(table: string | undefined, id: string): Document | null {
    this.database._validateId(table, id)
    if (!this.isStale) this.reads.ids.add(id)
    return this.peek(id)
  }

  private write(id: string, document: Document | null): void {
    const level = this.levels.at(-1)
    if (level === undefined) throw new Error(`Write of ${id} outside any transaction`)
    const table = tableOf(id)
    if (table === null) throw new Error(`Not an id: ${id}`)
    if (document !== null) {
      this.checkTable(table)
      checkStorable(document)
    }
    const change = { id, table, before: this.peek(id), after: document }
    level.push(change)
    this.usage.documentsWritten += 1
    this.table(table).put(id, change.before, document)
  }

  private checkTable(name: string): void {
    const schema = this.database._schema
    if (schema === null || !schema.schemaValidation || schema.tables.has(name) || systemTables.has(name)) return
    throw new Error(`Table "${name}" is not declared in the schema`)
  }

  /** Replaces `commitTs` placeholders with the timestamp of the coming commit. */
  settle(timestamp: bigint): void {
    for (const { id, table, after } of this.changes()) {
      if (after === null || !holdsCommitTimestamp(after)) continue
      const settled = withCommitTimestamp(after, timestamp) as Document
      this.levels.at(-1)?.push({ id, table, before: after, after: settled })
      this.table(table).put(id, after, settled)
    }
  }

  private commit(): void {
    const level = this.levels.pop()
    if (level === undefined) throw new Error("Transaction already committed or rolled back")
    this.levels.at(-1)?.push(...level)
    this.endQueries()
  }

  private rollback(): void {
    const level = this.levels.pop()
    if (level === undefined) throw new Error("Transaction already committed or rolled back")
    this.undo(level)
    this.endQueries()
  }

  private undo(level: ReadonlyArray<Change>): void {
    for (const { id, table, before, after } of level.toReversed()) this.table(table).put(id, after, before)
  }

  private stash(): Array<Array<Change>> {
    const stashed = this.levels
    this.levels = []
    this.isStale = true
    for (const level of stashed.toReversed()) this.undo(level)
    return stashed
  }

  private restore(stashed: Array<Array<Change>>): void {
    for (const level of stashed)
      for (const { id, table, before, after } of level) this.table(table).put(id, before, after)
    this.levels = stashed
    this.isStale = false
  }

  private endQueries(): void {
    if (this.levels.length === 0 && !this.isStale) this.queries.endAll()
  }

  private table(name: string): Table {
    const known = this.tables.get(name)
    if (known !== undefined) return known
    const table = new Table(name, this.database._schema?.tables.get(name))
    this.tables.set(name, table)
    return table
  }
}

/**
 * Runs the library's validation, which tries the members of a union one after another and throws an error for each that
 * does not match. The unused stacks of those errors took a sixth of the plane's processor time. Only the error that
 * leaves the validation gets a stack.
 */
const withoutStacks = (validation: () => void): void => {
  const { stackTraceLimit } = Error
  let thrown: unknown
  Error.stackTraceLimit = 0
  try {
    validation()
    return
  } catch (error) {
    thrown = error
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
  if (thrown instanceof Error) Error.captureStackTrace(thrown, withoutStacks)
  throw thrown
}
