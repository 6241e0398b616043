import { createServer } from "node:http"
import type { IncomingMessage, Server, ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect, Queue } from "effect"
import type { Scope } from "effect"

/** A request as the server got it. */
export interface Received {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage["headers"]
  readonly body: string
  /** Tells the caller's connections apart. */
  readonly connection: number
  /** Completes when the caller closes its connection before an answer was written. */
  readonly closedEarly: Promise<void>
}

/** What the server does with a request; without an answer it leaves the caller waiting. */
export type Answer = (request: Received, response: ServerResponse) => void

/** Answers with this status and body: JSON of an object, a string as it is. */
export const answerWith =
  (status: number, body: unknown, headers: Record<string, string> = {}): Answer =>
  (_, response) => {
    response.writeHead(status, {
      "content-type": typeof body === "string" ? "text/plain" : "application/json",
      ...headers
    })
    response.end(typeof body === "string" ? body : JSON.stringify(body))
  }

/** Leaves the caller waiting. */
export const hang: Answer = () => {}

/** Breaks the connection without an answer. */
export const reset: Answer = (_, response) => {
  response.socket?.resetAndDestroy()
}

/** An HTTP server on loopback whose answer the test sets, by path or for all; it ends with the scope. */
export interface ScriptedServer {
  readonly url: string
  /** For a WebSocket on the same port. */
  readonly server: Server
  readonly received: Queue.Queue<Received>
  /** Sets the answer of a path, or with `*` of all others. */
  answer(path: string, answer: Answer): void
}

/** Starts one on a free port. */
export const startServer: Effect.Effect<ScriptedServer, never, Scope.Scope> = Effect.gen(function* () {
  const received = yield* Queue.unbounded<Received>()
  const answers = new Map<string, Answer>()
  const server = createServer((incoming, response) => {
    const closedEarly = new Promise<void>((resolve) => {
      response.once("close", () => {
        if (!response.writableEnded) resolve()
      })
    })
    const chunks: Array<Buffer> = []
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
    incoming.on("error", () => {})
    incoming.on("end", () => {
      const path = incoming.url ?? ""
      const request: Received = {
        method: incoming.method ?? "",
        path,
        headers: incoming.headers,
        body: Buffer.concat(chunks).toString("utf8"),
        connection: incoming.socket.remotePort ?? 0,
        closedEarly
      }
      Queue.offerUnsafe(received, request)
      const answer = answers.get(path) ?? answers.get("*") ?? answerWith(404, "Not Found")
      answer(request, response)
    })
  })
  yield* Effect.acquireRelease(
    Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
    () =>
      Effect.promise(
        () =>
          new Promise<void>((resolve) => {
            server.close(() => resolve())
            server.closeAllConnections()
          })
      )
  )
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    server,
    received,
    answer: (path, answer) => void answers.set(path, answer)
  }
})

/** A port of this machine on which nobody listens. */
export const closedPort: Effect.Effect<number> = Effect.promise(
  () =>
    new Promise<number>((resolve) => {
      const server = createServer()
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as AddressInfo
        server.close(() => resolve(port))
      })
    })
)
