/**
 * Every variable of the environment: its rule, its default and its purpose. Config, documents and hints derive from it.
 */

import { logsExporters, samplers } from "../observability/TelemetryTarget.ts"
import { choice, DAY_MILLIS, integer, secret, text, yesOrNo } from "./VariableKinds.ts"
import type { Variable } from "./VariableKinds.ts"

export const variables = {
  ACCOUNT_ID: text("Account", null, "8 to 64 letters and digits", "The account's id in Convex."),
  CONVEX_URL: text("Account", null, "http or https", "The address of the deployment that is the control plane."),
  SERVICE_TOKEN: secret(
    "Account",
    null,
    "mc_service_{accountId}_{64 hex digits}",
    "Authenticates this process to the control plane, for one account."
  ),
  HTTPS_PROXY: text(
    "Account",
    "none",
    "http or https, also in lower case as https_proxy",
    "The proxy for https addresses of the control plane, and of traces and logs; the gateway is always reached directly."
  ),
  NO_PROXY: text(
    "Account",
    "none",
    "hosts separated by commas, also in lower case as no_proxy",
    "Hosts that are reached without the proxy, with their subdomains; * means all."
  ),
  RUNTIME_ID: text(
    "Account",
    "host name",
    "the same across restarts, and unique to one process",
    "The name of this process in the control plane. Its next start releases the leases of the previous one."
  ),
  HEALTH_HOST: text(
    "Endpoints",
    "127.0.0.1",
    "an address of this machine",
    "The address on which the endpoints listen."
  ),
  HEALTH_PORT: integer("Endpoints", 3_000, 1, 65_535, "The port on which the endpoints listen."),
  AGENT_HTTP_ALLOW: text(
    "Endpoints",
    "loopback",
    "CIDRs without host bits, separated by commas",
    "Additional addresses from which agents may call their endpoints."
  ),
  AGENT_HTTP_AUTH: choice(
    "Endpoints",
    "capability",
    ["capability", "session-key"],
    "How agents authenticate: with their run's capability, or with the key of a session that has a live run."
  ),
  TASK_STATUS_BASE_URL: text(
    "Endpoints",
    "from HEALTH_HOST and HEALTH_PORT",
    "http or https",
    "The address at which the gateway reaches this process."
  ),
  DELIVERY_INTERVAL: integer("Delivery", 15_000, 1_000, DAY_MILLIS, "Milliseconds between polls while push is down."),
  DELIVERY_BACKOFF_BASE_MS: integer(
    "Delivery",
    5_000,
    1_000,
    DAY_MILLIS,
    "Milliseconds before the second attempt. Each further failure doubles it."
  ),
  DELIVERY_BACKOFF_MAX_MS: integer(
    "Delivery",
    300_000,
    1_000,
    DAY_MILLIS,
    "The maximum of that wait in milliseconds, at least DELIVERY_BACKOFF_BASE_MS."
  ),
  DELIVERY_LEASE_MS: integer(
    "Delivery",
    90_000,
    3_000,
    600_000,
    "Milliseconds until a lease expires. The runtime renews it every third of this time."
  ),
  DELIVERY_MAX_CONCURRENT_SESSIONS: integer(
    "Delivery",
    8,
    1,
    100,
    "Maximum number of concurrent turns, deliveries and heartbeats together."
  ),
  DELIVERY_MAX_ATTEMPTS: integer("Delivery", 8, 1, 100, "Attempts before a notification becomes a dead letter."),
  NO_RESPONSE_LIMIT: integer(
    "Delivery",
    3,
    1,
    100,
    "Turns without an owed answer before the fallback message is posted."
  ),
  MAX_TOOL_ROUNDS: integer("Delivery", 10, 1, 100, "Maximum rounds of tool calls in a turn."),
  MAX_AGENT_HOPS: integer(
    "Delivery",
    12,
    1,
    100,
    "Maximum length of a chain of turns that agents trigger without a person."
  ),
  SESSION_TOKEN_LIMIT: integer(
    "Delivery",
    100_000,
    0,
    10_000_000,
    "Tokens of history after which a session starts over with full texts, when none of its work is waiting; 0 means never."
  ),
  MAX_AGENT_TURNS_PER_TASK: integer(
    "Delivery",
    40,
    1,
    10_000,
    "Turns that agents may run on a task before a person has to act on it."
  ),
  QUIET_TIME: integer(
    "Delivery",
    60_000,
    0,
    DAY_MILLIS,
    "Milliseconds without further messages before agents' messages that mention no one are delivered; 0 means at once."
  ),
  QUIET_TIME_LIMIT: integer(
    "Delivery",
    300_000,
    0,
    DAY_MILLIS,
    "The maximum of that wait in milliseconds, from the first of these messages."
  ),
  TURN_TIMEOUT_MS: integer(
    "Delivery",
    900_000,
    5_000,
    DAY_MILLIS,
    "Maximum duration of a turn with its tool calls in milliseconds."
  ),
  OPENCLAW_GATEWAY_URL: text(
    "Gateway",
    "none",
    "http or https",
    "The gateway's address. Without it, the runtime starts a gateway."
  ),
  OPENCLAW_GATEWAY_TOKEN: secret(
    "Gateway",
    "none",
    "visible ASCII; required if the gateway is not on this machine",
    "The gateway's gateway.auth.token. A gateway that the runtime starts gets a random one at each start."
  ),
  OPENCLAW_GATEWAY_PATH: text("Gateway", "openclaw", "a command or path", "The command that starts the gateway."),
  OPENCLAW_GATEWAY_ARGS: text(
    "Gateway",
    "gateway run",
    "separated by spaces, without --port and --token",
    "The arguments of that command."
  ),
  OPENCLAW_GATEWAY_PORT: integer(
    "Gateway",
    18_789,
    1,
    65_535,
    "The port on 127.0.0.1 for a gateway that the runtime starts."
  ),
  OPENCLAW_STATE_DIR: text(
    "Gateway",
    "~/.openclaw",
    "a folder",
    "The folder with the gateway's state, the runtime's pid file and upgrade.json."
  ),
  OPENCLAW_CONFIG_PATH: text(
    "Gateway",
    "openclaw.json in the state folder",
    "a file",
    "The gateway's configuration file."
  ),
  OPENCLAW_REQUEST_TIMEOUT_MS: {
    ...integer(
      "Gateway",
      900_000,
      5_000,
      DAY_MILLIS,
      "Maximum duration of one request in milliseconds. A provider's refusal alone can take ten minutes."
    ),
    usualFrom: "TURN_TIMEOUT_MS"
  },
  OPENCLAW_CLIENT_TOOLS_ENABLED: choice(
    "Gateway",
    "true",
    yesOrNo,
    "Whether requests contain the agents' tools. If false, agents call them over HTTP."
  ),
  OPENCLAW_GATEWAY_EVENTS: choice(
    "Gateway",
    "true",
    yesOrNo,
    "Whether the runtime follows running turns over the gateway's WebSocket, for live progress and exact causes of failures."
  ),
  OPENCLAW_PROFILE_SYNC: choice(
    "Profiles",
    "false",
    yesOrNo,
    "Whether the runtime writes the agents' workspaces and their part of the gateway's configuration."
  ),
  OPENCLAW_WORKSPACE_ROOT: text(
    "Profiles",
    "workspaces in the state folder",
    "a folder",
    "The folder with one workspace per agent."
  ),
  OPENCLAW_AGENTS_MD_PATH: text("Profiles", "the package's text", "a file", "The text of the workspaces' AGENTS.md."),
  OPENCLAW_HEARTBEAT_MD_PATH: text(
    "Profiles",
    "the package's text",
    "a file",
    "The text of the workspaces' HEARTBEAT.md."
  ),
  AGENT_SYNC_INTERVAL: integer(
    "Profiles",
    300_000,
    1_000,
    DAY_MILLIS,
    "Milliseconds between full reads of the roster while push is down."
  ),
  HEARTBEAT_SKIP_IDLE: choice(
    "Profiles",
    "true",
    yesOrNo,
    "Whether heartbeats skip the model if the agent has no open task, or nothing changed since its last heartbeat."
  ),
  HEALTH_CHECK_INTERVAL: integer(
    "Life of the process",
    60_000,
    5_000,
    DAY_MILLIS,
    "Milliseconds between pulses, which report presence and health to the control plane."
  ),
  DRAIN_TIMEOUT_MS: integer(
    "Life of the process",
    25_000,
    0,
    DAY_MILLIS,
    "Milliseconds that running turns may take to finish after a signal."
  ),
  UPGRADE_COMMAND: text(
    "Life of the process",
    "none",
    "a command",
    "The command to run before the process ends for an upgrade: a program and its arguments, separated by spaces, without a shell. It gets the target versions in UPGRADE_RUNTIME_VERSION and UPGRADE_OPENCLAW_VERSION."
  ),
  UPGRADE_FILE: text(
    "Life of the process",
    "upgrade.json in the state folder",
    "a file",
    "The file for the host with the target versions of an upgrade, if UPGRADE_COMMAND is not set."
  ),
  LOG_LEVEL: choice("Logs", "info", ["trace", "debug", "info", "warn", "error"], "The minimum level that is logged."),
  LOG_FORMAT: choice(
    "Logs",
    "auto",
    ["auto", "json", "pretty"],
    "The format of log lines; auto means pretty on a terminal and JSON elsewhere."
  ),
  RUNTIME_VERSION: text(
    "Where it runs",
    "the package's",
    "a version",
    "The version that /version and the control plane show."
  ),
  OPENCLAW_VERSION: text(
    "Where it runs",
    "as the gateway reports it",
    "a version",
    "The gateway's version, if it does not report one."
  ),
  DROPLET_ID: text("Where it runs", "unknown", "text", "The id of the machine, shown to people."),
  DROPLET_IP: text("Where it runs", "unknown", "text", "The address of the machine, shown to people."),
  DROPLET_REGION: text("Where it runs", "unknown", "text", "The region of the machine, shown to people."),
  OTEL_EXPORTER_OTLP_ENDPOINT: text(
    "Traces and logs",
    "none",
    "http or https",
    "The OTLP endpoint (http/protobuf), without /v1/traces or /v1/logs. Without an endpoint and a Honeycomb key, nothing is sent."
  ),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: text(
    "Traces and logs",
    "none",
    "http or https",
    "The whole address for traces. It takes precedence over OTEL_EXPORTER_OTLP_ENDPOINT."
  ),
  OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: text(
    "Traces and logs",
    "none",
    "http or https",
    "The whole address for logs. It takes precedence over OTEL_EXPORTER_OTLP_ENDPOINT."
  ),
  OTEL_EXPORTER_OTLP_HEADERS: secret(
    "Traces and logs",
    "none",
    "name=value, separated by commas",
    "Headers of the export request, for example a key."
  ),
  OTEL_EXPORTER_OTLP_TRACES_HEADERS: secret(
    "Traces and logs",
    "none",
    "name=value, separated by commas",
    "Headers for traces only. They take precedence over OTEL_EXPORTER_OTLP_HEADERS."
  ),
  OTEL_EXPORTER_OTLP_LOGS_HEADERS: secret(
    "Traces and logs",
    "none",
    "name=value, separated by commas",
    "Headers for logs only. They take precedence over OTEL_EXPORTER_OTLP_HEADERS."
  ),
  OTEL_LOGS_EXPORTER: choice(
    "Traces and logs",
    "otlp",
    logsExporters,
    "Whether logs are sent too, if there is an endpoint for them. Standard error always has them."
  ),
  OTEL_SERVICE_NAME: text(
    "Traces and logs",
    "mission-control-runtime",
    "text",
    "The service's name in traces and logs."
  ),
  OTEL_RESOURCE_ATTRIBUTES: text(
    "Traces and logs",
    "none",
    "name=value, separated by commas",
    "Additional attributes of every trace and log line."
  ),
  OTEL_TRACES_SAMPLER: choice(
    "Traces and logs",
    "parentbased_always_on",
    samplers,
    "The sampler, which decides which traces are kept."
  ),
  OTEL_TRACES_SAMPLER_ARG: text(
    "Traces and logs",
    "1",
    "0 to 1",
    "The share of traces that samplers by trace id keep."
  ),
  OTEL_SDK_DISABLED: choice(
    "Traces and logs",
    "false",
    yesOrNo,
    "Whether nothing is sent, regardless of the other variables."
  ),
  HONEYCOMB_API_KEY: secret(
    "Traces and logs",
    "none",
    "visible ASCII",
    "The Honeycomb API key. Without an endpoint traces and logs go to Honeycomb; with an endpoint it is the header x-honeycomb-team."
  ),
  TRACE_CONTENT: choice(
    "Traces and logs",
    "false",
    yesOrNo,
    "Whether traces contain the texts of prompts and replies."
  ),
  TRACE_LINK: text(
    "Traces and logs",
    "none",
    "http or https, with {traceId}",
    "The address of a trace in your tracing tool, for the links of the status page."
  ),
  CONVEX_DEPLOY_KEY: secret(
    "Commands for people",
    "none",
    "a deploy key of the deployment",
    "With MISSION_CONTROL_IDENTITY, the commands act as that person. `fleet` needs only the key. `start` refuses to run if it is set."
  ),
  MISSION_CONTROL_IDENTITY: text(
    "Commands for people",
    "none",
    "JSON with issuer, subject and name",
    "The person as whom the commands act with CONVEX_DEPLOY_KEY. Issuer and subject identify the person."
  ),
  MISSION_CONTROL_TOKEN: secret(
    "Commands for people",
    "none",
    "an OpenID Connect token",
    "The token of a sign-in provider that the deployment trusts. The commands act as its person."
  )
} as const satisfies Record<string, Variable>

export type VariableName = keyof typeof variables

/** The names of one kind of variable. */
export type NamesOf<Kind extends Variable["kind"]> = {
  [Name in VariableName]: (typeof variables)[Name]["kind"] extends Kind ? Name : never
}[VariableName]

/** All variables with their names, in the documents' order. */
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
