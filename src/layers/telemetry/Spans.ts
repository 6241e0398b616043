/** Spans of a trace, independent of the library that sends them. */
import type { Attributes } from "../../domain/observability/TraceAttributes.ts"

/** A reference to a span. */
export interface TraceRef {
  readonly traceId: string
  readonly spanId: string
}

/** A started span. */
export interface ActiveSpan extends TraceRef {
  /** The first span of its trace in this process. */
  readonly root: ActiveSpan
  /** Whether it will be sent. */
  readonly isSampled: boolean
  set(attributes: Attributes): void
  /** Marks the span as failed; a defect has a stack. */
  fail(error: { readonly type: string; readonly message: string; readonly stack?: string }): void
  /** Ends it now, or at a past time (epoch milliseconds). */
  end(at?: number): void
}

export interface SpanOptions {
  readonly attributes?: Attributes
  readonly kind?: "internal" | "client" | "server" | "consumer"
  /** Start time if not now; epoch milliseconds. */
  readonly startedAt?: number
}

export interface RootOptions extends SpanOptions {
  /** The root span of the previous attempt. */
  readonly previous?: TraceRef | undefined
}

/** Starts spans: OpenTelemetry's, or a test's. */
export type BeginSpan = (name: string, parent: ActiveSpan | undefined, options: RootOptions) => ActiveSpan
