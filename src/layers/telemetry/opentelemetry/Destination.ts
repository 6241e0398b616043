import type { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto"
import { Effect, Option, Redacted } from "effect"
import type { TelemetryTarget } from "../../../domain/observability/TelemetryTarget.ts"
import { RuntimeConfig } from "../../Config.ts"
import { Redactor } from "../../secrets/Redactor.ts"

/** Where an exporter sends to, and what it reports. */
export interface Destination {
  readonly exporterOptions: NonNullable<ConstructorParameters<typeof OTLPTraceExporter>[0]>
  /** The result of an export: null, or the reason of its failure. */
  readonly exportEnded: (problem: string | null) => void
}

/** What is sent, as the log names it. */
type Signal = "trace" | "log"

/** The destination of one signal. The log shows the first of failing exports, and the recovery. */
export const destinationOf = Effect.fnUntraced(function* ({ headers, url }: TelemetryTarget, signal: Signal) {
  const { noProxy, proxy } = yield* RuntimeConfig
  const { error: redactError } = yield* Redactor
  // Here the log is not exported yet, so a failed export of the log causes no further export.
  const fork = Effect.runForkWith(yield* Effect.context())
  let isFailing = false
  return {
    exporterOptions: {
      url,
      headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Redacted.value(value)])),
      httpAgentOptions: {
        keepAlive: true,
        proxyEnv: {
          NO_PROXY: noProxy,
          ...Option.match(proxy, { onNone: () => ({}), onSome: (held) => ({ HTTPS_PROXY: Redacted.value(held) }) })
        }
      }
    },
    exportEnded: (problem) => {
      if ((problem !== null) === isFailing) return
      isFailing = problem !== null
      fork(
        problem === null
          ? Effect.logInfo(`${signal} export recovered`)
          : Effect.logWarning(
              `${signal} export to ${url} failed, further failures are not logged: ${redactError(problem)}`
            )
      )
    }
  } satisfies Destination
})
