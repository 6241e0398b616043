import { CommitTsPlaceholder, getDocumentSize, jsonToConvex, type Value } from "convex/values"
import { type DatabaseFake, type Page, type PageRequest, type QueryJson, type QueryPlan } from "./convexInternals.ts"
import { type Document, tableOf } from "./document.ts"
import { checkStorable } from "./documentLimits.ts"
import { type Search, SearchIndex } from "./searchIndex.ts"
import { type IndexRange, RangeReader, TableIndex } from "./tableIndex.ts"

/** What a transaction did to one document. */
export type Change = {
  readonly id: string
  readonly table: string
  readonly before: Document | null
  after: Document | null
}

/** What a transaction read: enough to say whether a later commit would have changed it. */
export class ReadSet {
  readonly ids = new Set<string>()
  private readonly ranges = new Map<string, Array<(document: Document) => boolean>>()

  addRange(table: string, covers: (document: Document) => boolean): void {
    const known = this.ranges.get(table)
    if (known === undefined) this.ranges.set(table, [covers])
    else known.push(covers)
  }

  isTouchedBy(changes: ReadonlyArray<Change>): boolean {
    return changes.some(
      ({ id, table, before, after }) =>
        this.ids.has(id) ||
        (this.ranges
          .get(table)
          ?.some((covers) => (before !== null && covers(before)) || (after !== null && covers(after))) ??
          false)
    )
  }
}

/** Counts of one transaction, for the statistics. */
export type Usage = { documentsRead: number; documentsWritten: number }

type Table = {
  readonly documents: Map<string, Document>
  readonly byCreation: TableIndex
  readonly byId: TableIndex
  readonly indexes: ReadonlyMap<string, TableIndex>
  readonly searchIndexes: ReadonlyMap<string, SearchIndex>
}

type Cursor = { readonly next: () => Document | undefined }

const systemTables = new Set(["_scheduled_functions", "_storage"])

/**
 * The documents of the plane, in place of convex-test's own store: written in place with an undo list per transaction, so
 * that reads never merge pending writes, and kept in a sorted structure per declared index, so that a range costs its
 * result and not its table.
 */
export class Store {
  /** What the running transaction has read; the engine puts a fresh one there for each. */
  reads: ReadSet = new ReadSet()
  usage: Usage = { documentsRead: 0, documentsWritten: 0 }
  private readonly database: DatabaseFake
  private readonly plan: (query: QueryJson) => QueryPlan
  private readonly onFiltered: (bytes: number) => void
  private readonly tables = new Map<string, Table>()
  private levels: Array<Array<Change>> = []
  /** A stale snapshot is being read, on which the transaction does not depend. */
  private isStale = false
  private readonly cursors = new Map<number, Cursor>()
  private nextCursor = 1

  /** Takes over a convex-test store; `onFiltered` hears the size of each document read and then filtered out. */
  constructor(database: DatabaseFake, onFiltered: (bytes: number) => void) {
    this.database = database
    this.onFiltered = onFiltered
    // The library's own planning checks ranges and compiles filters; given no documents it does nothing else.
    const resolve = Reflect.get(database, "_resolveQuerySource") as DatabaseFake["_resolveQuerySource"]
    const validate = Reflect.get(database, "_validate") as DatabaseFake["_validate"]
    const planner = { _schema: database._schema, _iterateDocs: () => {} }
    this.plan = (query) => Reflect.apply(resolve, planner, [query]) as QueryPlan
    Object.assign(database, {
      startTransaction: () => this.startTransaction(),
      get: (table: string | undefined, id: string) => this.get(table, id),
      _addWrite: (id: string, document: Document | null) => this.write(id, document),
      commit: () => this.commit(),
      rollbackWrites: () => this.rollback(),
      stashWrites: () => this.stash(),
      restoreWrites: (stashed: Array<Array<Change>>) => this.restore(stashed),
      startQuery: (query: QueryJson) => this.startQuery(query),
      queryNext: (id: number) => this.queryNext(id),
      paginate: (request: PageRequest) => this.paginate(request),
      _validate(this: unknown, ...document: Parameters<DatabaseFake["_validate"]>) {
        withoutStacks(() => Reflect.apply(validate, this, document))
      },
      _iterateDocs: (table: string, callback: (document: Document) => void) => {
        for (const document of this.table(table).documents.values()) callback(document)
      }
    })
  }

  /** Puts documents back as they were, without a transaction; each table is sorted once. */
  load(documents: Iterable<Document>): void {
    const byTable = Map.groupBy(documents, (document) => tableOf(document._id) ?? "")
    for (const [name, rows] of byTable) {
      const table = this.table(name)
      for (const row of rows) table.documents.set(row._id, row)
      for (const index of orderedIndexes(table)) index.documents.fill(rows)
      for (const index of table.searchIndexes.values()) for (const row of rows) index.insert(row)
    }
  }

  /** How many documents each table holds. */
  counts(): Record<string, number> {
    return Object.fromEntries([...this.tables].map(([name, table]) => [name, table.documents.size]))
  }

  /** All documents of a table as they are, whatever transaction runs. */
  *all(table: string): Iterable<Document> {
    yield* this.table(table).documents.values()
  }

  peek(id: string): Document | null {
    const table = tableOf(id)
    return table === null ? null : (this.table(table).documents.get(id) ?? null)
  }

  /** The changes the innermost open transaction would commit, one per document, final values. */
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
    if (level === undefined) throw new Error(`Write outside of transaction ${id}`)
    const table = tableOf(id)
    if (table === null) throw new Error(`Not an id: ${id}`)
    if (document !== null) {
      this.checkTable(table)
      checkStorable(document)
    }
    const change = { id, table, before: this.peek(id), after: document }
    level.push(change)
    this.usage.documentsWritten += 1
    this.put(change.id, table, change.before, document)
  }

  private checkTable(name: string): void {
    const schema = this.database._schema
    if (schema === null || !schema.schemaValidation || schema.tables.has(name) || systemTables.has(name)) return
    throw new Error(`Table "${name}" is not declared in the schema`)
  }

  private put(id: string, name: string, before: Document | null, after: Document | null): void {
    const table = this.table(name)
    if (before !== null) {
      for (const index of orderedIndexes(table)) index.documents.remove(before)
      for (const index of table.searchIndexes.values()) index.remove(before)
    }
    if (after === null) {
      table.documents.delete(id)
      return
    }
    table.documents.set(id, after)
    for (const index of orderedIndexes(table)) index.documents.insert(after)
    for (const index of table.searchIndexes.values()) index.insert(after)
  }

  /** Gives `commitTs` values the timestamp the transaction is about to commit at. */
  settle(timestamp: bigint): void {
    for (const { id, table, after } of this.changes()) {
      if (after === null || !holdsCommitTimestamp(after)) continue
      const settled = withCommitTimestamp(after, timestamp) as Document
      this.levels.at(-1)?.push({ id, table, before: after, after: settled })
      this.put(id, table, after, settled)
    }
  }

  private commit(): void {
    const level = this.levels.pop()
    if (level === undefined) throw new Error("Transaction already committed or rolled back")
    this.levels.at(-1)?.push(...level)
    this.cursorsEnd()
  }

  private rollback(): void {
    const level = this.levels.pop()
    if (level === undefined) throw new Error("Transaction already committed or rolled back")
    this.undo(level)
    this.cursorsEnd()
  }

  private undo(level: ReadonlyArray<Change>): void {
    for (const { id, table, before, after } of level.toReversed()) this.put(id, table, after, before)
  }

  private stash(): Array<Array<Change>> {
    const stashed = this.levels
    this.levels = []
    this.isStale = true
    for (const level of stashed.toReversed()) this.undo(level)
    return stashed
  }

  private restore(stashed: Array<Array<Change>>): void {
    for (const level of stashed) for (const { id, table, before, after } of level) this.put(id, table, before, after)
    this.levels = stashed
    this.isStale = false
  }

  private cursorsEnd(): void {
    if (this.levels.length === 0 && !this.isStale) this.cursors.clear()
  }

  private startQuery(query: QueryJson): number {
    const id = this.nextCursor
    this.nextCursor += 1
    this.cursors.set(id, this.open(query))
    return id
  }

  private queryNext(id: number): { readonly value: Document | null; readonly done: boolean } {
    const cursor = this.cursors.get(id)
    if (cursor === undefined) throw new Error("Bad queryId")
    const document = cursor.next()
    return document === undefined ? { value: null, done: true } : { value: document, done: false }
  }

  private open(query: QueryJson): Cursor {
    const plan = this.plan(query)
    const source = this.source(query, plan)
    let left = plan.limit ?? Infinity
    return {
      next: () => {
        if (left <= 0) return undefined
        for (let document = source(); document !== undefined; document = source()) {
          this.usage.documentsRead += 1
          if (plan.filterFn(document)) {
            left -= 1
            return document
          }
          this.onFiltered(getDocumentSize(document as never))
        }
        return undefined
      }
    }
  }

  /** The documents of a query before its filters, one by one, each reading noted. */
  private source(
    { source }: QueryJson,
    plan: QueryPlan,
    after?: ReadonlyArray<Value | undefined>
  ): () => Document | undefined {
    if (source.type === "Search") {
      const [name, index] = split(source.indexName)
      const table = this.table(name)
      const searchIndex = table.searchIndexes.get(index)
      if (searchIndex === undefined) throw new Error(`Search index "${index}" of table "${name}" is not declared`)
      const search = searchOf(source, searchIndex)
      if (!this.isStale) this.reads.addRange(name, (document) => searchIndex.matches(document, search))
      const found = searchIndex.find(search)[Symbol.iterator]()
      return () => found.next().value
    }
    const [name, indexName] =
      source.type === "FullTableScan" ? [source.tableName, "by_creation_time"] : split(source.indexName)
    const index = this.index(name, indexName)
    const range = source.type === "FullTableScan" ? { equal: [] } : rangeOf(source.range)
    const reader = new RangeReader(index, range, plan.order, after)
    if (!this.isStale) this.reads.addRange(name, (document) => reader.covers(document))
    return () => reader.next()
  }

  private paginate(request: PageRequest): Page {
    const { query, cursor, endCursor, pageSize } = request
    const plan = this.plan(query)
    const fields = plan.fieldPathsToSortBy.includes("_id")
      ? plan.fieldPathsToSortBy
      : [...plan.fieldPathsToSortBy, "_id"]
    if (cursor === endOfRange)
      return { page: [], isDone: true, continueCursor: endOfRange, splitCursor: null, pageStatus: null }
    if (query.source.type === "Search") return this.paginateFound(request, plan)
    const source = this.source(query, plan, cursor === null ? undefined : keyOf(cursor))
    const end = endCursor === undefined || endCursor === null || endCursor === endOfRange ? undefined : keyOf(endCursor)
    const [name, indexName] =
      query.source.type === "FullTableScan"
        ? [query.source.tableName, "by_creation_time"]
        : split(query.source.indexName)
    const index = this.index(name, indexName)
    const page: Array<Document> = []
    const read: Array<Document> = []
    let bytes = 0
    let pageStatus: Page["pageStatus"] = null
    let continueCursor = end === undefined ? endOfRange : endCursor!
    const encode = (document: Document): string => this.database._encodeCursor(document, fields)
    let document = source()
    while (document !== undefined) {
      if (end !== undefined) {
        const toEnd = index.compareToKey(document, end) * (plan.order === "asc" ? 1 : -1)
        if (toEnd > 0) break
      }
      const size = getDocumentSize(document as never)
      read.push(document)
      bytes += size
      this.usage.documentsRead += 1
      if (plan.filterFn(document)) page.push(document)
      else this.onFiltered(size)
      if (read.length >= (request.maximumRowsRead ?? Infinity) || bytes >= (request.maximumBytesRead ?? Infinity)) {
        pageStatus = "SplitRequired"
        continueCursor = encode(document)
        break
      }
      const last = document
      const isFull = end === undefined && endCursor !== endOfRange && page.length >= pageSize
      document = source()
      if (isFull && document !== undefined) {
        continueCursor = encode(last)
        break
      }
    }
    if (pageStatus === null && read.length > pageSize + 1) pageStatus = "SplitRecommended"
    return {
      page,
      isDone: continueCursor === endOfRange,
      continueCursor,
      splitCursor: pageStatus === null || read.length < 2 ? null : encode(read[Math.floor((read.length - 1) / 2)]!),
      pageStatus
    }
  }

  /** Pages of a search: its order is by rank, so the cursor is how many results came before. */
  private paginateFound({ query, cursor, pageSize }: PageRequest, plan: QueryPlan): Page {
    const source = this.source(query, plan)
    const start = cursor === null ? 0 : Number(cursor)
    const found: Array<Document> = []
    for (let document = source(); document !== undefined; document = source()) {
      this.usage.documentsRead += 1
      if (plan.filterFn(document)) found.push(document)
    }
    const page = found.slice(start, start + pageSize)
    const isDone = start + pageSize >= found.length
    return {
      page,
      isDone,
      continueCursor: isDone ? endOfRange : String(start + pageSize),
      splitCursor: null,
      pageStatus: null
    }
  }

  private index(table: string, name: string): TableIndex {
    const { byCreation, byId, indexes } = this.table(table)
    const index = name === "by_creation_time" ? byCreation : name === "by_id" ? byId : indexes.get(name)
    if (index === undefined) throw new Error(`Index "${name}" of table "${table}" is not declared`)
    return index
  }

  private table(name: string): Table {
    const known = this.tables.get(name)
    if (known !== undefined) return known
    const schema = this.database._schema?.tables.get(name)
    const table: Table = {
      documents: new Map(),
      byCreation: new TableIndex("by_creation_time", ["_creationTime", "_id"]),
      byId: new TableIndex("by_id", ["_id"]),
      indexes: new Map(
        (schema?.indexes ?? []).map(({ indexDescriptor, fields }) => [
          indexDescriptor,
          new TableIndex(indexDescriptor, [...fields, "_creationTime", "_id"])
        ])
      ),
      searchIndexes: new Map(
        (schema?.searchIndexes ?? []).map(({ indexDescriptor, searchField, filterFields }) => [
          indexDescriptor,
          new SearchIndex(indexDescriptor, searchField, filterFields)
        ])
      )
    }
    this.tables.set(name, table)
    return table
  }
}

/**
 * Runs the library's validation, which tries the members of a union one after another and throws at each that does not
 * fit. The stacks of those errors, which nobody sees, were a sixth of the plane's processor time. The one that comes out
 * gets its stack here.
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

const endOfRange = "_end_cursor"

const orderedIndexes = (table: Table): ReadonlyArray<TableIndex> => [
  table.byCreation,
  table.byId,
  ...table.indexes.values()
]

const split = (indexName: string): readonly [table: string, index: string] => {
  const [table = "", index = ""] = indexName.split(".")
  return [table, index]
}

/** A value in a query's bound; `{ $undefined: null }` stands for a missing field. */
const boundValue = (json: unknown): Value | undefined =>
  typeof json === "object" && json !== null && "$undefined" in json ? undefined : jsonToConvex(json as never)

const rangeOf = (range: Extract<QueryJson["source"], { type: "IndexRange" }>["range"]): IndexRange => {
  const equal: Array<Value | undefined> = []
  let lower: IndexRange["lower"]
  let upper: IndexRange["upper"]
  for (const { type, value } of range) {
    const bound = boundValue(value)
    if (type === "Eq") equal.push(bound)
    else if (type === "Gt" || type === "Gte") lower = { value: bound, inclusive: type === "Gte" }
    else upper = { value: bound, inclusive: type === "Lte" }
  }
  return { equal, lower, upper }
}

const searchOf = (source: Extract<QueryJson["source"], { type: "Search" }>, index: SearchIndex): Search => {
  const words: Array<string> = []
  const equal: Array<Search["equal"][number]> = []
  for (const filter of source.filters) {
    if (filter.type === "Search") {
      if (filter.fieldPath !== index.searchField.join(".")) {
        throw new Error(
          `Search index "${index.name}" searches "${index.searchField.join(".")}", not "${filter.fieldPath}"`
        )
      }
      words.push(filter.value)
    } else {
      if (!index.filterFields.has(filter.fieldPath)) {
        throw new Error(`Search index "${index.name}" has no filter field "${filter.fieldPath}"`)
      }
      equal.push({ field: filter.fieldPath.split("."), value: boundValue(filter.value) })
    }
  }
  return { words: words.join(" "), equal }
}

const keyOf = (cursor: string): ReadonlyArray<Value | undefined> =>
  (JSON.parse(cursor) as ReadonlyArray<string | null>).map((key) =>
    key === null ? undefined : jsonToConvex(JSON.parse(key) as never)
  )

const holdsCommitTimestamp = (value: unknown): boolean =>
  value instanceof CommitTsPlaceholder ||
  (typeof value === "object" &&
    value !== null &&
    !(value instanceof ArrayBuffer) &&
    Object.values(value).some(holdsCommitTimestamp))

const withCommitTimestamp = (value: unknown, timestamp: bigint): unknown => {
  if (!holdsCommitTimestamp(value)) return value
  if (value instanceof CommitTsPlaceholder) return timestamp
  if (Array.isArray(value)) return value.map((item) => withCommitTimestamp(item, timestamp))
  return Object.fromEntries(
    Object.entries(value as object).map(([field, item]) => [field, withCommitTimestamp(item, timestamp)])
  )
}
