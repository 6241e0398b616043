import { Option, Redacted } from "effect"

/** The environment's settings for traces and logs. Both are off without an endpoint and without a Honeycomb key. */
export interface TelemetrySettings {
  readonly isDisabled: boolean
  readonly endpoint: Option.Option<string>
  readonly tracesEndpoint: Option.Option<string>
  readonly logsEndpoint: Option.Option<string>
  readonly headers: Option.Option<Redacted.Redacted>
  readonly tracesHeaders: Option.Option<Redacted.Redacted>
  readonly logsHeaders: Option.Option<Redacted.Redacted>
  readonly logsExporter: LogsExporter
  readonly serviceName: string
  readonly resourceAttributes: Option.Option<string>
  readonly sampler: Sampler
  readonly samplerArgument: Option.Option<string>
  readonly honeycombApiKey: Option.Option<Redacted.Redacted>
  /** Whether traces contain the texts of prompts and replies. */
  readonly hasContent: boolean
}

/** The samplers of OpenTelemetry's specification. */
export const samplers = [
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio",
  "always_on",
  "always_off",
  "traceidratio"
] as const
export type Sampler = (typeof samplers)[number]

/** Whether logs are exported where an address for them is known. */
export const logsExporters = ["otlp", "none"] as const
export type LogsExporter = (typeof logsExporters)[number]

/** The address for traces or logs, and the headers. */
export interface TelemetryTarget {
  readonly url: string
  readonly headers: Readonly<Record<string, Redacted.Redacted>>
}

/** The address if only the Honeycomb key is set. */
const HONEYCOMB = "https://api.honeycomb.io"
const HONEYCOMB_HEADER = "x-honeycomb-team"

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** `name=value` pairs separated by commas, percent-encoded as W3C Baggage. Invalid pairs are left out. */
export const readPairs = (text: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    text.split(",").flatMap((pair) => {
      const at = pair.indexOf("=")
      const name = decoded(pair.slice(0, Math.max(0, at)).trim())
      return name === "" ? [] : [[name, decoded(pair.slice(at + 1).trim())] as const]
    })
  )

/** Headers whose values are names and not secrets, and may be logged. */
const HARMLESS = /(^|-)(dataset|tenant|org-?id|project|environment|stream-name)$/i

/** The secrets in a text of headers: the whole text, and each value as given, as sent, and without its scheme. */
export const headerSecrets = (text: string): ReadonlyArray<string> => [
  text,
  ...text.split(",").flatMap((pair) => {
    const [name = "", ...rest] = pair.split("=")
    const value = rest.join("=").trim()
    if (value === "" || HARMLESS.test(name.trim())) return []
    const sent = decoded(value)
    return [value, sent, sent.split(/\s+/).at(-1) ?? sent]
  })
]

const headersOf = (text: Option.Option<Redacted.Redacted>): Readonly<Record<string, Redacted.Redacted>> =>
  Option.match(text, {
    onNone: () => ({}),
    onSome: (held) =>
      Object.fromEntries(
        Object.entries(readPairs(Redacted.value(held))).map(
          ([name, value]) => [name.toLowerCase(), Redacted.make(value)] as const
        )
      )
  })

const targetOf = (
  { endpoint, headers, honeycombApiKey, isDisabled }: TelemetrySettings,
  signal: "traces" | "logs",
  own: { readonly endpoint: Option.Option<string>; readonly headers: Option.Option<Redacted.Redacted> }
): TelemetryTarget | null => {
  if (isDisabled) return null
  const base = Option.orElse(endpoint, () => Option.map(honeycombApiKey, () => HONEYCOMB))
  const url = Option.orElse(own.endpoint, () =>
    Option.map(base, (address) => `${address.replace(/\/+$/, "")}/v1/${signal}`)
  )
  return Option.match(url, {
    onNone: () => null,
    onSome: (address) => ({
      url: address,
      headers: {
        ...Option.match(honeycombApiKey, { onNone: () => ({}), onSome: (key) => ({ [HONEYCOMB_HEADER]: key }) }),
        ...headersOf(headers),
        ...headersOf(own.headers)
      }
    })
  })
}

/** Where traces and logs are sent; null for what is not sent. Variables for one of them precede those for both. */
export const telemetryTargets = (
  settings: TelemetrySettings
): { readonly traces: TelemetryTarget | null; readonly logs: TelemetryTarget | null } => ({
  traces: targetOf(settings, "traces", { endpoint: settings.tracesEndpoint, headers: settings.tracesHeaders }),
  logs:
    settings.logsExporter === "none"
      ? null
      : targetOf(settings, "logs", { endpoint: settings.logsEndpoint, headers: settings.logsHeaders })
})
