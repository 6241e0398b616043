import { type ConvexGlobal, type TransactionMetrics } from "./convexInternals.ts"

/** Maximum number of read intervals of one transaction in a deployment. */
export const maximumReadIntervals = 4_096

const help =
  "Consider using smaller limits in your queries, paginating your queries, or using indexed queries with a selective index range expressions."

/**
 * Replaces convex-test's count of index ranges by the backend's count of read intervals, including the limit. An
 * interval is an index range, or a document that a `get`, patch, replace or delete touches; each distinct one counts
 * once. Not counted: searches, documents that the transaction itself inserted, and reads of a stale snapshot. The
 * backend also merges ranges that overlap, so this count is an upper bound.
 *
 * Needs `transactionLimits: true`. `ctx.meta.getTransactionMetrics()` reports the count as `databaseQueries`. Returns a
 * function that gives the metrics of the latest transaction, undefined before the first.
 */
export const countReadIntervals = ({
  components,
  transactionManager
}: ConvexGlobal): (() => TransactionMetrics | undefined) => {
  const database = components[""]!.db
  const seen = new Set<string>()
  let isStale = false
  /** The library's own store reads every document of a table to evaluate a query. */
  let isEvaluating = false
  let root: { readonly metrics: TransactionMetrics } | undefined

  const note = (interval: string): void => {
    if (isStale || isEvaluating || seen.has(interval)) return
    seen.add(interval)
    const layer = transactionManager.getMetricsTracker()?._current()
    if (layer === undefined) return
    layer.metrics.databaseQueries += 1
    const limit = layer.limits.databaseQueries
    if (layer.enforce && layer.metrics.databaseQueries > limit) {
      throw new Error(`Too many reads in a single function execution (limit: ${limit}). ${help}`)
    }
  }

  const evaluate = <A>(work: () => A): A => {
    isEvaluating = true
    try {
      return work()
    } finally {
      isEvaluating = false
    }
  }

  const begin = transactionManager.begin.bind(transactionManager)
  const stash = transactionManager.stashWrites.bind(transactionManager)
  const restore = transactionManager.restoreWrites.bind(transactionManager)
  Object.assign(transactionManager, {
    begin: async (isNested: boolean, limits?: unknown) => {
      await begin(isNested, limits)
      if (isNested) return
      seen.clear()
      const tracker = transactionManager.getMetricsTracker()
      if (tracker === null) return
      tracker.trackIndexRange = () => {}
      root = tracker._current()
    },
    stashWrites: () => {
      isStale = true
      return stash()
    },
    restoreWrites: (stashed: unknown) => {
      isStale = false
      restore(stashed)
    }
  } satisfies Partial<typeof transactionManager>)

  const get = database.get.bind(database)
  const insert = database.insert.bind(database)
  const startQuery = database.startQuery.bind(database)
  const paginate = database.paginate.bind(database)
  Object.assign(database, {
    get: (table, id) => {
      const document = get(table, id)
      note(id)
      return document
    },
    insert: (table, value) => {
      const id = insert(table, value)
      seen.add(id)
      return id
    },
    startQuery: (query) => {
      if (query.source.type !== "Search") note(JSON.stringify(query.source))
      return evaluate(() => startQuery(query))
    },
    paginate: (request) => {
      if (request.query.source.type !== "Search") note(JSON.stringify([request.query.source, request.cursor]))
      return evaluate(() => paginate(request))
    }
  } satisfies Partial<typeof database>)

  return () => root?.metrics
}
