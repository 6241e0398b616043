import { Context, Effect, Layer, Option, Result, Schema } from "effect"
import type { BootConflict, ControlPlaneUnavailable, LeaseLost, TokenRefused } from "../domain/ControlPlaneFailure.ts"
import type { DeliveryContext } from "../domain/DeliveryContext.ts"
import type { FunctionCall, FunctionTool } from "../layers/Gateway.ts"
import { Metrics } from "../layers/Metrics.ts"
import { ControlPlane } from "./ControlPlane.ts"
import type { AgentTool, ToolRun } from "./tools/AgentTool.ts"
import { ToolRejected } from "./tools/AgentTool.ts"
import { taskLoadTool } from "./tools/TaskLoadTool.ts"
import { taskStatusTool } from "./tools/TaskStatusTool.ts"

/** Every tool; a new one is a file in tools/ and a line here. */
const tools: ReadonlyArray<AgentTool> = [taskStatusTool, taskLoadTool]

/** What a call came to; `json` is what the agent reads and always names the tool. */
export interface ToolResult {
  readonly tool: string
  readonly success: boolean
  readonly isEffect: boolean
  readonly json: string
}

/** Failures that end the turn and not only the call. */
export type ToolInterruption = LeaseLost | ControlPlaneUnavailable | TokenRefused | BootConflict

const jsonSchemaOf = (parameters: Schema.Codec<unknown, unknown>): object => {
  const { schema } = Schema.toJsonSchemaDocument(parameters)
  return { properties: {}, required: [], ...schema, additionalProperties: false }
}

const functionTools = new Map<string, FunctionTool>(
  tools.map((tool) => [
    tool.name,
    { type: "function", name: tool.name, description: tool.description, parameters: jsonSchemaOf(tool.parameters) }
  ])
)

/** The tools' capabilities as the prompt lists them, from the tools' own table. */
export const buildHttpCapabilityLabels = (context: DeliveryContext): ReadonlyArray<string> =>
  tools.filter((tool) => tool.isOffered(context)).map((tool) => `${tool.name}: ${tool.capability}`)

const decodeJson = Schema.decodeOption(Schema.fromJsonString(Schema.Record(Schema.String, Schema.Unknown)))

/** The gateway turns null for an optional string into "": both count as absent. */
const withoutAbsent = (parameters: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(parameters).filter(([, value]) => value !== null && value !== ""))

const decodeParameters = (tool: AgentTool, text: string): Effect.Effect<never, ToolRejected> => {
  const json = decodeJson(text.trim() === "" ? "{}" : text)
  if (Option.isNone(json)) {
    return Effect.fail(new ToolRejected({ code: "invalid", detail: "the arguments are not a JSON object" }))
  }
  const decoded = Schema.decodeResult(tool.parameters, { errors: "all", onExcessProperty: "error" })(
    withoutAbsent(json.value)
  )
  return Result.isSuccess(decoded)
    ? Effect.succeed(decoded.success as never)
    : Effect.fail(new ToolRejected({ code: "invalid", detail: decoded.failure.message.slice(0, 1_000) }))
}

/** What agents may call in a run, and the running of it; the control plane decides again. */
export class AgentTools extends Context.Service<
  AgentTools,
  {
    /** The function tools offered in this run. */
    offered(context: DeliveryContext): ReadonlyArray<FunctionTool>
    /** Runs one call. Refusals are results for the agent; only what ends the turn is a failure. */
    executeAgentTool(
      run: Omit<ToolRun, "controlPlane">,
      call: FunctionCall
    ): Effect.Effect<ToolResult, ToolInterruption>
  }
>()("runtime-service/services/AgentTools") {
  static readonly layer = Layer.effect(
    AgentTools,
    Effect.gen(function* () {
      const controlPlane = yield* ControlPlane
      const metrics = yield* Metrics

      const offered = (context: DeliveryContext) =>
        tools.flatMap((tool) => {
          const definition = functionTools.get(tool.name)
          return definition !== undefined && tool.isOffered(context) ? [definition] : []
        })

      const executeAgentTool = Effect.fn("AgentTools.executeAgentTool")(function* (
        run: Omit<ToolRun, "controlPlane">,
        call: FunctionCall
      ) {
        const tool = tools.find((candidate) => candidate.name === call.name)
        const refuse = (code: string, error: string): ToolResult => ({
          tool: call.name,
          success: false,
          isEffect: false,
          json: JSON.stringify({ tool: call.name, success: false, code, error })
        })
        const names = offered(run.context).map(({ name }) => name)
        const result: ToolResult =
          tool === undefined || !tool.isOffered(run.context)
            ? refuse("forbidden", `this tool is not offered here; offered are: ${names.join(", ") || "none"}`)
            : yield* decodeParameters(tool, call.arguments).pipe(
                Effect.flatMap((parameters) => tool.run({ ...run, controlPlane }, parameters)),
                Effect.map((answer): ToolResult => ({
                  tool: tool.name,
                  success: true,
                  isEffect: tool.isEffect,
                  json: JSON.stringify({ tool: tool.name, success: true, ...answer })
                })),
                Effect.catchTags({
                  ToolRejected: (rejected) => Effect.succeed(refuse(rejected.code, rejected.detail)),
                  ControlPlaneRefused: (refused) => Effect.succeed(refuse(refused.code, refused.detail))
                })
              )
        yield* metrics.toolCalled(tool?.name ?? "unknown", result.success)
        yield* Effect.logInfo("tool called").pipe(
          Effect.annotateLogs({ tool: call.name.slice(0, 64), success: result.success })
        )
        return result
      })

      return AgentTools.of({ offered, executeAgentTool })
    })
  )
}
