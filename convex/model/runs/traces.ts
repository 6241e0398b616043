import { v } from "convex/values"
import { cut } from "../database/cut.ts"

/** The trace of an attempt, which its runtime gives with the outcome when tracing is on. */
export const traceArgs = { traceId: v.optional(v.string()), spanId: v.optional(v.string()) }

export interface Trace {
  readonly traceId?: string
  readonly spanId?: string
}

const maxLength = 100

/** What of it is stored. */
export const traceOf = ({ spanId, traceId }: Trace): Trace => ({
  ...(traceId === undefined ? {} : { traceId: cut(traceId, maxLength) }),
  ...(spanId === undefined ? {} : { spanId: cut(spanId, maxLength) })
})

/** The attempt before, as contexts tell of it; nothing when it had no trace. */
export const earlierTrace = v.optional(v.object({ traceId: v.string(), spanId: v.string() }))

/** The stored trace as the attempt before. */
export const earlierTraceOf = ({ spanId, traceId }: Trace) =>
  traceId === undefined || spanId === undefined ? {} : { trace: { traceId, spanId } }
