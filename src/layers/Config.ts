import { homedir, hostname } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { ConfigProvider as Provider, Context, Duration, Effect, FileSystem, Layer, Option } from "effect"
import { Redacted, Result } from "effect"
import type { ConfigProvider } from "effect"
import packageJson from "../../package.json" with { type: "json" }
import { readDeploymentUrl, readPath, readProxy, readTraceLink } from "../domain/settings/EnvironmentValue.ts"
import { variables } from "../domain/settings/Variables.ts"
import { variableTypos } from "../domain/settings/VariableTypos.ts"
import {
  addressListOf,
  argumentsOf,
  asAddress,
  asGatewayToken,
  asHeaders,
  asRatio,
  ConfigInvalid,
  gatewayOf,
  inHeader,
  readAccountId,
  tokenOf
} from "./config/ConfigChecks.ts"
import { makeReader } from "./config/ConfigReader.ts"
import type { Problem, Read } from "./config/ConfigReader.ts"
import { baseUrlOf } from "./config/LocalAddress.ts"

export { ConfigInvalid }

/** The secrets that may change while the process runs. */
export interface Credentials {
  readonly serviceToken: Redacted.Redacted
  readonly gatewayToken: Option.Option<Redacted.Redacted>
}

/** A file of the package. Its path relative to this module is the same in a checkout and in the bundle. */
const packaged = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

/** The names of the environment's variables, for hints at misspelt ones. */
export const EnvironmentNames = Context.Reference<ReadonlyArray<string>>(
  "runtime-service/layers/Config/EnvironmentNames",
  {
    defaultValue: () => Object.keys(process.env)
  }
)

/** Reads every variable and fails with all problems at once. */
export const readSettings = Effect.fn("Config.readSettings")(function* (provider: ConfigProvider.ConfigProvider) {
  const fileSystem = yield* FileSystem.FileSystem
  const read = makeReader(provider, fileSystem)
  const problems: Array<Problem> = []
  const collect = <A>(effect: Read<A>): Effect.Effect<Result.Result<A, Problem>> =>
    Effect.tap(Effect.result(effect), (result) =>
      Effect.sync(() => {
        if (Result.isFailure(result)) problems.push(result.failure)
      })
    )
  const accountId = yield* collect(read.required("ACCOUNT_ID", readAccountId, "the account's id in Convex"))
  const convexUrl = yield* collect(
    read.required("CONVEX_URL", readDeploymentUrl, "the deployment's address, e.g. https://name-123.convex.cloud")
  )
  const secretToken = yield* collect(read.secret("SERVICE_TOKEN"))
  const serviceToken = yield* Result.isSuccess(secretToken)
    ? collect(tokenOf(secretToken.success, accountId))
    : Effect.succeed(Result.fail(secretToken.failure))
  const gatewayToken = yield* collect(Effect.flatMap(read.secret("OPENCLAW_GATEWAY_TOKEN"), asGatewayToken))
  const gatewayUrl = yield* collect(
    Effect.flatMap(
      read.url("OPENCLAW_GATEWAY_URL", "the gateway's address, e.g. http://127.0.0.1:18789"),
      // A token that cannot be read is already a problem; it is not reported as missing too.
      (url) =>
        gatewayOf(
          url,
          Result.getOrElse(gatewayToken, () => Option.some(Redacted.make("")))
        )
    )
  )
  const stateDir = yield* collect(read.path("OPENCLAW_STATE_DIR", join(homedir(), ".openclaw")))
  const inStateDir = (name: string) => join(Result.getOrElse(stateDir, homedir), name)
  const turnTimeout = yield* collect(read.millis("TURN_TIMEOUT_MS"))
  const fields = {
    // The directory of the gateway's state, of our pid file and of upgrade.json.
    stateDir,
    // The gateway that this process starts if OPENCLAW_GATEWAY_URL is not set.
    gatewayPath: yield* collect(
      Effect.map(
        read.parsed("OPENCLAW_GATEWAY_PATH", (value) => readPath(value, homedir()), "a command or a path"),
        Option.getOrElse(() => variables.OPENCLAW_GATEWAY_PATH.usual)
      )
    ),
    gatewayArgs: yield* collect(Effect.flatMap(read.command("OPENCLAW_GATEWAY_ARGS"), argumentsOf)),
    gatewayPort: yield* collect(read.integer("OPENCLAW_GATEWAY_PORT")),
    gatewayConfigPath: yield* collect(read.path("OPENCLAW_CONFIG_PATH", inStateDir("openclaw.json"))),
    profileSync: yield* collect(read.flag("OPENCLAW_PROFILE_SYNC")),
    workspaceRoot: yield* collect(read.path("OPENCLAW_WORKSPACE_ROOT", inStateDir("workspaces"))),
    agentsMdPath: yield* collect(read.path("OPENCLAW_AGENTS_MD_PATH", packaged("docs/runtime/AGENTS.md"))),
    heartbeatMdPath: yield* collect(read.path("OPENCLAW_HEARTBEAT_MD_PATH", packaged("docs/runtime/HEARTBEAT.md"))),
    worktreeScriptPath: yield* collect(Effect.succeed(packaged("docs/runtime/worktree.sh"))),
    // The proxy for https addresses, with its credentials, and the hosts that are reached without it.
    proxy: yield* collect(
      Effect.map(
        read.parsed("HTTPS_PROXY", readProxy, "the proxy's address, e.g. http://proxy.internal:3128"),
        Option.map(({ href }) => Redacted.make(href, { label: "HTTPS_PROXY" }))
      )
    ),
    noProxy: yield* collect(
      Effect.map(
        read.optional("NO_PROXY"),
        Option.getOrElse(() => "")
      )
    ),
    runtimeId: yield* collect(
      Effect.map(
        read.optional("RUNTIME_ID"),
        Option.getOrElse(() => hostname())
      )
    ),
    healthHost: yield* collect(read.host("HEALTH_HOST", variables.HEALTH_HOST.usual)),
    healthPort: yield* collect(read.integer("HEALTH_PORT")),
    // Networks from which agents may call their endpoints.
    agentHttpAllow: yield* collect(Effect.flatMap(read.optional("AGENT_HTTP_ALLOW"), addressListOf)),
    agentHttpAuth: yield* collect(read.oneOf("AGENT_HTTP_AUTH")),
    clientToolsEnabled: yield* collect(read.flag("OPENCLAW_CLIENT_TOOLS_ENABLED")),
    // Whether to follow running turns over the gateway's WebSocket.
    gatewayEvents: yield* collect(read.flag("OPENCLAW_GATEWAY_EVENTS")),
    deliveryInterval: yield* collect(read.millis("DELIVERY_INTERVAL")),
    deliveryBackoffBase: yield* collect(read.millis("DELIVERY_BACKOFF_BASE_MS")),
    deliveryBackoffMax: yield* collect(read.millis("DELIVERY_BACKOFF_MAX_MS")),
    deliveryLease: yield* collect(read.millis("DELIVERY_LEASE_MS")),
    deliveryMaxConcurrentSessions: yield* collect(read.integer("DELIVERY_MAX_CONCURRENT_SESSIONS")),
    deliveryMaxAttempts: yield* collect(read.integer("DELIVERY_MAX_ATTEMPTS")),
    noResponseLimit: yield* collect(read.integer("NO_RESPONSE_LIMIT")),
    maxToolRounds: yield* collect(read.integer("MAX_TOOL_ROUNDS")),
    maxAgentHops: yield* collect(read.integer("MAX_AGENT_HOPS")),
    // Tokens of a session's history; 0 is no limit.
    sessionTokenLimit: yield* collect(read.integer("SESSION_TOKEN_LIMIT")),
    maxAgentTurnsPerTask: yield* collect(read.integer("MAX_AGENT_TURNS_PER_TASK")),
    quietTime: yield* collect(read.millis("QUIET_TIME")),
    quietTimeLimit: yield* collect(read.millis("QUIET_TIME_LIMIT")),
    gatewayRequestTimeout: yield* collect(
      read.millis("OPENCLAW_REQUEST_TIMEOUT_MS", Result.getOrUndefined(turnTimeout))
    ),
    turnTimeout,
    healthCheckInterval: yield* collect(read.millis("HEALTH_CHECK_INTERVAL")),
    agentSyncInterval: yield* collect(read.millis("AGENT_SYNC_INTERVAL")),
    heartbeatSkipIdle: yield* collect(read.flag("HEARTBEAT_SKIP_IDLE")),
    drainTimeout: yield* collect(read.millis("DRAIN_TIMEOUT_MS")),
    logLevel: yield* collect(read.oneOf("LOG_LEVEL")),
    logFormat: yield* collect(read.oneOf("LOG_FORMAT")),
    runtimeVersion: yield* collect(
      Effect.map(
        read.optional("RUNTIME_VERSION"),
        Option.getOrElse(() => packageJson.version)
      )
    ),
    openclawVersion: yield* collect(read.optional("OPENCLAW_VERSION")),
    dropletId: yield* collect(read.optional("DROPLET_ID")),
    dropletIp: yield* collect(read.optional("DROPLET_IP")),
    dropletRegion: yield* collect(read.optional("DROPLET_REGION")),
    traceLink: yield* collect(
      read.parsed("TRACE_LINK", readTraceLink, "the address of a trace, e.g. https://jaeger.example/trace/{traceId}")
    ),
    upgradeCommand: yield* collect(read.command("UPGRADE_COMMAND")),
    upgradeFile: yield* collect(read.path("UPGRADE_FILE", inStateDir("upgrade.json")))
  }
  const telemetry = {
    isDisabled: yield* collect(read.flag("OTEL_SDK_DISABLED")),
    endpoint: yield* collect(
      read.url("OTEL_EXPORTER_OTLP_ENDPOINT", "the collector's address, e.g. http://127.0.0.1:4318")
    ),
    tracesEndpoint: yield* collect(
      read.parsed(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        asAddress,
        "the collector's address, e.g. http://127.0.0.1:4318/v1/traces"
      )
    ),
    logsEndpoint: yield* collect(
      read.parsed(
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        asAddress,
        "the collector's address, e.g. http://127.0.0.1:4318/v1/logs"
      )
    ),
    headers: yield* collect(Effect.flatMap(read.secret("OTEL_EXPORTER_OTLP_HEADERS"), asHeaders)),
    tracesHeaders: yield* collect(Effect.flatMap(read.secret("OTEL_EXPORTER_OTLP_TRACES_HEADERS"), asHeaders)),
    logsHeaders: yield* collect(Effect.flatMap(read.secret("OTEL_EXPORTER_OTLP_LOGS_HEADERS"), asHeaders)),
    logsExporter: yield* collect(read.oneOf("OTEL_LOGS_EXPORTER")),
    serviceName: yield* collect(
      Effect.map(
        read.optional("OTEL_SERVICE_NAME"),
        Option.getOrElse(() => variables.OTEL_SERVICE_NAME.usual)
      )
    ),
    resourceAttributes: yield* collect(read.optional("OTEL_RESOURCE_ATTRIBUTES")),
    sampler: yield* collect(read.oneOf("OTEL_TRACES_SAMPLER")),
    samplerArgument: yield* collect(read.parsed("OTEL_TRACES_SAMPLER_ARG", asRatio, "a ratio from 0 to 1, e.g. 0.1")),
    honeycombApiKey: yield* collect(Effect.flatMap(read.secret("HONEYCOMB_API_KEY"), inHeader("the key"))),
    hasContent: yield* collect(read.flag("TRACE_CONTENT"))
  }
  const { deliveryBackoffBase, deliveryBackoffMax, healthHost, healthPort } = fields
  /** The address at which the gateway reaches this process; without a slash at its end. */
  const taskStatusBaseUrl = yield* collect(
    Effect.map(
      read.url("TASK_STATUS_BASE_URL", "the address by which the gateway reaches this process"),
      Option.getOrElse(() =>
        baseUrlOf(
          Result.getOrElse(healthHost, () => variables.HEALTH_HOST.usual),
          Result.getOrElse(healthPort, () => 0)
        )
      )
    )
  )
  if (
    Result.isSuccess(deliveryBackoffBase) &&
    Result.isSuccess(deliveryBackoffMax) &&
    Duration.isGreaterThan(deliveryBackoffBase.success, deliveryBackoffMax.success)
  ) {
    problems.push(
      `DELIVERY_BACKOFF_MAX_MS is ${Duration.toMillis(deliveryBackoffMax.success)}: it must not be below DELIVERY_BACKOFF_BASE_MS (${Duration.toMillis(deliveryBackoffBase.success)})`
    )
  }
  const hints = variableTypos(yield* EnvironmentNames)
  if (problems.length > 0) return yield* new ConfigInvalid({ problems, hints })
  /** Reads the credentials and their files again; fails with their current problems. */
  const readCredentials: Effect.Effect<Credentials, ConfigInvalid> = Effect.gen(function* () {
    const service = yield* Effect.flatMap(read.secret("SERVICE_TOKEN"), (token) => tokenOf(token, accountId))
    const gateway = yield* Effect.flatMap(read.secret("OPENCLAW_GATEWAY_TOKEN"), asGatewayToken)
    return { serviceToken: service, gatewayToken: gateway }
  }).pipe(Effect.mapError((problem) => new ConfigInvalid({ problems: [problem] })))
  return yield* Effect.fromResult(
    Result.all({
      accountId,
      convexUrl,
      serviceToken,
      gatewayToken,
      gatewayUrl,
      taskStatusBaseUrl,
      telemetry: Result.all(telemetry),
      hints: Result.succeed(hints),
      readCredentials: Result.succeed(readCredentials),
      ...fields
    })
  ).pipe(Effect.mapError((problem) => new ConfigInvalid({ problems: [problem] })))
})

/**
 * The runtime's settings: durations are `Duration`, secrets are `Redacted`, paths are absolute. An optional variable
 * without a default is an `Option`.
 */
export type Settings = Readonly<Effect.Success<ReturnType<typeof readSettings>>>

/** The environment of a test: the required variables, and nothing of this machine. */
const testEnvironment = {
  ACCOUNT_ID: "testaccount1",
  CONVEX_URL: "http://127.0.0.1:1",
  SERVICE_TOKEN: `mc_service_testaccount1_${"0".repeat(64)}`,
  RUNTIME_ID: "test-runtime",
  OPENCLAW_GATEWAY_URL: "http://127.0.0.1:18789",
  OPENCLAW_STATE_DIR: "/nonexistent/state",
  LOG_FORMAT: "json"
}

/** The runtime's settings, read from the environment once at start. */
export class RuntimeConfig extends Context.Service<RuntimeConfig, Settings>()("runtime-service/layers/Config") {
  /** Reads the environment; fails with ConfigInvalid, which lists all problems. */
  static readonly layer = Layer.effect(
    RuntimeConfig,
    Effect.gen(function* () {
      return yield* readSettings(yield* Provider.ConfigProvider)
    })
  )

  /** Settings for a test: the documented defaults, and `settings`. */
  static readonly layerTest = (settings: Partial<Settings> = {}): Layer.Layer<RuntimeConfig> =>
    Layer.effect(
      RuntimeConfig,
      Effect.map(readSettings(Provider.fromEnvRecord(testEnvironment)), (usual) => {
        const { gatewayToken, serviceToken, ...others } = { ...usual, ...settings }
        const readCredentials = settings.readCredentials ?? Effect.succeed({ gatewayToken, serviceToken })
        return { ...others, gatewayToken, serviceToken, readCredentials }
      })
    ).pipe(
      Layer.provide([FileSystem.layerNoop({}), Layer.succeed(EnvironmentNames, Object.keys(testEnvironment))]),
      Layer.orDie
    )
}
