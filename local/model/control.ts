import type { IncomingMessage, ServerResponse } from "node:http"
import { parseScript } from "./script.ts"
import type { ScriptedModel } from "./scriptedModel.ts"

/**
 * Serves `/__local/script` (POST adds rules, DELETE removes them) and `/__local/requests` (GET, DELETE) of a scripted
 * model. Returns false for any other path. `prefix` is the part before those names.
 */
export const serveModelControl = async (
  model: ScriptedModel,
  request: IncomingMessage,
  response: ServerResponse,
  prefix = "/__local"
): Promise<boolean> => {
  const path = (request.url ?? "/").split("?")[0]
  if (path === `${prefix}/script`) {
    if (request.method === "DELETE") {
      model.clearScript()
      answer(response, 200, { ok: true })
      return true
    }
    if (request.method !== "POST") {
      answer(response, 405, { error: "use POST or DELETE" })
      return true
    }
    try {
      model.add(parseScript(JSON.parse(await readBody(request))))
      answer(response, 200, { ok: true })
    } catch (error) {
      answer(response, 400, { error: error instanceof Error ? error.message : String(error) })
    }
    return true
  }
  if (path === `${prefix}/requests`) {
    if (request.method === "DELETE") model.clearRequests()
    answer(response, 200, { count: model.count, requests: model.requests })
    return true
  }
  return false
}

/** The whole body as text. */
export const readBody = async (request: IncomingMessage): Promise<string> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString("utf8")
}

const answer = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))
}
