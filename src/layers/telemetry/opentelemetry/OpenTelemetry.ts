/**
 * The entry to OpenTelemetry, which only this folder imports. Only Telemetry imports this file, when traces or logs are
 * sent: over OTLP (http/protobuf). The SDK itself reads those OTEL_ variables that Config does not have.
 */
import * as Resource from "@effect/opentelemetry/Resource"
import type { Attributes as OtelAttributes } from "@opentelemetry/api"
import { Cause, Duration, Effect, Option } from "effect"
import { readPairs } from "../../../domain/observability/TelemetryTarget.ts"
import type { telemetryTargets } from "../../../domain/observability/TelemetryTarget.ts"
import type { Attributes } from "../../../domain/observability/TraceAttributes.ts"
import { RuntimeConfig } from "../../Config.ts"
import { Redactor } from "../../secrets/Redactor.ts"
import { destinationOf } from "./Destination.ts"
import { openLogs } from "./LogExport.ts"
import { openSpans, redactedAttributes } from "./SpanExport.ts"

/** How long the end of the process waits for unsent spans and log lines. */
const FLUSH_TIMEOUT = Duration.seconds(3)

const resource = Effect.gen(function* () {
  const { accountId, runtimeId, runtimeVersion, telemetry } = yield* RuntimeConfig
  const { redact } = yield* Redactor
  const given = Option.match(telemetry.resourceAttributes, { onNone: () => ({}), onSome: readPairs })
  const own: Attributes = {
    "mission_control.account.id": accountId,
    "mission_control.runtime.id": runtimeId,
    "mission_control.version": runtimeVersion
  }
  return Resource.layer({
    serviceName: telemetry.serviceName,
    serviceVersion: runtimeVersion,
    attributes: { "service.instance.id": runtimeId, ...own, ...redactedAttributes(given, redact) } as OtelAttributes
  })
})

const closed = Effect.fnUntraced(function* (what: string, close: () => Promise<void>) {
  const { error: redactError } = yield* Redactor
  yield* Effect.tryPromise(close).pipe(
    Effect.interruptible,
    Effect.timeout(FLUSH_TIMEOUT),
    Effect.catchCause((cause) =>
      Effect.logWarning(`the last ${what} were not sent: ${redactError(Cause.pretty(cause).split("\n")[0] ?? "")}`)
    )
  )
})

/** Opens the exporters. Closing the scope sends the remaining spans and log lines, within three seconds. */
export const openTelemetry = Effect.fnUntraced(function* ({ logs, traces }: ReturnType<typeof telemetryTargets>) {
  const shared = yield* resource
  const spans =
    traces === null
      ? null
      : yield* Effect.flatMap(destinationOf(traces, "trace"), openSpans).pipe(Effect.provide(shared))
  const lines =
    logs === null ? null : yield* Effect.flatMap(destinationOf(logs, "log"), openLogs).pipe(Effect.provide(shared))
  const context = yield* Effect.context<Redactor>()
  yield* Effect.addFinalizer(() =>
    Effect.all(
      [
        spans === null ? Effect.void : closed("spans", spans.close),
        lines === null ? Effect.void : closed("log lines", lines.close)
      ],
      { concurrency: "unbounded", discard: true }
    ).pipe(Effect.provideContext(context))
  )
  return { begin: spans?.begin ?? null, send: lines?.send ?? null }
})
