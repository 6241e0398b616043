/** Every variable of the environment once: its rule, its default and what it is for. Config, documents and hints derive from it. */

import { samplers } from "../observability/TraceTarget.ts"

/** The parts of docs/configuration.md, in its order. */
export const variableGroups = [
  "Account",
  "Endpoints",
  "Delivery",
  "Gateway",
  "Profiles",
  "Life of the process",
  "Logs",
  "Where it runs",
  "Tracing",
  "Commands for people"
] as const
export type VariableGroup = (typeof variableGroups)[number]

interface Described {
  readonly group: VariableGroup
  readonly meaning: string
}

/** A whole number; milliseconds where the meaning says so. */
export interface IntegerVariable extends Described {
  readonly kind: "integer"
  readonly usual: number
  /** The variable whose value is the default; `usual` is that one's default. */
  readonly usualFrom?: string
  readonly least: number
  readonly most: number
}

/** One of a few words. */
export interface ChoiceVariable<A extends string = string> extends Described {
  readonly kind: "choice"
  readonly usual: A
  readonly allowed: ReadonlyArray<A>
}

/** Free text, with its rule and default in words; `usual` is null where the variable is required. */
export interface TextVariable extends Described {
  readonly kind: "text"
  readonly usual: string | null
  readonly rule: string
}

/** A value that is never shown, given itself or by `NAME_FILE`, the path of the file that holds it. */
export interface SecretVariable extends Described {
  readonly kind: "secret"
  readonly usual: string | null
  readonly rule: string
}

export type Variable = IntegerVariable | ChoiceVariable | TextVariable | SecretVariable

const DAY_MILLIS = 86_400_000

const integer = (
  group: VariableGroup,
  usual: number,
  least: number,
  most: number,
  meaning: string
): IntegerVariable => ({ kind: "integer", group, usual, least, most, meaning })

const choice = <const A extends string>(
  group: VariableGroup,
  usual: NoInfer<A>,
  allowed: ReadonlyArray<A>,
  meaning: string
): ChoiceVariable<A> => ({ kind: "choice", group, usual, allowed, meaning })

const text = <const A extends string | null>(
  group: VariableGroup,
  usual: A,
  rule: string,
  meaning: string
): TextVariable & { readonly usual: A } => ({
  kind: "text",
  group,
  usual,
  rule,
  meaning
})

const secret = (group: VariableGroup, usual: string | null, rule: string, meaning: string): SecretVariable => ({
  kind: "secret",
  group,
  usual,
  rule,
  meaning
})

const yesOrNo = ["true", "false"] as const

export const variables = {
  ACCOUNT_ID: text("Account", null, "8 to 64 letters and digits", "The account's id in Convex."),
  CONVEX_URL: text("Account", null, "http or https", "The address of the deployment that is the control plane."),
  SERVICE_TOKEN: secret(
    "Account",
    null,
    "mc_service_{accountId}_{64 hex digits}",
    "Proves to the control plane that this process works for the account."
  ),
  HTTPS_PROXY: text(
    "Account",
    "none",
    "http or https, also in lower case as https_proxy",
    "The proxy for https addresses of the control plane and of traces; the gateway is always reached directly."
  ),
  NO_PROXY: text(
    "Account",
    "none",
    "hosts separated by commas, also in lower case as no_proxy",
    "Hosts, with their subdomains, that are reached without the proxy; * is all."
  ),
  RUNTIME_ID: text(
    "Account",
    "host name",
    "the same over restarts, and of one process only",
    "The name of this process in the control plane: its next start frees at once what it held."
  ),
  HEALTH_HOST: text("Endpoints", "127.0.0.1", "an address of this machine", "Where the endpoints are served."),
  HEALTH_PORT: integer("Endpoints", 3_000, 1, 65_535, "The port of the endpoints."),
  AGENT_HTTP_ALLOW: text(
    "Endpoints",
    "loopback",
    "CIDRs without host bits, separated by commas",
    "Further addresses from which agents may call their endpoints."
  ),
  AGENT_HTTP_AUTH: choice(
    "Endpoints",
    "capability",
    ["capability", "session-key"],
    "What proves that an agent calls: its run's capability, or the key of a session with a live run."
  ),
  TASK_STATUS_BASE_URL: text(
    "Endpoints",
    "from HEALTH_HOST and HEALTH_PORT",
    "http or https",
    "The address by which the gateway reaches this process."
  ),
  DELIVERY_INTERVAL: integer(
    "Delivery",
    15_000,
    1_000,
    DAY_MILLIS,
    "Milliseconds between polls while pushes do not arrive."
  ),
  DELIVERY_BACKOFF_BASE_MS: integer(
    "Delivery",
    5_000,
    1_000,
    DAY_MILLIS,
    "Milliseconds before the second attempt; doubled with each further failure."
  ),
  DELIVERY_BACKOFF_MAX_MS: integer(
    "Delivery",
    300_000,
    1_000,
    DAY_MILLIS,
    "The longest such wait in milliseconds, not below DELIVERY_BACKOFF_BASE_MS."
  ),
  DELIVERY_LEASE_MS: integer(
    "Delivery",
    90_000,
    3_000,
    600_000,
    "Milliseconds for which a session is held without a sign of life; renewed at a third."
  ),
  DELIVERY_MAX_CONCURRENT_SESSIONS: integer(
    "Delivery",
    8,
    1,
    100,
    "Turns at once, deliveries and heartbeats together."
  ),
  DELIVERY_MAX_ATTEMPTS: integer("Delivery", 8, 1, 100, "Attempts before a notification becomes a dead letter."),
  NO_RESPONSE_LIMIT: integer(
    "Delivery",
    3,
    1,
    100,
    "Silent turns before the fallback message where an answer is owed."
  ),
  MAX_TOOL_ROUNDS: integer("Delivery", 10, 1, 100, "Rounds with tools in a turn."),
  MAX_AGENT_HOPS: integer("Delivery", 12, 1, 100, "Turns that agents may set off among themselves in a row."),
  SESSION_TOKEN_LIMIT: integer(
    "Delivery",
    100_000,
    0,
    10_000_000,
    "Tokens of history beyond which a session starts over, with everything sent again, once none of its work waits; 0 is never."
  ),
  MAX_AGENT_TURNS_PER_TASK: integer(
    "Delivery",
    40,
    1,
    10_000,
    "Turns that agents may have on a task until a person acts on it again."
  ),
  QUIET_TIME: integer(
    "Delivery",
    60_000,
    0,
    DAY_MILLIS,
    "Milliseconds without a further message for which agents' messages that mention no one wait; with 0 they do not."
  ),
  QUIET_TIME_LIMIT: integer(
    "Delivery",
    300_000,
    0,
    DAY_MILLIS,
    "The longest such wait in milliseconds, from the first of these messages."
  ),
  TURN_TIMEOUT_MS: integer(
    "Delivery",
    900_000,
    5_000,
    DAY_MILLIS,
    "Milliseconds for a whole turn with its tool calls."
  ),
  OPENCLAW_GATEWAY_URL: text(
    "Gateway",
    "none",
    "http or https",
    "The gateway's address; without it the runtime starts a gateway itself."
  ),
  OPENCLAW_GATEWAY_TOKEN: secret(
    "Gateway",
    "none",
    "visible ASCII; required when the gateway is not on this machine",
    "The gateway's gateway.auth.token; random at each start for a gateway started here."
  ),
  OPENCLAW_GATEWAY_PATH: text("Gateway", "openclaw", "a command or path", "The command that starts the gateway."),
  OPENCLAW_GATEWAY_ARGS: text(
    "Gateway",
    "gateway run",
    "separated by spaces, without --port and --token",
    "The arguments of that command."
  ),
  OPENCLAW_GATEWAY_PORT: integer("Gateway", 18_789, 1, 65_535, "Where a gateway started here listens on 127.0.0.1."),
  OPENCLAW_STATE_DIR: text(
    "Gateway",
    "~/.openclaw",
    "a folder",
    "The gateway's state, the runtime's pid file and upgrade.json."
  ),
  OPENCLAW_CONFIG_PATH: text("Gateway", "openclaw.json in the state folder", "a file", "The gateway's configuration."),
  OPENCLAW_REQUEST_TIMEOUT_MS: {
    ...integer(
      "Gateway",
      900_000,
      5_000,
      DAY_MILLIS,
      "Milliseconds for one request; a provider's refusal alone can take ten minutes of it."
    ),
    usualFrom: "TURN_TIMEOUT_MS"
  },
  OPENCLAW_CLIENT_TOOLS_ENABLED: choice(
    "Gateway",
    "true",
    yesOrNo,
    "Whether agents get their tools with the request; with false they call them over HTTP."
  ),
  OPENCLAW_PROFILE_SYNC: choice(
    "Profiles",
    "false",
    yesOrNo,
    "Whether the agents' workspaces and their part of the gateway's configuration are written."
  ),
  OPENCLAW_WORKSPACE_ROOT: text(
    "Profiles",
    "workspaces in the state folder",
    "a folder",
    "Holds a folder for each agent."
  ),
  OPENCLAW_AGENTS_MD_PATH: text("Profiles", "the package's text", "a file", "What agents read as AGENTS.md."),
  OPENCLAW_HEARTBEAT_MD_PATH: text("Profiles", "the package's text", "a file", "What agents read as HEARTBEAT.md."),
  AGENT_SYNC_INTERVAL: integer(
    "Profiles",
    300_000,
    1_000,
    DAY_MILLIS,
    "Milliseconds between full reads of the roster while pushes do not arrive."
  ),
  HEARTBEAT_SKIP_IDLE: choice(
    "Profiles",
    "true",
    yesOrNo,
    "Whether a heartbeat calls no model when the agent has no open task or nothing changed since the last one."
  ),
  HEALTH_CHECK_INTERVAL: integer(
    "Life of the process",
    60_000,
    5_000,
    DAY_MILLIS,
    "Milliseconds between reports of presence to the control plane."
  ),
  DRAIN_TIMEOUT_MS: integer(
    "Life of the process",
    25_000,
    0,
    DAY_MILLIS,
    "Milliseconds for which running turns may go on after a signal."
  ),
  UPGRADE_COMMAND: text(
    "Life of the process",
    "none",
    "a command",
    "Run before the process ends for an upgrade: a program and its arguments, separated by spaces, without a shell; it finds the target versions in UPGRADE_RUNTIME_VERSION and UPGRADE_OPENCLAW_VERSION."
  ),
  UPGRADE_FILE: text(
    "Life of the process",
    "upgrade.json in the state folder",
    "a file",
    "Left with the target versions for the host's unit where no command is set."
  ),
  LOG_LEVEL: choice("Logs", "info", ["trace", "debug", "info", "warn", "error"], "The least level that is logged."),
  LOG_FORMAT: choice(
    "Logs",
    "auto",
    ["auto", "json", "pretty"],
    "Lines for people or JSON; auto is pretty on a terminal and JSON elsewhere."
  ),
  RUNTIME_VERSION: text("Where it runs", "the package's", "a version", "What /version and the control plane show."),
  OPENCLAW_VERSION: text(
    "Where it runs",
    "asked of the gateway",
    "a version",
    "The gateway's version, where it does not tell."
  ),
  DROPLET_ID: text("Where it runs", "unknown", "text", "The id of the machine, shown to people."),
  DROPLET_IP: text("Where it runs", "unknown", "text", "The address of the machine, shown to people."),
  DROPLET_REGION: text("Where it runs", "unknown", "text", "The region of the machine, shown to people."),
  OTEL_EXPORTER_OTLP_ENDPOINT: text(
    "Tracing",
    "none",
    "http or https",
    "Where traces are sent over OTLP (http/protobuf), without /v1/traces; without it and without a Honeycomb key there are none."
  ),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: text(
    "Tracing",
    "none",
    "http or https",
    "The same for traces alone: the whole address. It goes first."
  ),
  OTEL_EXPORTER_OTLP_HEADERS: secret(
    "Tracing",
    "none",
    "name=value, separated by commas",
    "Headers of that request, e.g. a key."
  ),
  OTEL_EXPORTER_OTLP_TRACES_HEADERS: secret(
    "Tracing",
    "none",
    "name=value, separated by commas",
    "Further headers for traces alone; of the same name these go first."
  ),
  OTEL_SERVICE_NAME: text("Tracing", "mission-control-runtime", "text", "The service's name in traces."),
  OTEL_RESOURCE_ATTRIBUTES: text(
    "Tracing",
    "none",
    "name=value, separated by commas",
    "Further attributes of every trace."
  ),
  OTEL_TRACES_SAMPLER: choice("Tracing", "parentbased_always_on", samplers, "Which traces are kept."),
  OTEL_TRACES_SAMPLER_ARG: text("Tracing", "1", "0 to 1", "The share that the samplers by trace id keep."),
  OTEL_SDK_DISABLED: choice("Tracing", "false", yesOrNo, "Whether traces are off whatever the others say."),
  HONEYCOMB_API_KEY: secret(
    "Tracing",
    "none",
    "visible ASCII",
    "Alone sends traces to Honeycomb; with an endpoint it goes there as x-honeycomb-team."
  ),
  TRACE_CONTENT: choice("Tracing", "false", yesOrNo, "Whether traces hold the texts of prompts and replies."),
  CONVEX_DEPLOY_KEY: secret(
    "Commands for people",
    "none",
    "a deploy key of the deployment",
    "With MISSION_CONTROL_IDENTITY, the commands act as that person. `start` refuses to run with it."
  ),
  MISSION_CONTROL_IDENTITY: text(
    "Commands for people",
    "none",
    "JSON with issuer, subject and name",
    "Who the commands act as with CONVEX_DEPLOY_KEY; the same issuer and subject are the same person."
  ),
  MISSION_CONTROL_TOKEN: secret(
    "Commands for people",
    "none",
    "an OpenID Connect token",
    "Who the commands act as: a token of a sign-in provider that the deployment trusts."
  )
} as const satisfies Record<string, Variable>

export type VariableName = keyof typeof variables

/** The names of one kind of variable. */
export type NamesOf<Kind extends Variable["kind"]> = {
  [Name in VariableName]: (typeof variables)[Name]["kind"] extends Kind ? Name : never
}[VariableName]

/** All variables with their names, in the order of the documents. */
export const allVariables: ReadonlyArray<readonly [VariableName, Variable]> = Object.entries(variables) as Array<
  [VariableName, Variable]
>

const grouped = new Intl.NumberFormat("en-US")

/** What a value must be, in words. */
export const ruleOf = (variable: Variable): string =>
  variable.kind === "integer"
    ? `${grouped.format(variable.least)} to ${grouped.format(variable.most)}`
    : variable.kind === "choice"
      ? variable.allowed.join(", ")
      : variable.rule

/** The default in words. */
export const usualOf = (variable: Variable): string =>
  (variable.kind === "integer" ? variable.usualFrom : undefined) ?? String(variable.usual ?? "required")
