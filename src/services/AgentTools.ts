import { Context, Effect, Exit, Layer, Option, Result, Schema } from "effect"
import type { ControlPlaneFailure, ControlPlaneRefused } from "../domain/controlPlane/ControlPlaneFailure.ts"
import type { RunStep, StepTimes } from "../domain/delivery/RunStep.ts"
import { CAPABILITY_HEADER, SESSION_KEY_HEADER } from "../domain/http/Capability.ts"
import type { FunctionCall, FunctionTool } from "../layers/Gateway.ts"
import { Metrics } from "../layers/Metrics.ts"
import { Redactor } from "../layers/secrets/Redactor.ts"
import { Telemetry } from "../layers/telemetry/Telemetry.ts"
import type { Tracing } from "../layers/telemetry/Telemetry.ts"
import { ControlPlane } from "./ControlPlane.ts"
import { asStep, stepError } from "./RunSteps.ts"
import type { AgentTool, RunContext, ToolAgent, ToolRun } from "./tools/AgentTool.ts"
import { ToolRejected } from "./tools/AgentTool.ts"
import { allTools } from "./tools/AllTools.ts"

const tools: ReadonlyArray<AgentTool> = allTools

/** The result of a call; the agent reads `json`, which always names the tool. */
export interface ToolResult {
  readonly tool: string
  readonly success: boolean
  readonly isEffect: boolean
  /** The code of a refusal. */
  readonly code?: string
  readonly json: string
}

/** Failures that end the whole turn. */
export type ToolInterruption = Exclude<ControlPlaneFailure, ControlPlaneRefused>

/** The id of calls over HTTP, which have none. */
export const HTTP_CALL = "http"

/** An unknown name is repeated in the refusal, up to this length. */
const NAME_CHARACTERS = 64

/** The refusal of a call, in the form of both transports. */
export const refusalJson = (tool: string, code: string, error: string): string =>
  JSON.stringify({ tool: tool.slice(0, NAME_CHARACTERS), success: false, code, error })

const jsonSchemas = new WeakMap<object, object>()

/** The parameters' JSON schema in the gateway's form: a closed object with explicit keys. */
const jsonSchemaOf = (parameters: Schema.Codec<unknown, unknown>): object => {
  const known = jsonSchemas.get(parameters)
  if (known !== undefined) return known
  const { schema } = Schema.toJsonSchemaDocument(parameters)
  const closed = { properties: {}, required: [], ...schema, additionalProperties: false }
  jsonSchemas.set(parameters, closed)
  return closed
}

const parametersOf = (tool: AgentTool, agent: ToolAgent): Schema.Codec<unknown, unknown> =>
  tool.parametersFor?.(agent) ?? (tool.parameters as unknown as Schema.Codec<unknown, unknown>)

const toolsOf = (agent: ToolAgent): ReadonlyArray<AgentTool> => tools.filter((tool) => tool.isOffered(agent))

/** Address and capability for an agent's tool calls over HTTP. */
export interface HttpAccess {
  readonly baseUrl: string
  readonly capability: string
}

const JsonSchemaShape = Schema.Struct({
  properties: Schema.Record(Schema.String, Schema.Unknown),
  required: Schema.Array(Schema.String)
})
const decodeShape = Schema.decodeUnknownSync(JsonSchemaShape)

/** One line for each of the agent's tools: what it does and how to call it over HTTP. Function tools have schemas instead. */
export const buildHttpCapabilityLabels = (agent: ToolAgent, baseUrl: string): ReadonlyArray<string> =>
  toolsOf(agent).map((tool) => {
    const { properties, required } = decodeShape(jsonSchemaOf(parametersOf(tool, agent)))
    const names = Object.keys(properties).map((name) => (required.includes(name) ? `${name}*` : name))
    return `${tool.name}: ${tool.capability}. POST ${baseUrl}${tool.path} with ${names.join(", ")}`
  })

/** How to call the run's tools over HTTP; the only text that has the run's capability. */
export const describeHttpTools = (context: RunContext, { baseUrl, capability }: HttpAccess): string =>
  [
    "How to call a tool: send its arguments as one JSON object by POST, with the three headers of this example.",
    `curl -sS -X POST ${baseUrl}/agent/get-agent-skills -H 'content-type: application/json' -H '${SESSION_KEY_HEADER}: ${context.sessionKey}' -H '${CAPABILITY_HEADER}: ${capability}' -d '{}'`,
    "The answer is JSON: success true with the result, or success false with code and error.",
    "The capability is yours for this run alone: write it nowhere else.",
    `Tools with their arguments (* required; in full at ${baseUrl}/openapi.json):`,
    ...buildHttpCapabilityLabels(context.agent, baseUrl).map((label) => `- ${label}`)
  ].join("\n")

const decodeJson = Schema.decodeOption(Schema.fromJsonString(Schema.Record(Schema.String, Schema.Unknown)))

/**
 * The arguments with trimmed ids and without absent values. The gateway turns null for an optional string into "", so both
 * count as absent.
 */
const normalized = (parameters: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(parameters)
      .map(([key, value]) => [key, key.endsWith("Id") && typeof value === "string" ? value.trim() : value] as const)
      .filter(([, value]) => value !== null && value !== "")
  )

const malformed = (detail: string) => new ToolRejected({ code: "malformed", detail })

type Redact = (text: string) => string

/** The arguments without secrets, because people read what agents write. Redacted value by value, not as JSON text. */
const redacted = (parameters: Record<string, unknown>, redact: Redact): Record<string, unknown> => {
  const one = (value: unknown): unknown => (typeof value === "string" ? redact(value) : value)
  return Object.fromEntries(
    Object.entries(parameters).map(([key, value]) => [key, Array.isArray(value) ? value.map(one) : one(value)])
  )
}

const decodeParameters = (tool: AgentTool, text: string, redact: Redact): Effect.Effect<never, ToolRejected> =>
  Effect.suspend(() => {
    const json = decodeJson(text.trim() === "" ? "{}" : text)
    if (Option.isNone(json)) return Effect.fail(malformed("the arguments are not a JSON object"))
    const decode = Schema.decodeUnknownResult(tool.parameters as unknown as Schema.Codec<unknown, unknown>, {
      errors: "all",
      onExcessProperty: "error"
    })
    const decoded = decode(redacted(normalized(json.value), redact))
    return Result.isSuccess(decoded)
      ? Effect.succeed(decoded.success as never)
      : Effect.fail(malformed(decoded.failure.message.slice(0, 1_000)))
  }).pipe(
    // The error message for a value nested ten thousand levels deep overflows the stack.
    Effect.catchDefect(() => Effect.fail(malformed("the arguments are nested too deeply")))
  )

/** Offers and runs the agents' tools. The control plane checks every call again. */
export class AgentTools extends Context.Service<
  AgentTools,
  {
    /** The function tools of this agent, the same in each of its runs. */
    offered(agent: ToolAgent): ReadonlyArray<FunctionTool>
    /** Runs one call. A refusal is a result for the agent; a failure ends the turn. */
    executeAgentTool(
      run: Omit<ToolRun, "controlPlane">,
      call: FunctionCall
    ): Effect.Effect<ToolResult, ToolInterruption>
  }
>()("runtime-service/services/AgentTools") {
  static readonly layer = Layer.effect(
    AgentTools,
    Effect.suspend(() => make)
  )
}

const offered = (agent: ToolAgent): ReadonlyArray<FunctionTool> =>
  toolsOf(agent).map((tool) => ({
    type: "function",
    name: tool.name,
    description: tool.description,
    parameters: jsonSchemaOf(parametersOf(tool, agent))
  }))

/** The tool's name, or `unknown` for a name that no tool has. */
const knownName = (name: string): string => (tools.some((tool) => tool.name === name) ? name : "unknown")

/** A call as a step of the attempt. */
const toolStep =
  ({ name }: FunctionCall) =>
  (exit: Exit.Exit<ToolResult, ToolInterruption>, times: StepTimes): RunStep => {
    const refusal = Exit.isSuccess(exit) && !exit.value.success ? (exit.value.code ?? "refused") : null
    const error = Exit.isSuccess(exit) ? refusal : stepError(exit.cause)
    return { kind: "tool", tool: knownName(name), ...times, error }
  }

/** A call as a span of the trace; an unknown tool is not part of the span's name. */
const asSpan = <E>(
  telemetry: Tracing,
  { agent, notification, sessionKey }: RunContext,
  call: FunctionCall,
  result: Effect.Effect<ToolResult, E>
): Effect.Effect<ToolResult, E> =>
  result.pipe(
    Effect.tap((result) =>
      Effect.andThen(
        telemetry.note({ "gen_ai.tool.call.result": telemetry.content(() => result.json) }),
        // Only the code, because the rest of the refusal repeats the agent's text.
        result.success ? Effect.void : telemetry.fail(result.code ?? "refused", "the call was refused")
      )
    ),
    telemetry.span(`execute_tool ${knownName(call.name)}`, {
      attributes: {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": call.name.slice(0, NAME_CHARACTERS),
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": call.callId,
        "gen_ai.agent.id": agent.id,
        "gen_ai.agent.name": agent.name,
        "gen_ai.conversation.id": sessionKey,
        "gen_ai.tool.call.arguments": telemetry.content(() => call.arguments),
        "mission_control.run.id": notification.id,
        "mission_control.tool.transport": call.callId === HTTP_CALL ? "http" : "gateway"
      }
    })
  )

const make = Effect.gen(function* () {
  const controlPlane = yield* ControlPlane
  const metrics = yield* Metrics
  const redactor = yield* Redactor
  const telemetry = yield* Telemetry

  const executeCall = Effect.fn("AgentTools.executeAgentTool")(function* (
    run: Omit<ToolRun, "controlPlane">,
    call: FunctionCall
  ) {
    const tool = tools.find((candidate) => candidate.name === call.name)
    const refuse = (code: string, error: string): ToolResult => ({
      tool: call.name,
      success: false,
      isEffect: false,
      code,
      json: refusalJson(call.name, code, error)
    })
    const { id: runId } = run.context.notification
    yield* metrics.toolStarted(tool?.name ?? "unknown", runId)
    const { agent } = run.context
    const result: ToolResult =
      tool === undefined || !tool.isOffered(agent)
        ? refuse(
            "forbidden",
            `you do not have this tool; you have: ${toolsOf(agent)
              .map(({ name }) => name)
              .join(", ")}`
          )
        : yield* decodeParameters(tool, call.arguments, redactor.redact).pipe(
            Effect.flatMap((parameters) => tool.run({ ...run, controlPlane }, parameters)),
            Effect.map((answer): ToolResult => ({
              tool: tool.name,
              success: true,
              isEffect: tool.isEffect && !("changed" in answer && answer.changed === false),
              json: JSON.stringify({ tool: tool.name, success: true, ...answer })
            })),
            Effect.catchTags({
              ToolRejected: (rejected) => Effect.succeed(refuse(rejected.code, rejected.detail)),
              ControlPlaneRefused: (refused) => Effect.succeed(refuse(refused.code, refused.detail))
            })
          )
    yield* metrics.toolCalled(tool?.name ?? "unknown", result.success, runId)
    yield* Effect.logInfo("tool called").pipe(
      Effect.annotateLogs({ tool: call.name.slice(0, NAME_CHARACTERS), success: result.success })
    )
    return { ...result, json: redactor.own(result.json) }
  })

  const execute = (run: Omit<ToolRun, "controlPlane">, call: FunctionCall) =>
    asStep(run.spending, executeCall(run, call), toolStep(call))

  return AgentTools.of({
    offered,
    executeAgentTool: telemetry.isOn ? (run, call) => asSpan(telemetry, run.context, call, execute(run, call)) : execute
  })
})
