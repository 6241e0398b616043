import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import type { ChatReply, ChatRequest } from "./chat.ts"
import { readBody, serveModelControl } from "./control.ts"
import type { Script } from "./script.ts"
import { errorBodyOf, replyOf, ScriptedModel } from "./scriptedModel.ts"

export interface ModelServerOptions {
  /** A free port by default. */
  readonly port?: number
  readonly script?: Script
}

export interface ModelServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`; the provider's base URL is this with `/v1`. */
  readonly url: string
  readonly model: ScriptedModel
  /** Closes every connection at once. */
  stop(): Promise<void>
}

/** Starts the scripted model provider on loopback; rejects with EADDRINUSE if the port is in use. */
export const startModel = async (options: ModelServerOptions = {}): Promise<ModelServer> => {
  const model = new ScriptedModel(options.script)
  const server = createServer((request, response) => {
    handle(model, request, response).catch((error: unknown) => {
      if (response.headersSent) return response.destroy()
      json(response, 500, { error: { message: String(error), type: "scripted_model" } })
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject)
    server.listen(options.port ?? 0, "127.0.0.1", resolve)
  })
  const stop = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    server.closeAllConnections()
    await closed
  }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    model,
    stop,
    [Symbol.asyncDispose]: stop
  }
}

const handle = async (model: ScriptedModel, request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const path = (request.url ?? "/").split("?")[0]
  if (path === "/healthz") return json(response, 200, { ok: true })
  if (path === "/v1/models") return json(response, 200, { object: "list", data: [{ id: "fake-1", object: "model" }] })
  if (path !== "/v1/chat/completions") {
    if (await serveModelControl(model, request, response)) return
    return json(response, 404, { error: { message: `no route ${path}`, type: "not_found" } })
  }
  if (request.method !== "POST") return json(response, 405, { error: { message: "use POST", type: "invalid_request" } })
  const text = await readBody(request)
  let body: ChatRequest
  try {
    body = JSON.parse(text) as ChatRequest
  } catch {
    return json(response, 400, { error: { message: "body is not JSON", type: "invalid_request" } })
  }
  if (!Array.isArray(body.messages)) {
    return json(response, 400, { error: { message: "messages must be an array", type: "invalid_request" } })
  }
  await play(model, body, response)
}

const play = async (model: ScriptedModel, body: ChatRequest, response: ServerResponse): Promise<void> => {
  const { action, request } = model.decide(body)
  const closed = new AbortController()
  response.once("close", () => {
    if (request.ended === "open") request.ended = "closed-early"
    closed.abort()
  })
  if (action.delayMs !== undefined) {
    await sleep(action.delayMs, undefined, { signal: closed.signal }).catch(() => undefined)
  }
  if (closed.signal.aborted || action.hang === true) return
  if (action.drop === true) {
    request.ended = "dropped"
    response.socket?.destroy()
    return
  }
  if (action.status !== undefined) {
    request.ended = "failed"
    response.writeHead(action.status, { "content-type": "application/json", ...action.headers })
    const errorBody = errorBodyOf(action)
    response.end(typeof errorBody === "string" ? errorBody : JSON.stringify(errorBody))
    return
  }
  request.ended = "answered"
  sendReply(response, body, replyOf(action))
}

/** Answers a request as a provider does: as a stream if the request asks for one. */
export const sendReply = (response: ServerResponse, request: ChatRequest, reply: ChatReply): void => {
  if (request.stream === true) stream(response, request.model, reply)
  else json(response, 200, completion(request.model, reply))
}

const completion = (model: string, reply: ChatReply) => ({
  id: "chatcmpl-scripted",
  object: "chat.completion",
  created: 0,
  model,
  choices: [
    {
      index: 0,
      message: {
        role: "assistant",
        content: reply.text,
        ...(reply.toolCalls.length > 0 ? { tool_calls: reply.toolCalls } : {})
      },
      finish_reason: reply.finish
    }
  ],
  usage: { ...reply.usage, total_tokens: reply.usage.prompt_tokens + reply.usage.completion_tokens }
})

const stream = (response: ServerResponse, model: string, reply: ChatReply): void => {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" })
  const chunk = (fields: object) =>
    response.write(
      `data: ${JSON.stringify({ id: "chatcmpl-scripted", object: "chat.completion.chunk", created: 0, model, ...fields })}\n\n`
    )
  const delta = (fields: object, finish: string | null = null) =>
    chunk({ choices: [{ index: 0, delta: fields, finish_reason: finish }] })
  delta({ role: "assistant" })
  if (reply.text !== "") delta({ content: reply.text })
  for (const [index, call] of reply.toolCalls.entries()) {
    delta({ tool_calls: [{ index, ...call }] })
  }
  delta({}, reply.finish)
  chunk({
    choices: [],
    usage: { ...reply.usage, total_tokens: reply.usage.prompt_tokens + reply.usage.completion_tokens }
  })
  response.end("data: [DONE]\n\n")
}

const json = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))
}
