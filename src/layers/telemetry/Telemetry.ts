/**
 * Traces as the programs speak of them. Whatever knows OpenTelemetry is loaded when tracing is on, and not before: off,
 * every method gives back what it was given. Effect's own automatic spans are not among ours and never leave.
 */
import { Cause, Context, Effect, Exit, Layer, Option } from "effect"
import type { Scope } from "effect"
import type { Attributes } from "../../domain/observability/TraceAttributes.ts"
import { traceTarget } from "../../domain/observability/TraceTarget.ts"
import { RuntimeConfig } from "../Config.ts"
import type { Redactor } from "../secrets/Redactor.ts"

/** A span as others refer to it. */
export interface TraceRef {
  readonly traceId: string
  readonly spanId: string
}

/** A span that has begun. */
export interface ActiveSpan extends TraceRef {
  /** The first span of its trace in this process. */
  readonly root: ActiveSpan
  /** Whether it will be sent. */
  readonly isSampled: boolean
  set(attributes: Attributes): void
  /** Marks it as failed; the stack only of what nobody foresaw. */
  fail(error: { readonly type: string; readonly message: string; readonly stack?: string }): void
  /** Ends it now, or at a moment that has passed (epoch milliseconds). */
  end(at?: number): void
}

export interface SpanOptions {
  readonly attributes?: Attributes
  readonly kind?: "internal" | "client" | "server" | "consumer"
  /** When it began, if not now; epoch milliseconds. */
  readonly startedAt?: number
}

export interface RootOptions extends SpanOptions {
  /** The root of the attempt before. */
  readonly previous?: TraceRef | undefined
}

/** Begins spans: OpenTelemetry's, or a test's. */
export type BeginSpan = (name: string, parent: ActiveSpan | undefined, options: RootOptions) => ActiveSpan

/** The span in which this fiber works. */
const CurrentSpan = Context.Reference<ActiveSpan | undefined>(
  "runtime-service/layers/telemetry/Telemetry/CurrentSpan",
  {
    defaultValue: () => undefined
  }
)

/** The longest text of a prompt or reply that a span holds. */
const CONTENT_CHARACTERS = 16_000

type Around = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** What programs tell of their work; off by default. */
export interface Tracing {
  /** Whether anything is recorded: what only a span needs to know is not asked for otherwise. */
  readonly isOn: boolean
  /** Runs the effect as a trace of its own, whatever it runs within. */
  root(name: string, options?: RootOptions): Around
  /** Runs the effect as a part of the trace it runs within; outside of any it is no span. */
  span(name: string, options?: SpanOptions): Around
  /** Adds a part that has already passed to the current trace; times are epoch milliseconds. */
  passed(
    name: string,
    times: { readonly from: number; readonly to: number },
    options?: SpanOptions
  ): Effect.Effect<void>
  /** Tells the current span. */
  note(attributes: Attributes): Effect.Effect<void>
  /** Tells the root of the current trace. */
  noteRoot(attributes: Attributes): Effect.Effect<void>
  /** Marks the current span as failed although its effect succeeds, since a failure is an answer there. */
  fail(type: string, message: string): Effect.Effect<void>
  /** The same for the root of the current trace. */
  failRoot(type: string, message: string): Effect.Effect<void>
  /** The current trace's root, for logs and the control plane; undefined when it will not be sent. */
  readonly attempt: Effect.Effect<TraceRef | undefined>
  /** The current span as W3C Trace Context's header. */
  readonly traceparent: Effect.Effect<string | undefined>
  /** Lets others work within the current span, in whatever fiber. */
  readonly within: Effect.Effect<Around>
  /** The text for an attribute, cut; undefined, and not asked for, unless TRACE_CONTENT is true. */
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

/** Failures say their class, defects their stack; an interruption is no failure. */
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
  const tell = (act: (span: ActiveSpan) => void): Effect.Effect<void> =>
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
      tell((parent) => begin(name, parent, { ...options, startedAt: from }).end(to)),
    note: (attributes) => tell((span) => span.set(attributes)),
    noteRoot: (attributes) => tell(({ root }) => root.set(attributes)),
    fail: (type, message) => tell((span) => span.fail({ type, message })),
    failRoot: (type, message) => tell(({ root }) => root.fail({ type, message })),
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

/** How a module that knows OpenTelemetry opens it; everything it holds goes with the scope. */
export type OpenTelemetry = (
  target: NonNullable<ReturnType<typeof traceTarget>>
) => Effect.Effect<BeginSpan, never, RuntimeConfig | Redactor | Scope.Scope>

/** What the programs tell of their work to whoever looks at traces; nothing is recorded unless the layer says where to. */
export class Telemetry extends Context.Reference<Tracing>("runtime-service/layers/telemetry/Telemetry", {
  defaultValue: () => off
}) {
  /** Sends spans where the environment says; without an endpoint and a Honeycomb key nothing is loaded. */
  static readonly layer = Layer.effect(
    Telemetry,
    Effect.gen(function* () {
      const { tracing } = yield* RuntimeConfig
      const target = traceTarget(tracing)
      if (target === null) return off
      const module = yield* Effect.exit(Effect.tryPromise(() => import("./OpenTelemetry.ts")))
      if (Exit.isFailure(module)) {
        yield* Effect.logError("tracing is off: its library could not be loaded", module.cause)
        return off
      }
      const begin = yield* module.value.openTelemetry(target)
      yield* Effect.logInfo(`traces go to ${target.url}`).pipe(
        Effect.annotateLogs({ sampler: tracing.sampler, content: tracing.hasContent })
      )
      return recording(begin, tracing)
    })
  )

  /** Gives every span to the test. */
  static readonly layerTest = (begin: BeginSpan, hasContent = false): Layer.Layer<never> =>
    Layer.succeed(Telemetry, recording(begin, { hasContent }))
}
