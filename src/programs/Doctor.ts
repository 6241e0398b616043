import { Clock, Config, ConfigProvider, DateTime, Duration, Effect, FileSystem, Option, Redacted, Schema } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import { loopback } from "../domain/AddressList.ts"
import { callsPerMonth } from "../domain/CallForecast.ts"
import type { ControlPlaneFindings, Findings, GatewayFindings, MachineFindings } from "../domain/DoctorFindings.ts"
import { sessionKey } from "../domain/SessionKey.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { Gateway } from "../layers/Gateway.ts"
import { checkGatewayConfig } from "../layers/GatewayConfigCheck.ts"
import { fileProblem, folderProblem, hasCommand, isPortFree } from "../layers/MachineProbes.ts"
import { Operator } from "../services/Operator.ts"
import { allTools } from "../services/tools/AllTools.ts"

/** What is asked only when wanted, because it takes long or costs a turn. */
export interface DoctorOptions {
  /** One turn of an agent. */
  readonly canary: boolean
  /** The gateway's own judgement of its configuration, about four seconds. */
  readonly validate: boolean
}

const PATIENCE = Duration.seconds(2)
const CANARY_PATIENCE = Duration.seconds(90)
const CANARY_TOOL = "mission_control_canary"

const decodeReady = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({ ready: Schema.Boolean, failing: Schema.optionalKey(Schema.Array(Schema.String)) })
  )
)
const decodeVersion = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({ version: Schema.String })))
const decodeModels = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({ object: Schema.Literal("list"), data: Schema.Array(Schema.Struct({ id: Schema.String })) })
  )
)
const decodeLive = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({ live: Schema.Boolean })))
const decodeGatewayConfig = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({
      tools: Schema.optionalKey(Schema.Struct({ toolSearch: Schema.optionalKey(Schema.Unknown) })),
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
)

interface Answered {
  readonly status: number
  readonly body: string
  readonly date: number | null
}

/** GET within 2 s; what went wrong is said in a word or two. */
const ask = Effect.fnUntraced(function* (url: string, headers: Record<string, string> = {}) {
  const client = yield* HttpClient.HttpClient
  return yield* client.execute(HttpClientRequest.get(url, { headers })).pipe(
    Effect.flatMap((response) =>
      Effect.map(response.text, (body): Answered => {
        const date = DateTime.make(response.headers["date"] ?? "")
        return { status: response.status, body, date: Option.getOrNull(Option.map(date, DateTime.toEpochMillis)) }
      })
    ),
    Effect.mapError((error) => `no answer (${error.reason._tag})`),
    Effect.timeoutOrElse({
      duration: PATIENCE,
      orElse: () => Effect.fail(`no answer within ${Duration.format(PATIENCE)}`)
    })
  )
})

const examineControlPlane = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  const operator = yield* Operator
  const before = yield* Clock.currentTimeMillis
  const answered = yield* Effect.result(ask(`${config.convexUrl}/version`))
  const nothing = {
    url: config.convexUrl,
    refusal: undefined,
    protocol: null,
    skewMillis: null
  }
  if (answered._tag === "Failure") {
    return { ...nothing, away: answered.failure, agents: null, callsPerMonth: null } satisfies ControlPlaneFindings
  }
  const after = yield* Clock.currentTimeMillis
  const { date } = answered.success
  const [token, protocol, roster] = yield* Effect.all(
    [Effect.result(operator.backlog), Effect.option(operator.protocol), Effect.option(operator.roster)],
    { concurrency: "unbounded" }
  )
  const agents = Option.getOrNull(Option.map(roster, (known) => known.agents))
  return {
    ...nothing,
    away: null,
    refusal: token._tag === "Success" ? null : token.failure._tag === "TokenRefused" ? token.failure.detail : undefined,
    protocol: Option.getOrNull(protocol),
    // The header counts whole seconds: its middle against the middle of the request.
    skewMillis: date === null ? null : date + 500 - (before + after) / 2,
    agents,
    callsPerMonth:
      agents === null
        ? null
        : callsPerMonth({
            pulseInterval: config.healthCheckInterval,
            heartbeats: agents.map(({ heartbeat }) => heartbeat)
          })
  } satisfies ControlPlaneFindings
})

/** One turn in a session of its own that asks for one tool call. */
const runCanary = Effect.fnUntraced(function* (slug: string) {
  const { accountId } = yield* RuntimeConfig
  const gateway = yield* Gateway
  return yield* gateway
    .sendToOpenClaw({
      agentSlug: slug,
      sessionKey: sessionKey({ slug, accountId, taskId: "doctor", generation: 1 }),
      instructions: "This is a check of the installation, not work.",
      input: `Call the tool ${CANARY_TOOL} once with {"word":"canary"}, and say nothing.`,
      tools: [
        {
          type: "function",
          name: CANARY_TOOL,
          description: "Tells the operator that tools work.",
          parameters: {
            type: "object",
            properties: { word: { type: "string" } },
            required: ["word"],
            additionalProperties: false
          }
        }
      ]
    })
    .pipe(
      Effect.map((answer) =>
        answer._tag === "Calls" && answer.calls.some(({ name }) => name === CANARY_TOOL)
          ? { didCall: true, detail: "" }
          : {
              didCall: false,
              detail: answer._tag === "Text" ? `the agent said: ${answer.text.slice(0, 200)}` : "other calls"
            }
      ),
      Effect.catch((failure) => Effect.succeed({ didCall: false, detail: `${failure._tag}: ${failure.detail}` })),
      Effect.timeoutOrElse({
        duration: CANARY_PATIENCE,
        orElse: () => Effect.succeed({ didCall: false, detail: `no end within ${Duration.format(CANARY_PATIENCE)}` })
      })
    )
})

const readGatewayConfig = Effect.fnUntraced(function* (path: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const text = yield* Effect.result(fileSystem.readFileString(path))
  if (text._tag === "Failure") {
    return text.failure.reason._tag === "NotFound"
      ? ({ _tag: "Absent" } as const)
      : ({ _tag: "Broken", detail: `${path} (${text.failure.reason._tag})` } as const)
  }
  return Option.match(decodeGatewayConfig(text.success), {
    onNone: () => ({ _tag: "Broken", detail: `${path} is no JSON of the expected shape` }) as const,
    onSome: ({ gateway, tools }) =>
      ({
        _tag: "Read",
        toolSearch: tools?.toolSearch,
        responses: gateway?.http?.endpoints?.responses?.enabled
      }) as const
  })
})

const gatewayUrlOf = (config: RuntimeConfig["Service"]): string =>
  Option.getOrElse(config.gatewayUrl, () => `http://127.0.0.1:${config.gatewayPort}`)

const examineGateway = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  const url = gatewayUrlOf(config)
  const isSupervised = Option.isNone(config.gatewayUrl)
  const searchPath = yield* Config.option(Config.String("PATH"))
    .parse(yield* ConfigProvider.ConfigProvider)
    .pipe(Effect.orElseSucceed(() => Option.none<string>()))
  const base = {
    url,
    isSupervised,
    hasCommand: isSupervised
      ? yield* hasCommand(
          config.gatewayPath,
          Option.getOrElse(searchPath, () => "")
        )
      : null,
    config: yield* readGatewayConfig(config.gatewayConfigPath),
    validation: null
  }
  const readyz = yield* Effect.result(ask(`${url}/readyz`))
  if (readyz._tag === "Failure") {
    return {
      ...base,
      away: readyz.failure,
      ready: null,
      version: null,
      models: null,
      responsesStatus: null,
      canary: null
    } satisfies GatewayFindings
  }
  const authorization: Record<string, string> = Option.match(config.gatewayToken, {
    onNone: () => ({}),
    onSome: (token) => ({ authorization: `Bearer ${Redacted.value(token)}` })
  })
  const [startup, models, responses] = yield* Effect.all(
    [
      Effect.option(ask(`${url}/startupz`)),
      Effect.option(ask(`${url}/v1/models`, authorization)),
      Effect.option(ask(`${url}/v1/responses`, authorization))
    ],
    { concurrency: "unbounded" }
  )
  const ready = decodeReady(readyz.success.body)
  const listed = Option.map(models, ({ body, status }) => ({
    status,
    agents: Option.getOrNull(
      Option.map(decodeModels(body), ({ data }) =>
        data.flatMap(({ id }) =>
          id.startsWith("openclaw/") && id !== "openclaw/default" ? [id.slice("openclaw/".length)] : []
        )
      )
    )
  }))
  return {
    ...base,
    away: null,
    ready: Option.getOrNull(Option.map(ready, ({ failing, ready: isReady }) => ({ isReady, failing: failing ?? [] }))),
    version: Option.getOrElse(
      Option.map(
        Option.flatMap(startup, ({ body }) => decodeVersion(body)),
        ({ version }): string | null => version
      ),
      () => Option.getOrNull(config.openclawVersion)
    ),
    models: Option.getOrNull(listed),
    responsesStatus: Option.getOrNull(Option.map(responses, ({ status }) => status)),
    canary: null
  } satisfies GatewayFindings
})

/** What the gateway's own command says of its configuration. */
const validateConfig = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  const issues = yield* checkGatewayConfig({
    command: config.gatewayPath,
    // What stands before `gateway` is how the command is called, e.g. a script of an interpreter.
    prefix: config.gatewayArgs.slice(0, Math.max(0, config.gatewayArgs.indexOf("gateway"))),
    stateDir: config.stateDir,
    configPath: config.gatewayConfigPath
  })
  return Option.match(issues, {
    onNone: () => ({ isValid: false, detail: `${config.gatewayPath} config validate gave no answer` }),
    onSome: (lines) => ({ isValid: lines.length === 0, detail: lines.join("; ") })
  })
})

const isLoopbackUrl = (url: string): boolean => /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(new URL(url).hostname)

const examineMachine = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  const local = config.healthHost === "0.0.0.0" || config.healthHost === "::" ? "127.0.0.1" : config.healthHost
  const healthAddress = `${local.includes(":") ? `[${local}]` : local}:${config.healthPort}`
  const endpoint = Option.orElse(config.tracing.endpoint, () =>
    Option.map(config.tracing.honeycombApiKey, () => "https://api.honeycomb.io")
  )
  const healthPort = Effect.gen(function* () {
    if (yield* isPortFree(config.healthHost, config.healthPort)) return "free" as const
    const live = yield* Effect.option(ask(`http://${healthAddress}/livez`))
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
          // Whatever it answers, somebody is there.
          ask(url).pipe(
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
    gatewayIsLoopback: isLoopbackUrl(gatewayUrlOf(config)),
    clientToolsEnabled: config.clientToolsEnabled,
    toolNames: allTools.map(({ name }) => name),
    requestTimeoutMillis: Duration.toMillis(config.gatewayRequestTimeout),
    turnTimeoutMillis: Duration.toMillis(config.turnTimeout),
    tracing
  } satisfies MachineFindings
})

/** Looks at control plane, gateway and machine at once, a few seconds at most; writes nothing but the canary's turn. */
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
    : slug === undefined
      ? { didCall: false, detail: gateway.away ?? "the gateway lists no agent" }
      : yield* runCanary(slug)
  return { problems: [], hints, controlPlane, gateway: { ...gateway, canary, validation }, machine } satisfies Findings
})
