import { OpenApi } from "effect/http-api"
import { AgentApi } from "./AgentApi.ts"

/** The agents' tools as an OpenAPI document, in JSON. */
export const agentApiDocument = JSON.stringify(OpenApi.fromApi(AgentApi))
