import { homedir, hostname } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { ConfigProvider as Provider, Context, Duration, Effect, FileSystem, Layer, Option } from "effect"
import { Redacted, Result, Schema } from "effect"
import type { ConfigProvider } from "effect"
import packageJson from "../../package.json" with { type: "json" }
import type { TracingSettings } from "../domain/observability/TraceTarget.ts"
import type { AddressList } from "../domain/settings/AddressList.ts"
import { readDeploymentUrl, readPath, readProxy, readUrl } from "../domain/settings/EnvironmentValue.ts"
import { variables } from "../domain/settings/Variables.ts"
import { variableTypos } from "../domain/settings/VariableTypos.ts"
import {
  addressListOf,
  argumentsOf,
  asGatewayToken,
  asHeaders,
  asRatio,
  gatewayOf,
  inHeader,
  readAccountId,
  tokenOf
} from "./config/ConfigChecks.ts"
import { makeReader } from "./config/ConfigReader.ts"
import type { Problem, Read } from "./config/ConfigReader.ts"

/** The configuration cannot be used; every problem is listed, one line each, without a secret. */
export class ConfigInvalid extends Schema.TaggedError<ConfigInvalid>()("ConfigInvalid", {
  problems: Schema.Array(Schema.String),
  /** Names that look like a misspelt variable, one line each. */
  hints: Schema.optionalKey(Schema.Array(Schema.String))
}) {}

/** The secrets that may change while the process runs. */
export interface Credentials {
  readonly serviceToken: Redacted.Redacted
  readonly gatewayToken: Option.Option<Redacted.Redacted>
}

/** What the runtime is told by its environment; durations are `Duration`, secrets are `Redacted`. */
export interface Settings {
  readonly accountId: string
  readonly convexUrl: string
  readonly serviceToken: Redacted.Redacted
  /** The proxy for https addresses, with its credentials, and the hosts that are reached without it. */
  readonly proxy: Option.Option<Redacted.Redacted>
  readonly noProxy: string
  readonly runtimeId: string
  readonly healthHost: string
  readonly healthPort: number
  /** From where agents may call their endpoints, and what proves that one does. */
  readonly agentHttpAllow: AddressList
  readonly agentHttpAuth: "capability" | "session-key"
  /** By which the gateway reaches this process; without a slash at its end. */
  readonly taskStatusBaseUrl: string
  readonly clientToolsEnabled: boolean
  readonly deliveryInterval: Duration.Duration
  readonly deliveryBackoffBase: Duration.Duration
  readonly deliveryBackoffMax: Duration.Duration
  readonly deliveryLease: Duration.Duration
  readonly deliveryMaxConcurrentSessions: number
  readonly deliveryMaxAttempts: number
  readonly noResponseLimit: number
  readonly maxToolRounds: number
  readonly maxAgentHops: number
  /** Tokens of a session's history; 0 is no limit. */
  readonly sessionTokenLimit: number
  readonly maxAgentTurnsPerTask: number
  readonly quietTime: Duration.Duration
  readonly quietTimeLimit: Duration.Duration
  readonly gatewayUrl: Option.Option<string>
  readonly gatewayToken: Option.Option<Redacted.Redacted>
  /** The command that starts the gateway when no address is given, its arguments, and the port it is told to take. */
  readonly gatewayPath: string
  readonly gatewayArgs: ReadonlyArray<string>
  readonly gatewayPort: number
  /** The folder of the gateway's state, of our pid file and of upgrade.json; absolute, like the paths below. */
  readonly stateDir: string
  readonly gatewayConfigPath: string
  readonly profileSync: boolean
  readonly workspaceRoot: string
  readonly agentsMdPath: string
  readonly heartbeatMdPath: string
  /** The program for agents' worktrees; always the package's. */
  readonly worktreeScriptPath: string
  readonly gatewayRequestTimeout: Duration.Duration
  readonly turnTimeout: Duration.Duration
  readonly healthCheckInterval: Duration.Duration
  /** How often the roster is read while push is down. */
  readonly agentSyncInterval: Duration.Duration
  /** Whether heartbeats pass over the model when nothing that the agent would see has changed. */
  readonly heartbeatSkipIdle: boolean
  readonly drainTimeout: Duration.Duration
  readonly logLevel: "trace" | "debug" | "info" | "warn" | "error"
  readonly logFormat: "auto" | "json" | "pretty"
  readonly runtimeVersion: string
  readonly openclawVersion: Option.Option<string>
  readonly dropletId: Option.Option<string>
  readonly dropletIp: Option.Option<string>
  readonly dropletRegion: Option.Option<string>
  readonly upgradeCommand: Option.Option<ReadonlyArray<string>>
  readonly upgradeFile: string
  readonly tracing: TracingSettings
  /** Names of the environment that look like a misspelt variable, one line each. */
  readonly hints: ReadonlyArray<string>
  /** Reads the credentials and their files again; fails with what is wrong with them now. */
  readonly readCredentials: Effect.Effect<Credentials, ConfigInvalid>
}

/** A wildcard is an address to listen on, not one to call. */
const baseUrlOf = (host: string, port: number): string => {
  const reachable = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host
  return `http://${reachable.includes(":") ? `[${reachable}]` : reachable}:${port}`
}

/** A file of the package; where it is relative to this module is the same in a checkout and when installed. */
const packaged = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

/** The names of the environment, for hints at misspelt ones. */
export const EnvironmentNames = Context.Reference<ReadonlyArray<string>>(
  "runtime-service/layers/Config/EnvironmentNames",
  {
    defaultValue: () => Object.keys(process.env)
  }
)

/** Where this machine's runtime answers, by HEALTH_HOST and HEALTH_PORT alone, so that probes need no other variable. */
export const readLocalUrl = Effect.fn("Config.readLocalUrl")(function* (provider: ConfigProvider.ConfigProvider) {
  const read = makeReader(provider, yield* FileSystem.FileSystem)
  return yield* Effect.gen(function* () {
    return baseUrlOf(yield* read.host("HEALTH_HOST", variables.HEALTH_HOST.usual), yield* read.integer("HEALTH_PORT"))
  }).pipe(Effect.mapError((problem) => new ConfigInvalid({ problems: [problem] })))
})

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
      // A token that cannot be read is a problem of its own, and not missing as well.
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
    stateDir,
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
    agentHttpAllow: yield* collect(Effect.flatMap(read.optional("AGENT_HTTP_ALLOW"), addressListOf)),
    agentHttpAuth: yield* collect(read.oneOf("AGENT_HTTP_AUTH")),
    clientToolsEnabled: yield* collect(read.flag("OPENCLAW_CLIENT_TOOLS_ENABLED")),
    deliveryInterval: yield* collect(read.millis("DELIVERY_INTERVAL")),
    deliveryBackoffBase: yield* collect(read.millis("DELIVERY_BACKOFF_BASE_MS")),
    deliveryBackoffMax: yield* collect(read.millis("DELIVERY_BACKOFF_MAX_MS")),
    deliveryLease: yield* collect(read.millis("DELIVERY_LEASE_MS")),
    deliveryMaxConcurrentSessions: yield* collect(read.integer("DELIVERY_MAX_CONCURRENT_SESSIONS")),
    deliveryMaxAttempts: yield* collect(read.integer("DELIVERY_MAX_ATTEMPTS")),
    noResponseLimit: yield* collect(read.integer("NO_RESPONSE_LIMIT")),
    maxToolRounds: yield* collect(read.integer("MAX_TOOL_ROUNDS")),
    maxAgentHops: yield* collect(read.integer("MAX_AGENT_HOPS")),
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
    upgradeCommand: yield* collect(read.command("UPGRADE_COMMAND")),
    upgradeFile: yield* collect(read.path("UPGRADE_FILE", inStateDir("upgrade.json")))
  }
  const tracing = {
    isDisabled: yield* collect(read.flag("OTEL_SDK_DISABLED")),
    endpoint: yield* collect(
      read.url("OTEL_EXPORTER_OTLP_ENDPOINT", "the collector's address, e.g. http://127.0.0.1:4318")
    ),
    tracesEndpoint: yield* collect(
      read.parsed(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        (value) => Result.map(readUrl(value), ({ href }) => href),
        "the collector's address, e.g. http://127.0.0.1:4318/v1/traces"
      )
    ),
    headers: yield* collect(Effect.flatMap(read.secret("OTEL_EXPORTER_OTLP_HEADERS"), asHeaders)),
    tracesHeaders: yield* collect(Effect.flatMap(read.secret("OTEL_EXPORTER_OTLP_TRACES_HEADERS"), asHeaders)),
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
  const readCredentials = Effect.gen(function* () {
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
      tracing: Result.all(tracing),
      hints: Result.succeed(hints),
      readCredentials: Result.succeed(readCredentials),
      ...fields
    })
  ).pipe(Effect.mapError((problem) => new ConfigInvalid({ problems: [problem] })))
})

/** The environment of a test: what is required, and nothing of this machine. */
const testEnvironment = {
  ACCOUNT_ID: "testaccount1",
  CONVEX_URL: "http://127.0.0.1:1",
  SERVICE_TOKEN: `mc_service_testaccount1_${"0".repeat(64)}`,
  RUNTIME_ID: "test-runtime",
  OPENCLAW_GATEWAY_URL: "http://127.0.0.1:18789",
  OPENCLAW_STATE_DIR: "/nonexistent/state",
  LOG_FORMAT: "json"
}

/** The runtime's settings, read once at start from the environment. */
export class RuntimeConfig extends Context.Service<RuntimeConfig, Settings>()("runtime-service/layers/Config") {
  /** Reads the environment; fails with ConfigInvalid, which lists all problems. */
  static readonly layer = Layer.effect(
    RuntimeConfig,
    Effect.gen(function* () {
      return yield* readSettings(yield* Provider.ConfigProvider)
    })
  )

  /** Settings for a test: the documented defaults, and what the test says. */
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
