import type { ServerResponse } from "node:http"
import { json } from "./httpAnswers.ts"

/** Answers /v1/models and /v1/models/ID: the gateway offers each agent as a model. */
export const serveModels = (path: string, agents: ReadonlyArray<string>, response: ServerResponse): void => {
  const ids = ["openclaw", "openclaw/default", ...agents.map((agent) => `openclaw/${agent}`)]
  const entry = (id: string) => ({ id, object: "model", created: 0, owned_by: "openclaw", permission: [] })
  if (path === "/v1/models") return json(response, 200, { object: "list", data: ids.map(entry) })
  const id = decodeURIComponent(path.slice("/v1/models/".length))
  if (ids.includes(id)) return json(response, 200, entry(id))
  json(response, 404, { error: { message: `Model '${id}' not found.`, type: "invalid_request_error" } })
}
