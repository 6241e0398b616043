/**
 * Tracing for the rest of the program, and the export of its log. OpenTelemetry is loaded only if one of them is on. If
 * tracing is off, every method returns its effect unchanged. Effect's automatic spans are not part of our traces and
 * are not exported.
 */
import { Cause, Context, Effect, Exit, Layer, Logger, Option } from "effect"
import { telemetryTargets } from "../../domain/observability/TelemetryTarget.ts"
import type { Attributes } from "../../domain/observability/TraceAttributes.ts"
import { RuntimeConfig } from "../Config.ts"
import { loggedLine } from "./Logging.ts"
import type { ActiveSpan, BeginSpan, RootOptions, SpanOptions, TraceRef } from "./Spans.ts"

/** The current span of the fiber. */
const CurrentSpan = Context.Reference<ActiveSpan | undefined>(
  "runtime-service/layers/telemetry/Telemetry/CurrentSpan",
  {
    defaultValue: () => undefined
  }
)

/** Maximum length of a prompt or reply in a span. */
const CONTENT_CHARACTERS = 16_000

type Around = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Records traces; off by default. */
export interface Tracing {
  /** Whether spans are recorded; if not, callers skip work that only spans need. */
  readonly isOn: boolean
  /** Runs the effect as a new trace, even within another one. */
  root(name: string, options?: RootOptions): Around
  /** Runs the effect as a span of the current trace; without a trace there is no span. */
  span(name: string, options?: SpanOptions): Around
  /** Adds a past span to the current trace; times are epoch milliseconds. */
  passed(
    name: string,
    times: { readonly from: number; readonly to: number },
    options?: SpanOptions
  ): Effect.Effect<void>
  /** Adds attributes to the current span. */
  note(attributes: Attributes): Effect.Effect<void>
  /** Adds attributes to the root span of the current trace. */
  noteRoot(attributes: Attributes): Effect.Effect<void>
  /** Marks the current span as failed although its effect succeeds, for effects that return failures as values. */
  fail(type: string, message: string): Effect.Effect<void>
  /** Marks the root span of the current trace as failed. */
  failRoot(type: string, message: string): Effect.Effect<void>
  /** The root span of the current trace, for logs and the control plane; undefined if it is not sampled. */
  readonly attempt: Effect.Effect<TraceRef | undefined>
  /** The current span as the `traceparent` header of W3C Trace Context. */
  readonly traceparent: Effect.Effect<string | undefined>
  /** Runs effects of other fibers within the current span. */
  readonly within: Effect.Effect<Around>
  /** The text for an attribute, cut; undefined, and not evaluated, unless TRACE_CONTENT is true. */
  content(text: () => string): string | undefined
}

const asIs: Around = (effect) => effect

const off: Tracing = {
  isOn: false,
  root: () => asIs,
  span: () => asIs,
  passed: () => Effect.void,
  note: () => Effect.void,
  noteRoot: () => Effect.void,
  fail: () => Effect.void,
  failRoot: () => Effect.void,
  attempt: CurrentSpan,
  traceparent: Effect.map(CurrentSpan, (span) => span?.traceId),
  within: Effect.succeed(asIs),
  content: () => undefined
}

/** Ends the span. A failure has its class, a defect its stack; an interruption is not a failure. */
const settle = (span: ActiveSpan, exit: Exit.Exit<unknown, unknown>): void => {
  if (Exit.isFailure(exit)) {
    const { cause } = exit
    if (Cause.hasInterruptsOnly(cause)) span.set({ "mission_control.interrupted": true })
    else {
      const failure = Option.getOrUndefined(Cause.findErrorOption(cause))
      if (typeof failure === "object" && failure !== null && "_tag" in failure) {
        span.fail({
          type: String(failure._tag),
          message: "detail" in failure ? String(failure.detail) : String(failure._tag)
        })
      } else {
        const defect = Cause.squash(cause)
        const message = defect instanceof Error ? defect.message : String(defect)
        span.fail({ type: "Defect", message, stack: Cause.pretty(cause) })
      }
    }
  }
  span.end()
}

const around =
  (begin: () => ActiveSpan): Around =>
  (effect) =>
    Effect.acquireUseRelease(
      Effect.sync(begin),
      (span) => Effect.provideService(effect, CurrentSpan, span),
      (span, exit) => Effect.sync(() => settle(span, exit))
    )

const recording = (begin: BeginSpan, options: { readonly hasContent: boolean }): Tracing => {
  const onCurrent = (act: (span: ActiveSpan) => void): Effect.Effect<void> =>
    Effect.map(CurrentSpan, (span) => {
      if (span !== undefined) act(span)
    })
  return {
    isOn: true,
    root: (name, options = {}) => around(() => begin(name, undefined, options)),
    span:
      (name, options = {}) =>
      (effect) =>
        Effect.flatMap(CurrentSpan, (parent) =>
          parent === undefined ? effect : around(() => begin(name, parent, options))(effect)
        ),
    passed: (name, { from, to }, options = {}) =>
      onCurrent((parent) => begin(name, parent, { ...options, startedAt: from }).end(to)),
    note: (attributes) => onCurrent((span) => span.set(attributes)),
    noteRoot: (attributes) => onCurrent(({ root }) => root.set(attributes)),
    fail: (type, message) => onCurrent((span) => span.fail({ type, message })),
    failRoot: (type, message) => onCurrent(({ root }) => root.fail({ type, message })),
    attempt: Effect.map(CurrentSpan, (span) =>
      span === undefined || !span.root.isSampled ? undefined : { traceId: span.root.traceId, spanId: span.root.spanId }
    ),
    traceparent: Effect.map(CurrentSpan, (span) =>
      span === undefined ? undefined : `00-${span.traceId}-${span.spanId}-${span.isSampled ? "01" : "00"}`
    ),
    within: Effect.map(CurrentSpan, (span) => Effect.provideService(CurrentSpan, span) as Around),
    content: (text) => (options.hasContent ? text().slice(0, CONTENT_CHARACTERS).toWellFormed() : undefined)
  }
}

/** Tracing as a service; without its layer nothing is recorded. */
export class Telemetry extends Context.Reference<Tracing>("runtime-service/layers/telemetry/Telemetry", {
  defaultValue: () => off
}) {
  /**
   * Sends spans and log lines to the configured endpoint or to Honeycomb; without either nothing is loaded. Only what
   * is built with this layer logs to it.
   */
  static readonly layer = Layer.unwrap(
    Effect.gen(function* () {
      const { telemetry } = yield* RuntimeConfig
      const { logs, traces } = telemetryTargets(telemetry)
      const withoutSpans = Layer.succeed(Telemetry, off)
      if (logs === null && traces === null) return withoutSpans
      const module = yield* Effect.exit(Effect.tryPromise(() => import("./opentelemetry/OpenTelemetry.ts")))
      if (Exit.isFailure(module)) {
        yield* Effect.logError("traces and logs are not sent: their library could not be loaded", module.cause)
        return withoutSpans
      }
      const { begin, send } = yield* module.value.openTelemetry({ logs, traces })
      if (traces !== null) {
        yield* Effect.logInfo(`traces go to ${traces.url}`).pipe(
          Effect.annotateLogs({ sampler: telemetry.sampler, content: telemetry.hasContent })
        )
      }
      if (logs !== null) yield* Effect.logInfo(`logs go to ${logs.url}`)
      const spans = begin === null ? withoutSpans : Layer.succeed(Telemetry, recording(begin, telemetry))
      if (send === null) return spans
      const logger = Logger.make((options) => send(loggedLine(options), options.fiber.getRef(CurrentSpan)))
      return Layer.merge(spans, Logger.layer([logger], { mergeWithExisting: true }))
    })
  )

  /** Passes every span to the test. */
  static readonly layerTest = (begin: BeginSpan, hasContent = false): Layer.Layer<never> =>
    Layer.succeed(Telemetry, recording(begin, { hasContent }))
}
