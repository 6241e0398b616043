import { v } from "convex/values"
import { cut } from "../database/cut.ts"

/** The trace of an attempt, which its runtime passes with the outcome if tracing is on. */
export const traceArgs = { traceId: v.optional(v.string()), spanId: v.optional(v.string()) }

export interface Trace {
  readonly traceId?: string
  readonly spanId?: string
}

const maxLength = 100

/** The trace as it is stored. */
export const traceOf = ({ spanId, traceId }: Trace): Trace => ({
  ...(traceId === undefined ? {} : { traceId: cut(traceId, maxLength) }),
  ...(spanId === undefined ? {} : { spanId: cut(spanId, maxLength) })
})

/** The trace of the previous attempt in a context; absent if it had none. */
export const earlierTrace = v.optional(v.object({ traceId: v.string(), spanId: v.string() }))

/** The stored trace as that of the previous attempt. */
export const earlierTraceOf = ({ spanId, traceId }: Trace) =>
  traceId === undefined || spanId === undefined ? {} : { trace: { traceId, spanId } }
