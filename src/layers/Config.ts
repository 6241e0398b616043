import { homedir, hostname } from "node:os"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { Config, Context, Duration, Effect, FileSystem, Layer, Option, Redacted, Result, Schema } from "effect"
import type { ConfigProvider } from "effect"
import { ConfigProvider as Provider } from "effect"
import packageJson from "../../package.json" with { type: "json" }
import { loopback, parseAddressList } from "../domain/AddressList.ts"
import type { AddressList } from "../domain/AddressList.ts"
import { makeRedactor, REDACTED } from "../domain/Redaction.ts"
import { parseServiceToken, serviceTokenProblem } from "../domain/ServiceToken.ts"
import { readPairs } from "../domain/TraceTarget.ts"
import type { TracingSettings } from "../domain/TraceTarget.ts"
import { allVariables, usualOf, variables } from "../domain/Variables.ts"
import type { NamesOf, VariableName } from "../domain/Variables.ts"
import { variableTypos } from "../domain/VariableTypos.ts"

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
  readonly upgradeCommand: Option.Option<string>
  readonly upgradeFile: string
  readonly tracing: TracingSettings
  /** Names of the environment that look like a misspelt variable, one line each. */
  readonly hints: ReadonlyArray<string>
  /** Reads the credentials and their files again; fails with what is wrong with them now. */
  readonly readCredentials: Effect.Effect<Credentials, ConfigInvalid>
}

type Problem = string
type Read<A> = Effect.Effect<A, Problem>

/** Reads one variable without the space around it; an empty value counts as absent. */
const raw = (provider: ConfigProvider.ConfigProvider, name: string): Read<Option.Option<string>> =>
  Config.option(Config.String(name))
    .parse(provider)
    .pipe(
      Effect.map(Option.map((value) => value.trim())),
      Effect.map(Option.filter((value) => value !== "")),
      Effect.mapError((error) => `${name} cannot be read: ${error.message}`)
    )

const redactShapes = makeRedactor([])

/** Without a token that landed in the wrong variable or credentials of a URL. */
const safe = (value: string): string => redactShapes(value).replace(/:\/\/[^/\s]*@/g, "://")

/** Shown in a message: short, on one line and safe. */
const shown = (value: string): string => {
  const whole = safe(value)
  return JSON.stringify(whole.length > 60 ? `${whole.slice(0, 60)}...` : whole)
}

/** The reader of one account's environment: each method looks up rule and default of the variable it is given. */
const makeReader = (provider: ConfigProvider.ConfigProvider, fileSystem: FileSystem.FileSystem) => {
  const required = (name: NamesOf<"text">, rule: string, problemOf: (value: string) => string | null): Read<string> =>
    Effect.flatMap(
      raw(provider, name),
      Option.match({
        onNone: () => Effect.fail(`${name} is missing: set it to ${rule}`),
        onSome: (value) => {
          const problem = problemOf(value)
          return problem === null
            ? Effect.succeed(value)
            : Effect.fail(`${name} is ${shown(value)}, which ${problem}: set it to ${rule}`)
        }
      })
    )
  const optional = (name: NamesOf<"text">): Read<Option.Option<string>> => raw(provider, name)
  const integer = (name: NamesOf<"integer">, usual: number = variables[name].usual): Read<number> => {
    const { least, most } = variables[name]
    return Effect.flatMap(
      raw(provider, name),
      Option.match({
        onNone: () => Effect.succeed(usual),
        onSome: (value) => {
          const number = Number(value)
          return /^\s*[+-]?\d+\s*$/.test(value) && number >= least && number <= most
            ? Effect.succeed(number)
            : Effect.fail(`${name} is ${shown(value)}: it must be a whole number from ${least} to ${most}`)
        }
      })
    )
  }
  const millis = (name: NamesOf<"integer">, usual?: Duration.Duration): Read<Duration.Duration> =>
    Effect.map(integer(name, usual && Duration.toMillis(usual)), Duration.millis)
  const oneOf = <Name extends NamesOf<"choice">>(name: Name): Read<(typeof variables)[Name]["usual"]> => {
    type Choice = (typeof variables)[Name]["usual"]
    const allowed: ReadonlyArray<Choice> = variables[name].allowed
    return Effect.flatMap(
      raw(provider, name),
      Option.match({
        onNone: () => Effect.succeed<Choice>(variables[name].usual),
        onSome: (value) => {
          const found = allowed.find((one) => one === value.trim().toLowerCase())
          return found === undefined
            ? Effect.fail(`${name} is ${shown(value)}: it must be one of ${allowed.join(", ")}`)
            : Effect.succeed(found)
        }
      })
    )
  }
  const flag = (
    name:
      | "OPENCLAW_CLIENT_TOOLS_ENABLED"
      | "OPENCLAW_PROFILE_SYNC"
      | "HEARTBEAT_SKIP_IDLE"
      | "OTEL_SDK_DISABLED"
      | "TRACE_CONTENT"
  ): Read<boolean> => Effect.map(oneOf(name), (value) => value === "true")
  /** A secret by `NAME`, or by `NAME_FILE` naming the file that holds it; its value is never shown. */
  const secret = (name: NamesOf<"secret">): Read<Option.Option<Redacted.Redacted>> =>
    Effect.gen(function* () {
      const direct = yield* raw(provider, name)
      if (Option.isSome(direct)) return yield* Effect.succeedSome(Redacted.make(direct.value, { label: name }))
      const path = yield* raw(provider, `${name}_FILE`)
      if (Option.isNone(path)) return Option.none()
      const content = yield* fileSystem
        .readFileString(path.value)
        .pipe(
          Effect.mapError(
            (error) =>
              `${name}_FILE is ${shown(path.value)}, which cannot be read (${error.reason._tag}): check path and permissions`
          )
        )
      return content.trim() === ""
        ? yield* Effect.fail(`${name}_FILE is ${shown(path.value)}, which is empty: write the secret into it`)
        : yield* Effect.succeedSome(Redacted.make(content.trim(), { label: name }))
    })
  return { required, optional, integer, millis, oneOf, flag, secret }
}

const urlProblem = (value: string): string | null => {
  if (!URL.canParse(value)) return "is not a URL"
  const url = new URL(value)
  if (url.protocol !== "http:" && url.protocol !== "https:") return "is neither http nor https"
  if (url.username !== "" || url.password !== "") return "carries credentials"
  return null
}

/** A wildcard is an address to listen on, not one to call. */
const baseUrlOf = (host: string, port: number): string => {
  const reachable = host === "0.0.0.0" || host === "::" || host === "" ? "127.0.0.1" : host
  return `http://${reachable.includes(":") ? `[${reachable.replace(/^\[|\]$/g, "")}]` : reachable}:${port}`
}

const addressListOf = (value: Option.Option<string>): Read<AddressList> =>
  Option.match(value, {
    onNone: () => Effect.succeed(loopback),
    onSome: (text) =>
      Effect.mapError(
        Effect.fromResult(parseAddressList(text)),
        (entry) =>
          `AGENT_HTTP_ALLOW has ${shown(entry)}, which is no network: list CIDRs without host bits, e.g. 10.20.0.0/16, fd00::/8`
      )
  })

const withoutTrailingSlash = (url: string): string => url.replace(/\/+$/, "")

const isLoopback = (url: string): boolean => {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, "")
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host)
}

const accountIdProblem = (value: string): string | null =>
  /^[A-Za-z0-9]{8,64}$/.test(value) ? null : "is not an account's id (8 to 64 letters and digits)"

const tokenOf = (
  token: Option.Option<Redacted.Redacted>,
  accountId: Result.Result<string, Problem>
): Read<Redacted.Redacted> => {
  const form = "mc_service_{accountId}_{64 hex digits}, as the control plane gave it, or SERVICE_TOKEN_FILE to its file"
  if (Option.isNone(token)) return Effect.fail(`SERVICE_TOKEN is missing: set it to ${form}`)
  const problem = serviceTokenProblem(Redacted.value(token.value))
  if (problem !== null) return Effect.fail(`SERVICE_TOKEN ${problem}: it must have the form ${form}`)
  if (Result.isSuccess(accountId) && parseServiceToken(Redacted.value(token.value))?.accountId !== accountId.success) {
    return Effect.fail(
      `SERVICE_TOKEN belongs to another account than ACCOUNT_ID ${shown(accountId.success)}: set both from the same account`
    )
  }
  return Effect.succeed(token.value)
}

/** The gateway's token goes into a header, which carries visible ASCII only. */
const inHeader = (token: Option.Option<Redacted.Redacted>): Read<Option.Option<Redacted.Redacted>> =>
  Option.isSome(token) && !/^[\x21-\x7e]+$/.test(Redacted.value(token.value))
    ? Effect.fail(
        "OPENCLAW_GATEWAY_TOKEN holds white space or characters that no HTTP header carries: set it to the gateway's gateway.auth.token"
      )
    : Effect.succeed(token)

/** Names and values of headers, which HTTP can carry; nothing of them is shown. */
const asHeaders = (
  name: VariableName,
  text: Option.Option<Redacted.Redacted>
): Read<Option.Option<Redacted.Redacted>> => {
  if (Option.isNone(text)) return Effect.succeed(text)
  const isHeader = ([name, value]: readonly [string, string]) =>
    /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) && /^[\x20-\x7e]*$/.test(value)
  const pairs = Object.entries(readPairs(Redacted.value(text.value)))
  return pairs.length > 0 && pairs.every(isHeader)
    ? Effect.succeed(text)
    : Effect.fail(`${name} holds no headers: write name=value, separated by commas`)
}

const asHoneycombKey = (key: Option.Option<Redacted.Redacted>): Read<Option.Option<Redacted.Redacted>> =>
  Option.isSome(key) && !/^[\x21-\x7e]+$/.test(Redacted.value(key.value))
    ? Effect.fail("HONEYCOMB_API_KEY holds white space or characters that no HTTP header carries: set it to the key")
    : Effect.succeed(key)

const asRatio = (text: Option.Option<string>): Read<Option.Option<string>> =>
  Option.isSome(text) && !/^(0(\.\d+)?|1(\.0+)?)$/.test(text.value)
    ? Effect.fail(`OTEL_TRACES_SAMPLER_ARG is ${shown(text.value)}: it must be a ratio from 0 to 1, e.g. 0.1`)
    : Effect.succeed(text)

const gatewayOf = (
  url: Option.Option<string>,
  token: Option.Option<Redacted.Redacted>
): Read<Option.Option<string>> => {
  if (Option.isNone(url)) return Effect.succeed(url)
  const problem = urlProblem(url.value)
  if (problem !== null) {
    return Effect.fail(
      `OPENCLAW_GATEWAY_URL is ${shown(url.value)}, which ${problem}: set it to the gateway's address, e.g. http://127.0.0.1:18789`
    )
  }
  if (Option.isNone(token) && !isLoopback(url.value)) {
    return Effect.fail(
      `OPENCLAW_GATEWAY_TOKEN is missing: ${shown(url.value)} is not on this machine, so the gateway needs its token`
    )
  }
  return Effect.succeedSome(withoutTrailingSlash(url.value))
}

/** A file of the package; where it stands relative to this module is the same in a checkout and when installed. */
const packaged = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

const argumentsOf = (text: Option.Option<string>): Read<ReadonlyArray<string>> => {
  const args = Option.match(text, { onNone: () => ["gateway", "run"], onSome: (value) => value.split(/\s+/) })
  const fault = ["--port", "--token"].find((name) => args.some((arg) => arg === name || arg.startsWith(`${name}=`)))
  return fault === undefined
    ? Effect.succeed(args)
    : Effect.fail(
        `OPENCLAW_GATEWAY_ARGS has ${fault}: set OPENCLAW_GATEWAY_${fault.slice(2).toUpperCase()} instead, which the gateway is told in its environment`
      )
}

/** The names of the environment, for hints at misspelt ones. */
export const EnvironmentNames = Context.Reference<ReadonlyArray<string>>(
  "runtime-service/layers/Config/EnvironmentNames",
  {
    defaultValue: () => Object.keys(process.env)
  }
)

/** What holds for a variable and where it comes from; the value of a secret never leaves. */
export interface PrintedVariable {
  readonly name: VariableName
  readonly value: string
  readonly from: "environment" | "file" | "default" | "missing"
}

/** Every variable with its value or default, whether or not the whole can be used. */
export const printSettings = Effect.fn("Config.printSettings")(function* (provider: ConfigProvider.ConfigProvider) {
  const printed: Array<PrintedVariable> = []
  for (const [name, variable] of allVariables) {
    const orNone = (read: Read<Option.Option<string>>) => Effect.orElseSucceed(read, () => Option.none<string>())
    const direct = yield* orNone(raw(provider, name))
    const file = variable.kind === "secret" ? yield* orNone(raw(provider, `${name}_FILE`)) : Option.none<string>()
    printed.push(
      Option.isSome(direct)
        ? { name, value: variable.kind === "secret" ? REDACTED : safe(direct.value), from: "environment" }
        : Option.isSome(file)
          ? { name, value: `${REDACTED} (${safe(file.value)})`, from: "file" }
          : { name, value: usualOf(variable), from: variable.usual === null ? "missing" : "default" }
    )
  }
  return printed
})

/** Where this machine's runtime answers, by HEALTH_HOST and HEALTH_PORT alone, so that probes need no other variable. */
export const readLocalUrl = Effect.fn("Config.readLocalUrl")(function* (provider: ConfigProvider.ConfigProvider) {
  const read = makeReader(provider, yield* FileSystem.FileSystem)
  return yield* Effect.gen(function* () {
    const host = Option.getOrElse(yield* read.optional("HEALTH_HOST"), () => variables.HEALTH_HOST.usual)
    return baseUrlOf(host, yield* read.integer("HEALTH_PORT"))
  }).pipe(Effect.mapError((problem) => new ConfigInvalid({ problems: [problem] })))
})

/** What a service manager tells the process it started; none of it where there is no such manager. */
export interface ServiceManagerSettings {
  /** Whether it wants to be told how the process is. */
  readonly isListening: boolean
  /** Without a sign of life for this long it ends the process. */
  readonly watchdog: Option.Option<Duration.Duration>
}

/** Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, which systemd sets and no person. */
export const readServiceManager = Effect.fn("Config.readServiceManager")(function* (
  provider: ConfigProvider.ConfigProvider,
  pid: number
) {
  const read = (name: string) => Effect.orElseSucceed(raw(provider, name), () => Option.none<string>())
  const isListening = Option.isSome(yield* read("NOTIFY_SOCKET"))
  const micros = Option.map(yield* read("WATCHDOG_USEC"), Number)
  // Inherited from a parent that it is meant for.
  const isOurs = Option.match(yield* read("WATCHDOG_PID"), { onNone: () => true, onSome: (of) => Number(of) === pid })
  const settings: ServiceManagerSettings = {
    isListening,
    watchdog: Option.map(
      Option.filter(micros, (value) => isListening && isOurs && Number.isSafeInteger(value) && value > 0),
      (value) => Duration.micros(BigInt(value))
    )
  }
  return settings
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
  const accountId = yield* collect(read.required("ACCOUNT_ID", "the account's id in Convex", accountIdProblem))
  const convexUrl = yield* collect(
    read.required("CONVEX_URL", "the deployment's address, e.g. https://name-123.convex.cloud", urlProblem)
  )
  const secretToken = yield* collect(read.secret("SERVICE_TOKEN"))
  const serviceToken = yield* Result.isSuccess(secretToken)
    ? collect(tokenOf(secretToken.success, accountId))
    : Effect.succeed(Result.fail(secretToken.failure))
  const gatewayToken = yield* collect(Effect.flatMap(read.secret("OPENCLAW_GATEWAY_TOKEN"), inHeader))
  const gatewayAddress = yield* collect(read.optional("OPENCLAW_GATEWAY_URL"))
  const gatewayUrl = yield* Result.isSuccess(gatewayAddress)
    ? collect(
        gatewayOf(
          gatewayAddress.success,
          // One that cannot be read is a problem of its own, and not missing as well.
          Result.getOrElse(gatewayToken, () => Option.some(Redacted.make("")))
        )
      )
    : Effect.succeed(Result.fail(gatewayAddress.failure))
  const path = (name: Read<Option.Option<string>>, otherwise: string) =>
    Effect.map(name, (value) => resolve(Option.getOrElse(value, () => otherwise)))
  const stateDir = yield* collect(path(read.optional("OPENCLAW_STATE_DIR"), join(homedir(), ".openclaw")))
  const inStateDir = (name: string) => join(Result.getOrElse(stateDir, homedir), name)
  const turnTimeout = yield* collect(read.millis("TURN_TIMEOUT_MS"))
  const fields = {
    stateDir,
    gatewayPath: yield* collect(
      Effect.map(
        read.optional("OPENCLAW_GATEWAY_PATH"),
        Option.getOrElse(() => variables.OPENCLAW_GATEWAY_PATH.usual)
      )
    ),
    gatewayArgs: yield* collect(Effect.flatMap(read.optional("OPENCLAW_GATEWAY_ARGS"), argumentsOf)),
    gatewayPort: yield* collect(read.integer("OPENCLAW_GATEWAY_PORT")),
    gatewayConfigPath: yield* collect(path(read.optional("OPENCLAW_CONFIG_PATH"), inStateDir("openclaw.json"))),
    profileSync: yield* collect(read.flag("OPENCLAW_PROFILE_SYNC")),
    workspaceRoot: yield* collect(path(read.optional("OPENCLAW_WORKSPACE_ROOT"), inStateDir("workspaces"))),
    agentsMdPath: yield* collect(path(read.optional("OPENCLAW_AGENTS_MD_PATH"), packaged("docs/runtime/AGENTS.md"))),
    heartbeatMdPath: yield* collect(
      path(read.optional("OPENCLAW_HEARTBEAT_MD_PATH"), packaged("docs/runtime/HEARTBEAT.md"))
    ),
    worktreeScriptPath: yield* collect(Effect.succeed(packaged("docs/runtime/worktree.sh"))),
    runtimeId: yield* collect(
      Effect.map(
        read.optional("RUNTIME_ID"),
        Option.getOrElse(() => hostname())
      )
    ),
    healthHost: yield* collect(
      Effect.map(
        read.optional("HEALTH_HOST"),
        Option.getOrElse(() => "127.0.0.1")
      )
    ),
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
    upgradeCommand: yield* collect(read.optional("UPGRADE_COMMAND")),
    upgradeFile: yield* collect(path(read.optional("UPGRADE_FILE"), inStateDir("upgrade.json")))
  }
  const collector = (name: VariableName, given: Read<Option.Option<string>>, example: string) =>
    Effect.flatMap(given, (url): Read<Option.Option<string>> => {
      const problem = Option.isSome(url) ? urlProblem(url.value) : null
      return problem === null
        ? Effect.succeed(url)
        : Effect.fail(
            `${name} is ${shown(Option.getOrElse(url, () => ""))}, which ${problem}: set it to the collector's address, e.g. ${example}`
          )
    })
  const tracing = {
    isDisabled: yield* collect(read.flag("OTEL_SDK_DISABLED")),
    endpoint: yield* collect(
      collector("OTEL_EXPORTER_OTLP_ENDPOINT", read.optional("OTEL_EXPORTER_OTLP_ENDPOINT"), "http://127.0.0.1:4318")
    ),
    tracesEndpoint: yield* collect(
      collector(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        read.optional("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        "http://127.0.0.1:4318/v1/traces"
      )
    ),
    headers: yield* collect(
      Effect.flatMap(read.secret("OTEL_EXPORTER_OTLP_HEADERS"), (text) => asHeaders("OTEL_EXPORTER_OTLP_HEADERS", text))
    ),
    tracesHeaders: yield* collect(
      Effect.flatMap(read.secret("OTEL_EXPORTER_OTLP_TRACES_HEADERS"), (text) =>
        asHeaders("OTEL_EXPORTER_OTLP_TRACES_HEADERS", text)
      )
    ),
    serviceName: yield* collect(
      Effect.map(
        read.optional("OTEL_SERVICE_NAME"),
        Option.getOrElse(() => variables.OTEL_SERVICE_NAME.usual)
      )
    ),
    resourceAttributes: yield* collect(read.optional("OTEL_RESOURCE_ATTRIBUTES")),
    sampler: yield* collect(read.oneOf("OTEL_TRACES_SAMPLER")),
    samplerArgument: yield* collect(Effect.flatMap(read.optional("OTEL_TRACES_SAMPLER_ARG"), asRatio)),
    honeycombApiKey: yield* collect(Effect.flatMap(read.secret("HONEYCOMB_API_KEY"), asHoneycombKey)),
    hasContent: yield* collect(read.flag("TRACE_CONTENT"))
  }
  const { deliveryBackoffBase, deliveryBackoffMax, healthHost, healthPort } = fields
  const taskStatusBaseUrl = yield* collect(
    Effect.flatMap(
      read.optional("TASK_STATUS_BASE_URL"),
      Option.match({
        onNone: () =>
          Effect.succeed(
            baseUrlOf(
              Result.getOrElse(healthHost, () => ""),
              Result.getOrElse(healthPort, () => 0)
            )
          ),
        onSome: (url): Read<string> => {
          const problem = urlProblem(url)
          return problem === null
            ? Effect.succeed(url)
            : Effect.fail(
                `TASK_STATUS_BASE_URL is ${shown(url)}, which ${problem}: set it to the address by which the gateway reaches this process`
              )
        }
      })
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
    const gateway = yield* Effect.flatMap(read.secret("OPENCLAW_GATEWAY_TOKEN"), inHeader)
    return { serviceToken: service, gatewayToken: gateway }
  }).pipe(Effect.mapError((problem) => new ConfigInvalid({ problems: [problem] })))
  return yield* Effect.fromResult(
    Result.all({
      accountId,
      convexUrl: Result.map(convexUrl, withoutTrailingSlash),
      serviceToken,
      gatewayToken,
      gatewayUrl,
      taskStatusBaseUrl: Result.map(taskStatusBaseUrl, withoutTrailingSlash),
      tracing: Result.all(tracing),
      hints: Result.succeed(hints),
      readCredentials: Result.succeed(readCredentials),
      ...fields
    })
  ).pipe(Effect.mapError((problem) => new ConfigInvalid({ problems: [problem] })))
})

const defaults: Omit<Settings, "readCredentials"> = {
  accountId: "testaccount1",
  convexUrl: "http://127.0.0.1:1",
  serviceToken: Redacted.make(`mc_service_testaccount1_${"0".repeat(64)}`),
  runtimeId: "test-runtime",
  healthHost: "127.0.0.1",
  healthPort: 3000,
  agentHttpAllow: loopback,
  agentHttpAuth: "capability",
  taskStatusBaseUrl: "http://127.0.0.1:3000",
  clientToolsEnabled: true,
  deliveryInterval: Duration.seconds(15),
  deliveryBackoffBase: Duration.seconds(5),
  deliveryBackoffMax: Duration.minutes(5),
  deliveryLease: Duration.seconds(90),
  deliveryMaxConcurrentSessions: 8,
  deliveryMaxAttempts: 8,
  noResponseLimit: 3,
  maxToolRounds: 10,
  maxAgentHops: 12,
  gatewayUrl: Option.some("http://127.0.0.1:18789"),
  gatewayToken: Option.none(),
  gatewayPath: "openclaw",
  gatewayArgs: ["gateway", "run"],
  gatewayPort: 18_789,
  stateDir: "/nonexistent/state",
  gatewayConfigPath: "/nonexistent/state/openclaw.json",
  profileSync: false,
  workspaceRoot: "/nonexistent/state/workspaces",
  agentsMdPath: packaged("docs/runtime/AGENTS.md"),
  heartbeatMdPath: packaged("docs/runtime/HEARTBEAT.md"),
  worktreeScriptPath: packaged("docs/runtime/worktree.sh"),
  gatewayRequestTimeout: Duration.minutes(15),
  turnTimeout: Duration.minutes(15),
  healthCheckInterval: Duration.minutes(1),
  agentSyncInterval: Duration.minutes(5),
  heartbeatSkipIdle: true,
  drainTimeout: Duration.seconds(25),
  logLevel: "info",
  logFormat: "json",
  runtimeVersion: packageJson.version,
  openclawVersion: Option.none(),
  dropletId: Option.none(),
  dropletIp: Option.none(),
  dropletRegion: Option.none(),
  upgradeCommand: Option.none(),
  upgradeFile: "/nonexistent/state/upgrade.json",
  tracing: {
    isDisabled: false,
    endpoint: Option.none(),
    tracesEndpoint: Option.none(),
    headers: Option.none(),
    tracesHeaders: Option.none(),
    serviceName: variables.OTEL_SERVICE_NAME.usual,
    resourceAttributes: Option.none(),
    sampler: variables.OTEL_TRACES_SAMPLER.usual,
    samplerArgument: Option.none(),
    honeycombApiKey: Option.none(),
    hasContent: false
  },
  hints: []
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
  static readonly layerTest = (settings: Partial<Settings> = {}): Layer.Layer<RuntimeConfig> => {
    const { gatewayToken, serviceToken, ...rest } = { ...defaults, ...settings }
    const credentials = { gatewayToken, serviceToken }
    return Layer.succeed(RuntimeConfig, { readCredentials: Effect.succeed(credentials), ...rest, ...credentials })
  }
}
