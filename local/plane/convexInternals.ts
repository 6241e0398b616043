import { AsyncLocalStorage } from "node:async_hooks"
import { type TestConvex } from "convex-test"
import { type JSONValue, type Value } from "convex/values"
import { type Document } from "./document.ts"

/** A query as Convex's query builder sends it. */
export type QueryJson = {
  readonly source:
    | { readonly type: "FullTableScan"; readonly tableName: string; readonly order: "asc" | "desc" | null }
    | {
        readonly type: "IndexRange"
        readonly indexName: string
        readonly order: "asc" | "desc" | null
        readonly range: ReadonlyArray<{
          readonly type: "Eq" | "Gt" | "Gte" | "Lt" | "Lte"
          readonly fieldPath: string
          readonly value: JSONValue
        }>
      }
    | {
        readonly type: "Search"
        readonly indexName: string
        readonly filters: ReadonlyArray<
          | { readonly type: "Search"; readonly fieldPath: string; readonly value: string }
          | { readonly type: "Eq"; readonly fieldPath: string; readonly value: JSONValue }
        >
      }
  readonly operators: ReadonlyArray<Record<string, JSONValue>>
}

/** convex-test's plan of a query, without its documents. */
export type QueryPlan = {
  readonly filterFn: (document: Document) => boolean
  readonly limit: number | null
  readonly fieldPathsToSortBy: ReadonlyArray<string>
  readonly order: "asc" | "desc"
}

/** One page of a paginated query. */
export type Page = {
  readonly page: ReadonlyArray<Document>
  readonly isDone: boolean
  readonly continueCursor: string
  readonly splitCursor: string | null
  readonly pageStatus: "SplitRequired" | "SplitRecommended" | null
}

/** The request for a page of a paginated query. */
export type PageRequest = {
  readonly query: QueryJson
  readonly cursor: string | null
  readonly endCursor?: string | null
  readonly pageSize: number
  readonly maximumRowsRead?: number
  readonly maximumBytesRead?: number
}

/** A table as the schema declares it. */
export type TableSchema = {
  readonly indexes: ReadonlyArray<{ readonly indexDescriptor: string; readonly fields: ReadonlyArray<string> }>
  readonly stagedDbIndexes?: ReadonlyArray<{ readonly indexDescriptor: string; readonly fields: ReadonlyArray<string> }>
  readonly searchIndexes: ReadonlyArray<{
    readonly indexDescriptor: string
    readonly searchField: string
    readonly filterFields: ReadonlyArray<string>
  }>
  readonly documentType: JSONValue
}

/** The part of convex-test's document store that the plane replaces or calls. */
export type DatabaseFake = {
  _schema: { readonly schemaValidation: boolean; readonly tables: ReadonlyMap<string, TableSchema> } | null
  _nextDocId: number
  _lastCreationTime: number
  startTransaction(): void
  get(table: string | undefined, id: string): Document | null
  insert(table: string, value: Record<string, Value | undefined>): string
  patch(table: string | undefined, id: string, value: Record<string, JSONValue>): void
  commit(timestamp: bigint | null): void
  rollbackWrites(): void
  stashWrites(): unknown
  restoreWrites(stashed: unknown): void
  startQuery(query: QueryJson): number
  queryNext(id: number): { readonly value: Document | null; readonly done: boolean }
  paginate(request: PageRequest): Page
  _addWrite(id: string, document: Document | null): void
  _iterateDocs(table: string, callback: (document: Document) => void): void
  _resolveQuerySource(query: QueryJson): QueryPlan
  _encodeCursor(document: Document, fields: ReadonlyArray<string>): string
  _validate(table: string, document: Record<string, Value | undefined>): void
  _validateId(table: string | undefined, id: unknown): void
  _generateId(table: string): string
}

/** What convex-test counts and limits in a transaction. */
export type TransactionMetrics = {
  bytesRead: number
  bytesWritten: number
  documentsRead: number
  documentsWritten: number
  /** Read intervals; or index ranges, if `countReadIntervals` was not called. */
  databaseQueries: number
}

type MetricsLayer = {
  readonly metrics: TransactionMetrics
  readonly limits: TransactionMetrics
  readonly enforce: boolean
}

type MetricsTracker = {
  trackRead(bytes: number): void
  trackIndexRange: () => void
  trackScheduledFunction(bytes: number): void
  commit(): void
  /** The innermost open transaction. The outermost one's object exists beyond its end. */
  _current(): MetricsLayer | undefined
}

/** convex-test's transactions: one at a time, with nested ones inside it. */
export type TransactionManager = {
  _lastCommitTs: bigint
  begin(isNested: boolean, limits?: unknown): Promise<void>
  commit(isNested: boolean): bigint | null
  rollback(isNested: boolean): void
  /** Hides the writes of the open transaction, for a read of a stale snapshot. */
  stashWrites(): unknown
  restoreWrites(stashed: unknown): void
  _endTransaction(isNested: boolean): void
  getMetricsTracker(): MetricsTracker | null
}

/** convex-test's state behind `globalThis.Convex`. */
export type ConvexGlobal = {
  readonly components: Record<string, { readonly db: DatabaseFake }>
  readonly transactionManager: TransactionManager
  asyncSyscall: (operation: string, args: string) => Promise<string>
}

const requiredOfStore = [
  "startTransaction",
  "get",
  "insert",
  "patch",
  "commit",
  "rollbackWrites",
  "stashWrites",
  "restoreWrites",
  "startQuery",
  "queryNext",
  "paginate",
  "_addWrite",
  "_iterateDocs",
  "_resolveQuerySource",
  "_encodeCursor",
  "_validate",
  "_validateId",
  "_generateId",
  "_schema",
  "_nextDocId",
  "_lastCreationTime"
]

const requiredOfTransactions = [
  "begin",
  "commit",
  "rollback",
  "stashWrites",
  "restoreWrites",
  "_endTransaction",
  "getMetricsTracker",
  "_lastCommitTs",
  "_waitOnCurrentFunction",
  "_metricsTracker"
]

const isConvexGlobal = (store: unknown): store is ConvexGlobal =>
  typeof store === "object" &&
  store !== null &&
  "components" in store &&
  "transactionManager" in store &&
  "asyncSyscall" in store

const missingFrom = (owner: string, object: object, names: ReadonlyArray<string>): ReadonlyArray<string> =>
  names.filter((name) => !(name in object)).map((name) => `${owner}.${name}`)

/**
 * The internal state of a convex-test instance. No function returns it, so this takes it where the library passes it to
 * its AsyncLocalStorage. Throws one line that names every missing private name, so that an incompatible release of the
 * library fails at the start.
 */
export const internalsOf = (test: TestConvex<never>): ConvexGlobal => {
  // eslint-disable-next-line typescript/unbound-method -- Called with its own receiver below.
  const original = AsyncLocalStorage.prototype.run
  let found: ConvexGlobal | undefined
  AsyncLocalStorage.prototype.run = function (
    this: AsyncLocalStorage<unknown>,
    store: unknown,
    ...rest: ReadonlyArray<never>
  ) {
    if (isConvexGlobal(store)) found ??= store
    return Reflect.apply(original, this, [store, ...rest]) as never
  } as typeof original
  try {
    void test.finishInProgressScheduledFunctions()
  } finally {
    AsyncLocalStorage.prototype.run = original
  }
  if (found === undefined) throw new Error("this release of convex-test cannot be embedded: its state was not found")
  const database = found.components[""]?.db
  const missing =
    database === undefined
      ? ["components[''].db"]
      : [
          ...missingFrom("DatabaseFake", database, requiredOfStore),
          ...missingFrom("TransactionManager", found.transactionManager, requiredOfTransactions)
        ]
  if (missing.length > 0) {
    throw new Error(`this release of convex-test cannot be embedded: it has no ${missing.join(", ")}`)
  }
  return found
}
