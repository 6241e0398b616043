import { type JSONValue } from "convex/values"
import { type Call } from "./call.ts"
import { type TransactionMetrics } from "./convexInternals.ts"
import { type Draft } from "./optimistic.ts"
import { ReadSet } from "./readSet.ts"
import { type TransactionUsage } from "./stats.ts"
import { type Usage } from "./store.ts"

/** One run of a function; each run after a conflict has its own. */
export type Running = {
  readonly call: Call
  readonly holdsLock: boolean
  readonly usage: Usage
  /** The transaction's use of limits so far; undefined before it begins. */
  metrics: (() => TransactionMetrics) | undefined
  reads: ReadSet
  isEntered: boolean
  /** The run ends with a draft instead of a commit. */
  isDraft: boolean
  draft: Draft | undefined
  value: JSONValue | undefined
  /** The time that the function sees; null before it begins. */
  at: number | null
  /** The data of the error that the function failed with; null if the error has none. */
  refused: JSONValue | undefined
  timestamp: bigint | null
}

/** A run whose transaction has not begun. */
export const begun = (call: Call, holdsLock: boolean): Running => ({
  call,
  holdsLock,
  usage: { documentsRead: 0, documentsWritten: 0 },
  metrics: undefined,
  reads: new ReadSet(),
  isEntered: false,
  isDraft: false,
  draft: undefined,
  value: undefined,
  at: null,
  refused: undefined,
  timestamp: null
})

/** A run's use of a deployment's limits. */
export const usageOf = ({ usage, metrics }: Running): TransactionUsage => {
  const counted = metrics?.()
  return {
    ...usage,
    readIntervals: counted?.databaseQueries ?? 0,
    bytesRead: counted?.bytesRead ?? 0,
    bytesWritten: counted?.bytesWritten ?? 0
  }
}
