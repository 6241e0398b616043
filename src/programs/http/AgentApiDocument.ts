import { OpenApi } from "effect/http-api"
import { AgentApi } from "./AgentApi.ts"

/** The OpenAPI document of the agents' tools, in JSON. */
export const agentApiDocument = JSON.stringify(OpenApi.fromApi(AgentApi))
