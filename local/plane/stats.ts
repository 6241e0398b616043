/** One transaction's use of a deployment's limits. */
export type TransactionUsage = {
  readonly readIntervals: number
  readonly documentsRead: number
  readonly documentsWritten: number
  readonly bytesRead: number
  readonly bytesWritten: number
}

/** The values of one measure over a function's transactions. */
export type Spread = { last: number; max: number; total: number }

/** The origin of a call. */
export type Origin = "client" | "subscription" | "scheduled" | "cron" | "action"

/** The calls of one function since the last reset. */
export type FunctionStats = {
  calls: number
  /** The same calls by origin. */
  readonly byOrigin: Record<Origin, number>
  errors: number
  /** Runs that lost a conflict and were retried. */
  conflicts: number
  /** Runs after a conflict. */
  retries: number
  /** Mutations that failed with 503 after too many conflicts. */
  givenUp: number
  documentsRead: number
  documentsWritten: number
  /** The use of limits by its transactions: the last one, the largest one, and the total. */
  readonly usage: Readonly<Record<keyof TransactionUsage, Spread>>
  /** Duration in milliseconds, including waits for other transactions. */
  milliseconds: number
}

/** Counts of calls and documents per function, as a deployment's bill and dashboard show them. */
export class Stats {
  private functions = new Map<string, FunctionStats>()

  record(
    path: string,
    origin: Origin,
    run: {
      readonly usage: TransactionUsage
      readonly failed: boolean
      readonly conflicts: number
      readonly retries: number
      readonly milliseconds: number
    }
  ): void {
    const stats = this.of(path)
    stats.calls += 1
    stats.byOrigin[origin] += 1
    stats.errors += run.failed ? 1 : 0
    stats.conflicts += run.conflicts
    stats.retries += run.retries
    stats.givenUp += run.conflicts > run.retries ? 1 : 0
    stats.documentsRead += run.usage.documentsRead
    stats.documentsWritten += run.usage.documentsWritten
    for (const measure of measures) {
      const spread = stats.usage[measure]
      spread.last = run.usage[measure]
      spread.max = Math.max(spread.max, spread.last)
      spread.total += spread.last
    }
    stats.milliseconds += run.milliseconds
  }

  reset(): void {
    this.functions = new Map()
  }

  /** All functions that ran, and the sum of their calls. */
  report(): { readonly calls: number; readonly functions: Record<string, FunctionStats> } {
    return {
      calls: [...this.functions.values()].reduce((sum, { calls }) => sum + calls, 0),
      functions: Object.fromEntries([...this.functions].toSorted(([a], [b]) => (a < b ? -1 : 1)))
    }
  }

  private of(path: string): FunctionStats {
    const known = this.functions.get(path)
    if (known !== undefined) return known
    const stats: FunctionStats = {
      calls: 0,
      byOrigin: { client: 0, subscription: 0, scheduled: 0, cron: 0, action: 0 },
      errors: 0,
      conflicts: 0,
      retries: 0,
      givenUp: 0,
      documentsRead: 0,
      documentsWritten: 0,
      usage: {
        readIntervals: noUsage(),
        documentsRead: noUsage(),
        documentsWritten: noUsage(),
        bytesRead: noUsage(),
        bytesWritten: noUsage()
      },
      milliseconds: 0
    }
    this.functions.set(path, stats)
    return stats
  }
}

const measures = ["readIntervals", "documentsRead", "documentsWritten", "bytesRead", "bytesWritten"] as const

const noUsage = (): Spread => ({ last: 0, max: 0, total: 0 })
