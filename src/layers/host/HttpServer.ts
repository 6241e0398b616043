/** The HTTP server on HEALTH_HOST and HEALTH_PORT; programs add its routes. */
import { createServer } from "node:http"
import type { IncomingMessage, Server, ServerResponse } from "node:http"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { toIncomingMessage } from "@effect/platform-node/NodeHttpServerRequest"
import { Effect, Layer, Schema } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { RuntimeConfig } from "../Config.ts"

/** The server cannot listen on its address; the process ends with exit code 78. */
export class ListenFailed extends Schema.TaggedError<ListenFailed>()("ListenFailed", { detail: Schema.String }) {}

const reasonOf = (cause: unknown): string => {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause)
  switch (code) {
    case "EADDRINUSE":
      return "another process listens there: stop it, or set HEALTH_PORT to a free port"
    case "EACCES":
      return "this user may not use that port: set HEALTH_PORT to 1024 or above"
    case "EADDRNOTAVAIL":
      return "no interface of this machine has that address: correct HEALTH_HOST"
    default:
      return code
  }
}

/**
 * Holds requests that arrive after the server listens and before its routes exist. Node would never answer them, and a
 * probe without a deadline would wait for ever.
 */
const holdingEarlyRequests = (server: Server): Server => {
  const early: Array<readonly [IncomingMessage, ServerResponse]> = []
  const hold = (request: IncomingMessage, response: ServerResponse) => void early.push([request, response])
  const handOver = (event: string | symbol) => {
    if (event !== "request") return
    server.off("newListener", handOver)
    server.off("request", hold)
    // Node emits the event before it adds the listener.
    process.nextTick(() => {
      for (const [request, response] of early) server.emit("request", request, response)
    })
  }
  server.on("request", hold)
  return server.on("newListener", handOver)
}

/** The server with Node's own limits for slow clients: 10 s for headers, 30 s for a request. */
export const layer = Layer.unwrap(
  Effect.map(RuntimeConfig, ({ healthHost, healthPort }) =>
    NodeHttpServer.layer(
      () =>
        holdingEarlyRequests(
          createServer({ headersTimeout: 10_000, requestTimeout: 30_000, connectionsCheckingInterval: 5_000 })
        ),
      { port: healthPort, host: healthHost, gracefulShutdownTimeout: "200 millis" }
    ).pipe(
      Layer.catchTag("ServeError", ({ cause }) =>
        Layer.effectContext(
          Effect.fail(new ListenFailed({ detail: `cannot listen on ${healthHost}:${healthPort}: ${reasonOf(cause)}` }))
        )
      )
    )
  )
)

/** The form of every route's path; a query may follow. */
const PLAIN_PATH = /^\/(?:[a-z0-9._-]+(?:\/[a-z0-9._-]+)*)?(?:\?|$)/

/**
 * Middleware: a request reaches a route only under the route's exact path. The router would also accept `//health`,
 * `/AGENT/task-load`, `/health/`, `/health;a=b` and `/%68ealth`, which a proxy's rules by prefix do not match. Two Host
 * headers are refused, because a proxy may have read the other one.
 */
export const strictly = <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const { rawHeaders, url = "" } = toIncomingMessage(request)
    const hosts = rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === "host")
    if (hosts.length > 1) {
      return Effect.succeed(HttpServerResponse.text("The request has two Host headers. Send one.\n", { status: 400 }))
    }
    return PLAIN_PATH.test(url) ? app : Effect.succeed(HttpServerResponse.empty({ status: 404 }))
  })
