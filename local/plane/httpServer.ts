import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { type JSONValue } from "convex/values"
import { wellFormed } from "../../src/domain/text/WellFormed.ts"
import { type Kind, normalPath } from "./app.ts"
import { type Authorization } from "./authorization.ts"
import { type Result } from "./call.ts"
import { type Engine } from "./engine.ts"
import { callFaults, type Fault, faultKinds, type FaultKind, type Faults, overloaded } from "./faults.ts"
import { TokenRefused } from "./signInTokens.ts"
import { type SyncServer } from "./syncServer.ts"
import { decodeTimestamp, encodeTimestamp } from "./timestamp.ts"

const maximumBody = 16 << 20

type Context = {
  readonly engine: Engine
  readonly faults: Faults
  readonly sync: SyncServer
  readonly authorization: Authorization
}

type CallBody = { readonly path?: unknown; readonly args?: unknown; readonly format?: unknown; readonly ts?: unknown }

const reply = (response: ServerResponse, status: number, body: unknown): void => {
  const json = JSON.stringify(body)
  response
    .writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(json) })
    .end(json)
}

const refuse = (response: ServerResponse, status: number, code: string, message: string): void =>
  reply(response, status, { code, message })

const bodyOf = async (request: IncomingMessage): Promise<string | undefined> => {
  const chunks: Array<Buffer> = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maximumBody) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString("utf8")
}

/** Like Convex's own parser, treats a text with half a surrogate pair as invalid JSON. */
const parsed = (text: string): unknown => {
  try {
    const value: unknown = JSON.parse(text)
    return /\\ud[89a-f]/i.test(text) && wellFormed(value) !== value ? undefined : value
  } catch {
    return undefined
  }
}

const callKinds: Record<string, Kind | "any"> = {
  "/api/query": "query",
  "/api/query_at_ts": "query",
  "/api/mutation": "mutation",
  "/api/action": "action",
  "/api/function": "any"
}

const answer = (response: ServerResponse, result: Result): void => {
  switch (result.status) {
    case "success":
      return reply(response, 200, { status: "success", value: result.value, logLines: [] })
    case "error":
      return reply(response, 200, {
        status: "error",
        errorMessage: result.errorMessage,
        ...(result.errorData === undefined ? {} : { errorData: result.errorData }),
        logLines: []
      })
    case "unavailable":
      return refuse(response, 503, result.code, result.message)
  }
}

/** The refusal of a token; rethrows any other failure. */
const refusalOf = (error: unknown): TokenRefused => {
  if (error instanceof TokenRefused) return error
  throw error
}

const serveCall = async (
  { authorization, engine, faults }: Context,
  kind: Kind | "any",
  request: IncomingMessage,
  response: ServerResponse
): Promise<void> => {
  const text = await bodyOf(request)
  if (text === undefined) return refuse(response, 413, "RequestTooLarge", "Request body is larger than 16 MiB")
  const caller = await authorization.callerOf(request.headers.authorization).catch(refusalOf)
  if (caller instanceof TokenRefused) return refuse(response, 401, "Unauthenticated", caller.message)
  const body = parsed(text) as CallBody | undefined
  if (typeof body !== "object" || body === null || typeof body.path !== "string" || body.args === undefined) {
    return refuse(response, 400, "BadJsonBody", "The body is not a function call")
  }
  const path = normalPath(body.path)
  if (typeof body.ts === "string" && decodeTimestamp(body.ts) < engine.timestamp) {
    return refuse(response, 400, "SnapshotTooOld", "The plane has no earlier snapshots")
  }
  const fault = faults.take(callFaults, path, "http")
  if (fault?.kind === "refuse") return void request.socket.destroy()
  if (fault?.kind === "hang") return
  if (fault?.kind === "overload") return refuse(response, 503, overloaded.code, overloaded.message)
  if (fault?.kind === "error") {
    return reply(response, 200, {
      status: "error",
      errorMessage: "[Request ID: 0000000000000000] Server Error",
      ...(fault.data === undefined ? {} : { errorData: fault.data }),
      logLines: []
    })
  }
  const result = await engine.run({
    path,
    ...(kind === "any" ? {} : { kind }),
    args: (Array.isArray(body.args) ? (body.args[0] ?? {}) : body.args) as JSONValue,
    ...caller,
    origin: "client"
  })
  if (fault?.kind === "drop") return void request.socket.destroy()
  if (fault?.kind === "delay") await new Promise((resolve) => setTimeout(resolve, fault.milliseconds ?? 0))
  answer(response, result)
}

const isFault = (value: unknown): value is Fault =>
  typeof value === "object" && value !== null && "kind" in value && faultKinds.includes(value.kind as FaultKind)

/** The plane's own routes, for an administrator: faults and statistics. */
const serveLocal = async (
  { authorization, engine, faults, sync }: Context,
  path: string,
  request: IncomingMessage,
  response: ServerResponse
): Promise<void> => {
  if (authorization.adminOf(request.headers.authorization) === undefined) {
    return refuse(response, 403, "Forbidden", "This route requires the admin key")
  }
  const text = (await bodyOf(request)) ?? ""
  switch (`${request.method} ${path}`) {
    case "GET /__local/stats":
      return reply(response, 200, {
        ...engine.stats.report(),
        ...sync.report(),
        documents: engine.store.counts(),
        timestamp: String(engine.timestamp)
      })
    case "DELETE /__local/stats":
      engine.stats.reset()
      sync.resetReport()
      return reply(response, 200, {})
    case "GET /__local/faults":
      return reply(response, 200, { faults: faults.list(), parked: sync.report().parked })
    case "DELETE /__local/faults":
      faults.clear()
      sync.unpark()
      return reply(response, 200, {})
    case "POST /__local/faults": {
      const body = parsed(text)
      if (typeof body === "object" && body !== null && "kind" in body && body.kind === "park") {
        return reply(response, 200, { parked: sync.park((body as { readonly count?: number }).count ?? Infinity) })
      }
      if (!isFault(body)) return refuse(response, 400, "BadFault", `kind must be one of ${faultKinds.join(", ")}, park`)
      faults.add({ ...body, ...(body.path === undefined ? {} : { path: normalPath(body.path) }) })
      return reply(response, 200, { faults: faults.list() })
    }
    default:
      return refuse(response, 404, "NotFound", "No such route")
  }
}

const serve = async (context: Context, request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const path = (request.url ?? "/").split("?")[0]!
  if (path.startsWith("/__local/")) return await serveLocal(context, path, request, response)
  if (request.method === "GET" && path === "/version") return void response.writeHead(200).end("unknown")
  if (request.method === "POST" && path === "/api/query_ts") {
    return reply(response, 200, { ts: encodeTimestamp(context.engine.timestamp) })
  }
  const kind = callKinds[path]
  if (kind === undefined) return refuse(response, 404, "NotFound", "No such route")
  if (request.method !== "POST") return refuse(response, 405, "MethodNotAllowed", "Only POST")
  return await serveCall(context, kind, request, response)
}

/** Serves Convex's HTTP protocol and the plane's own routes. */
export const makeHttpServer = (context: Context): Server =>
  createServer({ keepAliveTimeout: 75_000 }, (request, response) => {
    serve(context, request, response).catch(() => request.socket.destroy())
  })
