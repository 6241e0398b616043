import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { CAPABILITY_HEADER, SESSION_KEY_HEADER } from "../../domain/http/Capability.ts"
import type { AgentTool } from "../../services/tools/AgentTool.ts"
import { allTools } from "../../services/tools/AllTools.ts"

/** The codes of refusals by HTTP status. Callers branch on the code; the error is for people. */
export const refusalCodes = {
  400: ["malformed"],
  401: ["unauthenticated"],
  403: ["forbidden", "needs_approval"],
  404: ["not_found"],
  405: ["method_not_allowed"],
  408: ["timeout"],
  409: ["conflict", "lease_lost"],
  413: ["too_large"],
  415: ["unsupported_media_type"],
  422: ["invalid"],
  429: ["limit"],
  500: ["internal"],
  503: ["unavailable"]
} as const

/** The code of a refusal; each has one status. */
export type RefusalCode = (typeof refusalCodes)[keyof typeof refusalCodes][number]

const statuses: ReadonlyMap<string, number> = new Map(
  Object.entries(refusalCodes).flatMap(([status, codes]) => codes.map((code) => [code, Number(status)] as const))
)

/** The HTTP status of a code; 500 for an unknown code, which is a defect of the runtime. */
export const statusOfCode = (code: string): number => statuses.get(code) ?? 500

const refusal = <const Codes extends ReadonlyArray<string>>(status: number, codes: Codes) =>
  Schema.Struct({
    tool: Schema.String,
    success: Schema.Literal(false),
    code: Schema.Literals(codes),
    error: Schema.String
  }).pipe(HttpApiSchema.status(status))

const refusals = [
  refusal(400, refusalCodes[400]),
  refusal(401, refusalCodes[401]),
  refusal(403, refusalCodes[403]),
  refusal(404, refusalCodes[404]),
  refusal(405, refusalCodes[405]),
  refusal(408, refusalCodes[408]),
  refusal(409, refusalCodes[409]),
  refusal(413, refusalCodes[413]),
  refusal(415, refusalCodes[415]),
  refusal(422, refusalCodes[422]),
  refusal(429, refusalCodes[429]),
  refusal(500, refusalCodes[500]),
  refusal(503, refusalCodes[503])
] as const

/**
 * Optional in the schema, so that the handler can answer their absence with 401 after the checks of address and media
 * type.
 */
const credentials = Schema.Struct({
  [SESSION_KEY_HEADER]: Schema.optionalKey(Schema.String),
  [CAPABILITY_HEADER]: Schema.optionalKey(Schema.String)
})

const endpointOf = <
  const Name extends string,
  Parameters extends Schema.Struct.Fields,
  Answer extends Schema.Struct.Fields
>(
  tool: AgentTool<Name, Parameters, Answer>
) =>
  HttpApiEndpoint.post(tool.name, tool.path, {
    headers: credentials,
    payload: tool.parameters as Schema.Struct<Parameters>,
    success: Schema.Struct({
      tool: Schema.Literal(tool.name),
      success: Schema.Literal(true),
      ...(tool.answer as Schema.Struct<Answer>).fields
    }),
    error: refusals
  }).annotateMerge(OpenApi.annotations({ summary: tool.capability, description: tool.description }))

type EndpointOf<Tool> =
  Tool extends AgentTool<infer Name, infer Parameters, infer Answer>
    ? ReturnType<typeof endpointOf<Name, Parameters, Answer>>
    : never

type EndpointsOf<Tools extends ReadonlyArray<unknown>> = { readonly [Index in keyof Tools]: EndpointOf<Tools[Index]> }

const endpoints = allTools.map((tool) => endpointOf(tool as AgentTool)) as unknown as EndpointsOf<typeof allTools>

/** The tools as HTTP endpoints, one for each. Two headers authenticate a call. */
export class AgentApi extends HttpApi.make("mission-control-agent-tools")
  .add(HttpApiGroup.make("agent", { topLevel: true }).add(...endpoints))
  .annotateMerge(
    OpenApi.annotations({
      title: "Mission Control agent tools",
      description:
        "The tools of an agent's run. Session key and capability are at the end of the run's input and become invalid when the run ends."
    })
  ) {}
