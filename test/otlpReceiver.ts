/** A receiver of OTLP on a port of its own, and what it was sent as plain objects. */
import { Effect } from "effect"
import type { Scope } from "effect"

/** A span as it arrived. */
export interface ReceivedSpan {
  readonly name: string
  readonly kind: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly startNanos: bigint
  readonly endNanos: bigint
  readonly attributes: Readonly<Record<string, unknown>>
  readonly resource: Readonly<Record<string, unknown>>
  readonly links: ReadonlyArray<{ readonly traceId: string; readonly spanId: string }>
  readonly events: ReadonlyArray<{ readonly name: string; readonly attributes: Readonly<Record<string, unknown>> }>
  readonly status: { readonly code?: string; readonly message?: string }
}

/** A log line as it arrived. */
export interface ReceivedLine {
  readonly body: unknown
  readonly severity: string
  readonly severityNumber: number
  readonly traceId: string | undefined
  readonly spanId: string | undefined
  readonly nanos: bigint
  readonly attributes: Readonly<Record<string, unknown>>
  readonly resource: Readonly<Record<string, unknown>>
}

/** The receiver: where it listens, the spans and log lines it has, and all of it as text. */
export interface OtlpReceiver {
  readonly url: string
  readonly spans: () => ReadonlyArray<ReceivedSpan>
  readonly lines: () => ReadonlyArray<ReceivedLine>
  readonly text: () => string
}

const hex = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined || bytes.length === 0 ? undefined : Buffer.from(bytes).toString("hex")

/** Every field of a value has its default; which one was sent is told by `value`. */
const plain = (sent: any): unknown => {
  switch (sent?.value) {
    case "intValue":
      return Number(sent.intValue)
    case "arrayValue":
      return (sent.arrayValue.values ?? []).map(plain)
    case undefined:
      return undefined
    default:
      return sent[sent.value]
  }
}

const record = (pairs: ReadonlyArray<any> = []): Readonly<Record<string, unknown>> =>
  Object.fromEntries(pairs.map(({ key, value }) => [key, plain(value)]))

const spansOf = (request: any): ReadonlyArray<ReceivedSpan> =>
  (request.resourceSpans ?? []).flatMap((part: any) =>
    (part.scopeSpans ?? []).flatMap(({ spans = [] }: any) =>
      spans.map((span: any): ReceivedSpan => ({
        name: span.name,
        kind: String(span.kind),
        traceId: hex(span.traceId) ?? "",
        spanId: hex(span.spanId) ?? "",
        parentSpanId: hex(span.parentSpanId),
        startNanos: BigInt(String(span.startTimeUnixNano)),
        endNanos: BigInt(String(span.endTimeUnixNano)),
        attributes: record(span.attributes),
        resource: record(part.resource?.attributes),
        links: (span.links ?? []).map((link: any) => ({
          traceId: hex(link.traceId) ?? "",
          spanId: hex(link.spanId) ?? ""
        })),
        events: (span.events ?? []).map((event: any) => ({ name: event.name, attributes: record(event.attributes) })),
        status: { code: String(span.status?.code ?? ""), message: span.status?.message ?? "" }
      }))
    )
  )

const severities: Readonly<Record<string, number>> = {
  SEVERITY_NUMBER_TRACE: 1,
  SEVERITY_NUMBER_DEBUG: 5,
  SEVERITY_NUMBER_INFO: 9,
  SEVERITY_NUMBER_WARN: 13,
  SEVERITY_NUMBER_ERROR: 17
}

const linesOf = (request: any): ReadonlyArray<ReceivedLine> =>
  (request.resourceLogs ?? []).flatMap((part: any) =>
    (part.scopeLogs ?? []).flatMap(({ logRecords = [] }: any) =>
      logRecords.map((line: any): ReceivedLine => ({
        body: plain(line.body),
        severity: line.severityText,
        severityNumber: severities[line.severityNumber] ?? Number(line.severityNumber),
        traceId: hex(line.traceId),
        spanId: hex(line.spanId),
        nanos: BigInt(String(line.timeUnixNano)),
        attributes: record(line.attributes),
        resource: record(part.resource?.attributes)
      }))
    )
  )

/** Listens on 127.0.0.1 until the scope ends. */
export const receiveOtlp: Effect.Effect<OtlpReceiver, never, Scope.Scope> = Effect.gen(function* () {
  const { MockOtlpServer } = yield* Effect.promise(() => import("@elastic/mockotlpserver"))
  const spans: Array<ReceivedSpan> = []
  const lines: Array<ReceivedLine> = []
  const server = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const made = new MockOtlpServer({
        logLevel: "fatal",
        services: ["http"],
        httpHostname: "127.0.0.1",
        httpPort: 0,
        onTrace: (request: unknown) => spans.push(...spansOf(request)),
        onLogs: (request: unknown) => lines.push(...linesOf(request))
      })
      await made.start()
      return made
    }),
    (made) => Effect.promise(() => made.close())
  )
  return {
    url: String(server.httpUrl).replace(/\/$/, ""),
    spans: () => spans,
    lines: () => lines,
    text: () => JSON.stringify({ spans, lines }, (_, value) => (typeof value === "bigint" ? String(value) : value))
  }
})
