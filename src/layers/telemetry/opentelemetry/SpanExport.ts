/** The spans of OpenTelemetry, which are redacted and sent in batches. */
import * as NodeSdk from "@effect/opentelemetry/NodeSdk"
import { OtelTracerProvider } from "@effect/opentelemetry/OtelTracer"
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags } from "@opentelemetry/api"
import type { Attributes, Span } from "@opentelemetry/api"
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto"
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler
} from "@opentelemetry/sdk-trace-node"
import type { ReadableSpan, Sampler, SpanExporter } from "@opentelemetry/sdk-trace-node"
import { Context, Effect, Layer, Option } from "effect"
import type { TelemetrySettings } from "../../../domain/observability/TelemetryTarget.ts"
import { RuntimeConfig } from "../../Config.ts"
import { Redactor } from "../../secrets/Redactor.ts"
import type { ActiveSpan, BeginSpan, RootOptions } from "../Spans.ts"
import type { Destination } from "./Destination.ts"

const samplerOf = ({ sampler, samplerArgument }: TelemetrySettings): Sampler => {
  const ratio = new TraceIdRatioBasedSampler(Number(Option.getOrElse(samplerArgument, () => "1")))
  switch (sampler) {
    case "always_on":
      return new AlwaysOnSampler()
    case "always_off":
      return new AlwaysOffSampler()
    case "traceidratio":
      return ratio
    case "parentbased_always_on":
      return new ParentBasedSampler({ root: new AlwaysOnSampler() })
    case "parentbased_always_off":
      return new ParentBasedSampler({ root: new AlwaysOffSampler() })
    case "parentbased_traceidratio":
      return new ParentBasedSampler({ root: ratio })
  }
}

type Redact = (text: string) => string

/** The attributes without secrets. */
export const redactedAttributes = (attributes: Attributes, redact: Redact): Attributes => {
  const one = (value: unknown): unknown => (typeof value === "string" ? redact(value) : value)
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [name, Array.isArray(value) ? value.map(one) : one(value)])
  ) as Attributes
}

/** Separates texts; no secret contains it. */
const APART = "\u0000"

const textOf = ({ attributes, events, links, name, status }: ReadableSpan): string => {
  const texts = [name, status.message ?? ""]
  const add = (from: Attributes = {}) => {
    for (const key in from) {
      const value = from[key]
      if (typeof value === "string") texts.push(value)
      else if (Array.isArray(value)) texts.push(value.join(APART))
    }
  }
  add(attributes)
  for (const event of events) {
    texts.push(event.name)
    add(event.attributes)
  }
  for (const link of links) add(link.attributes)
  return texts.join(APART)
}

/** The span without secrets. Few spans have one, so all texts are searched at once first. */
const redactedSpan = (span: ReadableSpan, redact: Redact): ReadableSpan => {
  const text = textOf(span)
  if (redact(text) === text) return span
  const { message } = span.status
  return Object.assign(Object.create(span) as ReadableSpan, {
    name: redact(span.name),
    status: { ...span.status, ...(message === undefined ? {} : { message: redact(message) }) },
    attributes: redactedAttributes(span.attributes, redact),
    events: span.events.map((event) => ({
      ...event,
      name: redact(event.name),
      attributes: redactedAttributes(event.attributes ?? {}, redact)
    })),
    links: span.links.map((link) => ({ ...link, attributes: redactedAttributes(link.attributes ?? {}, redact) }))
  })
}

/** Removes secrets from exported spans, and reports the result of each export. */
const guarded = (exporter: SpanExporter, redact: Redact, ended: (problem: string | null) => void): SpanExporter => ({
  export: (spans, done) =>
    exporter.export(
      spans.map((span) => redactedSpan(span, redact)),
      (result) => {
        ended(result.code === 0 ? null : (result.error?.message ?? "no reason given"))
        done(result)
      }
    ),
  forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
  shutdown: () => exporter.shutdown()
})

const kinds = {
  internal: SpanKind.INTERNAL,
  client: SpanKind.CLIENT,
  server: SpanKind.SERVER,
  consumer: SpanKind.CONSUMER
} as const

const active = (span: Span, parent: ActiveSpan | undefined): ActiveSpan & { readonly otel: Span } => {
  const { spanId, traceFlags, traceId } = span.spanContext()
  const self: ActiveSpan & { readonly otel: Span } = {
    otel: span,
    traceId,
    spanId,
    isSampled: (traceFlags & TraceFlags.SAMPLED) !== 0,
    get root() {
      return parent?.root ?? self
    },
    set: (attributes) => void span.setAttributes(attributes as Attributes),
    fail: ({ message, stack, type }) => {
      span.setAttribute("error.type", type)
      span.setStatus({ code: SpanStatusCode.ERROR, message })
      span.recordException({ name: type, message, ...(stack === undefined ? {} : { stack }) })
    },
    end: (at) => span.end(at)
  }
  return self
}

/** Opens the exporter of spans. `close` sends the remaining ones. */
export const openSpans = Effect.fnUntraced(function* ({ exporterOptions, exportEnded }: Destination) {
  const { runtimeVersion, telemetry } = yield* RuntimeConfig
  const { redact } = yield* Redactor
  const processor = new BatchSpanProcessor(guarded(new OTLPTraceExporter(exporterOptions), redact, exportEnded))
  const provided = NodeSdk.layerTracerProvider(processor, {
    sampler: samplerOf(telemetry),
    // `close` has already flushed.
    shutdownTimeout: 0
  })
  const provider = Context.get(yield* Layer.build(provided), OtelTracerProvider)
  const tracer = provider.getTracer("runtime-service", runtimeVersion)
  const begin: BeginSpan = (name, parent, { attributes = {}, kind = "internal", previous, startedAt }: RootOptions) => {
    const within =
      parent !== undefined && "otel" in parent ? trace.setSpan(ROOT_CONTEXT, parent.otel as Span) : ROOT_CONTEXT
    const span = tracer.startSpan(
      name,
      {
        kind: kinds[kind],
        ...(startedAt === undefined ? {} : { startTime: startedAt }),
        attributes: attributes as Attributes,
        ...(previous === undefined ? {} : { links: [{ context: { ...previous, traceFlags: TraceFlags.SAMPLED } }] })
      },
      within
    )
    return active(span, parent)
  }
  return { begin, close: () => processor.shutdown() }
})
