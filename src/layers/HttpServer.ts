/** Listens on HEALTH_HOST and HEALTH_PORT, nothing else: what is served there are the programs' routes. */
import { createServer } from "node:http"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer, Schema } from "effect"
import { RuntimeConfig } from "./Config.ts"

/** The address cannot be listened on; the process ends with exit code 78. */
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

/** The server with Node's own limits for slow clients: 10 s for headers, 30 s for a request. */
export const layer = Layer.unwrap(
  Effect.map(RuntimeConfig, ({ healthHost, healthPort }) =>
    NodeHttpServer.layer(
      () => createServer({ headersTimeout: 10_000, requestTimeout: 30_000, connectionsCheckingInterval: 5_000 }),
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
