/** The log lines of OpenTelemetry, which are redacted when they are logged and sent in batches. */
import { logLevelToSeverityNumber } from "@effect/opentelemetry/OtelLogger"
import { Resource } from "@effect/opentelemetry/Resource"
import { ROOT_CONTEXT, trace } from "@opentelemetry/api"
import type { Span } from "@opentelemetry/api"
import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-proto"
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs"
import type { LogRecordExporter } from "@opentelemetry/sdk-logs"
import { Effect, Record } from "effect"
import { RuntimeConfig } from "../../Config.ts"
import { Redactor } from "../../secrets/Redactor.ts"
import { asText } from "../Logging.ts"
import type { LoggedLine } from "../Logging.ts"
import type { ActiveSpan } from "../Spans.ts"
import type { Destination } from "./Destination.ts"

/** Reports the result of each export. */
const watched = (exporter: LogRecordExporter, ended: Destination["exportEnded"]): LogRecordExporter => ({
  export: (records, done) =>
    exporter.export(records, (result) => {
      ended(result.code === 0 ? null : (result.error?.message ?? "no reason given"))
      done(result)
    }),
  forceFlush: () => exporter.forceFlush(),
  shutdown: () => exporter.shutdown()
})

/**
 * Opens the exporter of log lines. `close` sends the remaining ones. At most 2,048 lines wait; further ones are
 * dropped.
 */
export const openLogs = Effect.fnUntraced(function* ({ exporterOptions, exportEnded }: Destination) {
  const { runtimeVersion } = yield* RuntimeConfig
  const { redact } = yield* Redactor
  const processor = new BatchLogRecordProcessor({
    exporter: watched(new OTLPLogExporter(exporterOptions), exportEnded)
  })
  const provider = new LoggerProvider({ processors: [processor], resource: yield* Resource })
  const logger = provider.getLogger("runtime-service", runtimeVersion)
  const attributeOf = (value: unknown) =>
    typeof value === "number" || typeof value === "boolean" ? value : redact(asText(value))
  const send = ({ at, cause, fields, level, message }: LoggedLine, span: ActiveSpan | undefined): void =>
    logger.emit({
      timestamp: at,
      severityNumber: logLevelToSeverityNumber(level),
      severityText: level.toUpperCase(),
      body: redact(message),
      attributes: {
        ...Record.map(fields, attributeOf),
        ...(cause === undefined ? {} : { "exception.stacktrace": redact(cause) })
      },
      context: span !== undefined && "otel" in span ? trace.setSpan(ROOT_CONTEXT, span.otel as Span) : ROOT_CONTEXT
    })
  return { send, close: () => provider.shutdown() }
})
