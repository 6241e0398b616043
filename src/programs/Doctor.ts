import { Clock, Config, ConfigProvider, DateTime, Duration, Effect, Option, Redacted, Schema } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { callsPerMonth } from "../domain/controlPlane/CallForecast.ts"
import { missingFunctions } from "../domain/controlPlane/ControlPlaneFunctions.ts"
import { describeAddressFailure, httpAnswer, judgeAddress } from "../domain/doctor/AddressFailure.ts"
import type { Address, AddressOutcome } from "../domain/doctor/AddressFailure.ts"
import type {
  ControlPlaneFindings,
  Findings,
  GatewayFindings,
  MachineFindings
} from "../domain/doctor/DoctorFindings.ts"
import { readAgentSlugs, readReadiness, readStartupVersion } from "../domain/gateway/GatewayProbe.ts"
import { sessionReset } from "../domain/gateway/GatewaySettings.ts"
import { isLoopbackUrl, loopback } from "../domain/settings/AddressList.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { ConvexClient } from "../layers/ConvexClient.ts"
import { runCanary } from "../layers/gateway/Canary.ts"
import { checkGatewayConfig } from "../layers/gateway/GatewayConfigCheck.ts"
import { readGatewayConfig } from "../layers/gateway/GatewayConfigFile.ts"
import { gatewayAddress } from "../layers/gateway/GatewayConnection.ts"
import { GatewayToken } from "../layers/gateway/GatewayToken.ts"
import { fileProblem, folderProblem, hasCommand, isPortFree } from "../layers/host/MachineProbes.ts"
import { AccountWork } from "../services/AccountWork.ts"
import { Operator } from "../services/Operator.ts"
import { allTools } from "../services/tools/AllTools.ts"

/** Optional checks, which take long or cost a turn. */
export interface DoctorOptions {
  /** Runs one turn of an agent. */
  readonly canary: boolean
  /** Has the gateway check its configuration, which takes about 4 s. */
  readonly validate: boolean
}

const TIMEOUT = Duration.seconds(2)

const decodeLive = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({ live: Schema.Boolean })))
const decodeGatewayConfig = Schema.decodeUnknownOption(
  Schema.Struct({
    tools: Schema.optionalKey(
      Schema.Struct({
        toolSearch: Schema.optionalKey(Schema.Unknown),
        deny: Schema.optionalKey(Schema.Array(Schema.String))
      })
    ),
    gateway: Schema.optionalKey(
      Schema.Struct({
        http: Schema.optionalKey(
          Schema.Struct({
            endpoints: Schema.optionalKey(
              Schema.Struct({
                responses: Schema.optionalKey(Schema.Struct({ enabled: Schema.optionalKey(Schema.Unknown) }))
              })
            )
          })
        )
      })
    )
  })
)

interface Answered {
  readonly status: number
  readonly body: string
  readonly outcome: AddressOutcome
}

/** GET of a path below the address within 2 s; redirects are not followed. */
const ask = Effect.fnUntraced(function* (address: Address, path = "", headers: Record<string, string> = {}) {
  const client = yield* HttpClient.HttpClient
  return yield* client.execute(HttpClientRequest.get(`${address.url}${path}`, { headers })).pipe(
    Effect.flatMap((response) =>
      Effect.map(response.text, (body): Answered => ({
        status: response.status,
        body,
        outcome: httpAnswer(response.status, response.headers)
      }))
    ),
    Effect.mapError((error) => judgeAddress(address, { _tag: "Failed", cause: error.reason.cause ?? error })),
    Effect.timeoutOrElse({
      duration: TIMEOUT,
      orElse: () => Effect.fail(judgeAddress(address, { _tag: "Silent", within: Duration.format(TIMEOUT) }))
    }),
    Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" })
  )
})

const examineControlPlane = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  const operator = yield* Operator
  const { usage } = yield* AccountWork
  const before = yield* Clock.currentTimeMillis
  const answered = yield* Effect.result((yield* ConvexClient).deployment)
  const nothing = {
    url: config.convexUrl,
    refusal: undefined,
    protocol: null,
    missing: null,
    skewMillis: null
  }
  if (answered._tag === "Failure") {
    return {
      ...nothing,
      unreachable: answered.failure,
      agents: null,
      callsPerMonth: null,
      unpricedModels: null
    } satisfies ControlPlaneFindings
  }
  const after = yield* Clock.currentTimeMillis
  const date = Option.getOrNull(
    Option.map(DateTime.make(answered.success.date ?? ""), (moment) => DateTime.toEpochMillis(moment))
  )
  const [token, protocol, listed, roster, spent] = yield* Effect.all(
    [
      Effect.result(operator.backlog),
      Effect.option(operator.protocol),
      Effect.option(operator.functions),
      Effect.option(operator.roster),
      Effect.option(usage({ by: "model", days: 7 }))
    ],
    { concurrency: "unbounded" }
  )
  const agents = Option.getOrNull(Option.map(roster, (known) => known.agents))
  return {
    ...nothing,
    unreachable: null,
    refusal: token._tag === "Success" ? null : token.failure._tag === "TokenRefused" ? token.failure.detail : undefined,
    protocol: Option.getOrNull(protocol),
    missing: Option.getOrNull(Option.map(listed, missingFunctions)),
    // The header counts whole seconds, so this compares the middle of its second with the middle of the request.
    skewMillis: date === null ? null : date + 500 - (before + after) / 2,
    agents,
    unpricedModels: Option.getOrNull(
      Option.map(spent, ({ lines }) => lines.filter(({ sum }) => sum.unpricedTokens > 0).map(({ name }) => name))
    ),
    callsPerMonth:
      agents === null
        ? null
        : callsPerMonth({
            pulseInterval: config.healthCheckInterval,
            heartbeats: agents.map(({ heartbeat }) => heartbeat)
          })
  } satisfies ControlPlaneFindings
})

const examineGatewayConfig = Effect.fnUntraced(function* (path: string) {
  const file = yield* readGatewayConfig(path)
  if (file._tag !== "Read") return file
  return Option.match(decodeGatewayConfig(file.settings), {
    onNone: () => ({ _tag: "Broken", detail: `${path} has a value in an unexpected format` }) as const,
    onSome: ({ gateway, tools }) =>
      ({
        _tag: "Read",
        toolSearch: tools?.toolSearch,
        deniesAll: tools?.deny?.includes("*") === true,
        responses: gateway?.http?.endpoints?.responses?.enabled,
        sessionReset: sessionReset(file.settings)
      }) as const
  })
})

/** The configuration on this machine is that of a gateway on this machine only. */
const gatewayConfigOf = (config: RuntimeConfig["Service"]) =>
  isLoopbackUrl(gatewayAddress(config).url)
    ? examineGatewayConfig(config.gatewayConfigPath)
    : Effect.succeed({ _tag: "Absent" } as const)

const examineGateway = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  const ownToken = yield* GatewayToken
  const address = gatewayAddress(config)
  const token = Option.orElse(config.gatewayToken, () => ownToken)
  const isSupervised = Option.isNone(config.gatewayUrl)
  const searchPath = yield* Config.option(Config.String("PATH"))
    .parse(yield* ConfigProvider.ConfigProvider)
    .pipe(Effect.orElseSucceed(() => Option.none<string>()))
  const base = {
    url: address.url,
    isSupervised,
    isTokenKnown: !isSupervised || Option.isSome(token),
    writesConfig: config.profileSync,
    hasCommand: isSupervised
      ? yield* hasCommand(
          config.gatewayPath,
          Option.getOrElse(searchPath, () => "")
        )
      : null,
    config: yield* gatewayConfigOf(config),
    validation: null
  }
  const readyz = yield* Effect.result(
    Effect.flatMap(ask(address, "/readyz"), ({ body, outcome }) =>
      Option.match(readReadiness(body), {
        onNone: () => Effect.fail(judgeAddress(address, outcome)),
        onSome: ({ failing, isReady }) => Effect.succeed({ isReady, failing })
      })
    )
  )
  if (readyz._tag === "Failure") {
    return {
      ...base,
      unreachable: readyz.failure,
      ready: null,
      version: null,
      models: null,
      responsesStatus: null,
      canary: null
    } satisfies GatewayFindings
  }
  const authorization: Record<string, string> = Option.match(token, {
    onNone: () => ({}),
    onSome: (held) => ({ authorization: `Bearer ${Redacted.value(held)}` })
  })
  const [startup, models, responses] = yield* Effect.all(
    [
      Effect.option(ask(address, "/startupz")),
      base.isTokenKnown ? Effect.option(ask(address, "/v1/models", authorization)) : Effect.succeedNone,
      Effect.option(ask(address, "/v1/responses", authorization))
    ],
    { concurrency: "unbounded" }
  )
  const listed = Option.map(models, ({ body, status }) => ({
    status,
    agents: Option.getOrNull(readAgentSlugs(body))
  }))
  return {
    ...base,
    unreachable: null,
    ready: readyz.success,
    version:
      Option.getOrNull(Option.map(startup, ({ body }) => readStartupVersion(body))) ??
      Option.getOrNull(config.openclawVersion),
    models: Option.getOrNull(listed),
    responsesStatus: Option.getOrNull(Option.map(responses, ({ status }) => status)),
    canary: null
  } satisfies GatewayFindings
})

/** The report of `config validate` of the gateway's command. */
const validateConfig = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  const issues = yield* checkGatewayConfig
  return Option.match(issues, {
    onNone: () => ({ isValid: null, detail: `\`${config.gatewayPath} config validate --json\` printed no report` }),
    onSome: (lines) => ({ isValid: lines.length === 0, detail: lines.join("; ") })
  })
})

const examineMachine = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  const local = config.healthHost === "0.0.0.0" || config.healthHost === "::" ? "127.0.0.1" : config.healthHost
  const healthAddress = `${local.includes(":") ? `[${local}]` : local}:${config.healthPort}`
  const endpoint = Option.orElse(config.telemetry.endpoint, () =>
    Option.map(config.telemetry.honeycombApiKey, () => "https://api.honeycomb.io")
  )
  const healthPort = Effect.gen(function* () {
    if (yield* isPortFree(config.healthHost, config.healthPort)) return "free" as const
    const health = { url: `http://${healthAddress}`, variable: "HEALTH_PORT", server: "a runtime" }
    const live = yield* Effect.option(ask(health, "/livez"))
    return Option.isSome(Option.flatMap(live, ({ body }) => decodeLive(body)))
      ? ("runtime" as const)
      : ("taken" as const)
  })
  const [port, state, workspaces, agentsMd, heartbeatMd, tracing] = yield* Effect.all(
    [
      healthPort,
      folderProblem(config.stateDir),
      folderProblem(config.workspaceRoot),
      fileProblem(config.agentsMdPath),
      fileProblem(config.heartbeatMdPath),
      Option.match(endpoint, {
        onNone: () => Effect.succeed(null),
        onSome: (url) =>
          Option.isSome(config.proxy) && url.startsWith("https:")
            ? Effect.succeed("proxied" as const)
            : // Collectors differ in their answers to GET, so any answer is fine.
              ask({ url, variable: "OTEL_EXPORTER_OTLP_ENDPOINT", server: "the collector" }).pipe(
                Effect.match({
                  onSuccess: () => ({ endpoint: url, problem: null }),
                  onFailure: (problem) => ({ endpoint: url, problem })
                })
              )
      })
    ],
    { concurrency: "unbounded" }
  )
  return {
    nodeVersion: process.version,
    paths: [
      { use: "state", path: config.stateDir, problem: state },
      { use: "workspaces", path: config.workspaceRoot, problem: workspaces },
      { use: "texts", path: config.agentsMdPath, problem: agentsMd },
      { use: "texts", path: config.heartbeatMdPath, problem: heartbeatMd }
    ],
    syncsProfiles: config.profileSync,
    healthAddress,
    healthPort: port,
    healthIsLoopback: isLoopbackUrl(`http://${healthAddress}`) && config.healthHost === local,
    allowsOnlyLoopback: config.agentHttpAllow.length <= loopback.length,
    baseUrl: config.taskStatusBaseUrl,
    baseUrlIsLoopback: isLoopbackUrl(config.taskStatusBaseUrl),
    gatewayIsLoopback: isLoopbackUrl(gatewayAddress(config).url),
    clientToolsEnabled: config.clientToolsEnabled,
    toolNames: allTools.map(({ name }) => name),
    requestTimeoutMillis: Duration.toMillis(config.gatewayRequestTimeout),
    turnTimeoutMillis: Duration.toMillis(config.turnTimeout),
    tracing
  } satisfies MachineFindings
})

/**
 * Examines control plane, gateway and machine at the same time, in a few seconds. Writes nothing, except that the
 * canary runs a turn.
 */
export const collectFindings = Effect.fn("Doctor.collectFindings")(function* (options: DoctorOptions) {
  const { hints } = yield* RuntimeConfig
  const [controlPlane, gateway, machine, validation] = yield* Effect.all(
    [examineControlPlane, examineGateway, examineMachine, options.validate ? validateConfig : Effect.succeed(null)],
    { concurrency: "unbounded" }
  )
  const known: ReadonlyArray<string> = gateway.models?.agents ?? []
  const slug = controlPlane.agents?.find((agent) => known.includes(agent.slug))?.slug ?? known[0]
  const canary = !options.canary
    ? null
    : slug !== undefined
      ? yield* runCanary(slug)
      : ({
          _tag: "Failed",
          detail:
            gateway.unreachable === null ? "the gateway lists no agent" : describeAddressFailure(gateway.unreachable)
        } as const)
  return { problems: [], hints, controlPlane, gateway: { ...gateway, canary, validation }, machine } satisfies Findings
})
