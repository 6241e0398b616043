import { getDocumentSize, jsonToConvex, type Value } from "convex/values"
import { type DatabaseFake, type Page, type PageRequest, type QueryJson, type QueryPlan } from "./convexInternals.ts"
import { type Document } from "./document.ts"
import { type Search, type SearchIndex } from "./searchIndex.ts"
import { type Table } from "./table.ts"
import { type IndexRange, RangeReader, type TableIndex } from "./tableIndex.ts"

/** The store as queries use it. */
export type QueriedStore = {
  readonly table: (name: string) => Table
  /** The running transaction depends on each document of the table that `covers` accepts. */
  readonly addRange: (table: string, covers: (document: Document) => boolean) => void
  readonly countRead: () => void
  /** Receives the size of each document that a query read and filtered out. */
  readonly onFiltered: (bytes: number) => void
}

type Cursor = { readonly next: () => Document | undefined }

type OrderedSource = Exclude<QueryJson["source"], { readonly type: "Search" }>

/** The queries of the plane: each reads only as many documents as its caller asks for. */
export class Queries {
  private readonly store: QueriedStore
  private readonly plan: (query: QueryJson) => QueryPlan
  private readonly encodeCursor: DatabaseFake["_encodeCursor"]
  private readonly cursors = new Map<number, Cursor>()
  private nextCursor = 1

  constructor(database: DatabaseFake, store: QueriedStore) {
    this.store = store
    // The library's planning checks ranges and compiles filters. Without documents it does nothing else.
    const resolve = Reflect.get(database, "_resolveQuerySource") as DatabaseFake["_resolveQuerySource"]
    const planner = { _schema: database._schema, _iterateDocs: () => {} }
    this.plan = (query) => Reflect.apply(resolve, planner, [query]) as QueryPlan
    this.encodeCursor = (document, fields) => database._encodeCursor(document, fields)
  }

  start(query: QueryJson): number {
    const id = this.nextCursor
    this.nextCursor += 1
    this.cursors.set(id, this.open(query))
    return id
  }

  next(id: number): { readonly value: Document | null; readonly done: boolean } {
    const cursor = this.cursors.get(id)
    if (cursor === undefined) throw new Error("Bad queryId")
    const document = cursor.next()
    return document === undefined ? { value: null, done: true } : { value: document, done: false }
  }

  /** Forgets all open queries, which end with their transaction. */
  endAll(): void {
    this.cursors.clear()
  }

  paginate(request: PageRequest): Page {
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
    const { index } = this.ordered(query.source)
    const page: Array<Document> = []
    const read: Array<Document> = []
    let bytes = 0
    let pageStatus: Page["pageStatus"] = null
    let continueCursor = end === undefined ? endOfRange : endCursor!
    const encode = (document: Document): string => this.encodeCursor(document, fields)
    let document = source()
    while (document !== undefined) {
      if (end !== undefined) {
        const toEnd = index.compareToKey(document, end) * (plan.order === "asc" ? 1 : -1)
        if (toEnd > 0) break
      }
      const size = getDocumentSize(document as never)
      read.push(document)
      bytes += size
      this.store.countRead()
      if (plan.filterFn(document)) page.push(document)
      else this.store.onFiltered(size)
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

  private open(query: QueryJson): Cursor {
    const plan = this.plan(query)
    const source = this.source(query, plan)
    let left = plan.limit ?? Infinity
    return {
      next: () => {
        if (left <= 0) return undefined
        for (let document = source(); document !== undefined; document = source()) {
          this.store.countRead()
          if (plan.filterFn(document)) {
            left -= 1
            return document
          }
          this.store.onFiltered(getDocumentSize(document as never))
        }
        return undefined
      }
    }
  }

  private ordered(source: OrderedSource): { readonly name: string; readonly index: TableIndex } {
    const [name, index] =
      source.type === "FullTableScan" ? [source.tableName, "by_creation_time"] : split(source.indexName)
    return { name, index: this.store.table(name).index(index) }
  }

  /** Returns a function that reads the next document before filters, and adds it to what the transaction depends on. */
  private source(
    { source }: QueryJson,
    plan: QueryPlan,
    after?: ReadonlyArray<Value | undefined>
  ): () => Document | undefined {
    if (source.type === "Search") {
      const [name, index] = split(source.indexName)
      const searchIndex = this.store.table(name).searchIndex(index)
      const search = searchOf(source, searchIndex)
      this.store.addRange(name, (document) => searchIndex.matches(document, search))
      const found = searchIndex.find(search)[Symbol.iterator]()
      return () => found.next().value
    }
    const { name, index } = this.ordered(source)
    const range = source.type === "FullTableScan" ? { equal: [] } : rangeOf(source.range)
    const reader = new RangeReader(index, range, plan.order, after)
    this.store.addRange(name, (document) => reader.covers(document))
    return () => reader.next()
  }

  /** Pages of a search: its order is by rank, so the cursor is the number of earlier results. */
  private paginateFound({ query, cursor, pageSize }: PageRequest, plan: QueryPlan): Page {
    const source = this.source(query, plan)
    const start = cursor === null ? 0 : Number(cursor)
    const found: Array<Document> = []
    for (let document = source(); document !== undefined; document = source()) {
      this.store.countRead()
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
}

const endOfRange = "_end_cursor"

const split = (indexName: string): readonly [table: string, index: string] => {
  const [table = "", index = ""] = indexName.split(".")
  return [table, index]
}

/** A value in a query's bound; `{ $undefined: null }` is a missing field. */
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
