import type { Server } from "node:http"
import { Effect, Queue } from "effect"
import type { Scope } from "effect"
import { type WebSocket, WebSocketServer } from "ws"

/** A request frame as the server got it. */
export interface RequestFrame {
  readonly id: string
  readonly method: string
  readonly params: Record<string, unknown>
}

/** The gateway's answer to a client with the right token on the same machine. */
export const hello = {
  type: "hello-ok",
  protocol: 4,
  server: { version: "2026.9.6", connId: "c1" },
  features: { methods: ["sessions.messages.subscribe", "sessions.messages.unsubscribe"], events: ["agent", "chat"] },
  auth: { role: "operator", scopes: ["operator.read"] },
  policy: { tickIntervalMs: 30_000 }
}

export interface SocketScript {
  /** Whether the server sends its challenge; otherwise it stays silent. */
  readonly isSilent?: boolean
  /** The frame that answers `connect`, without its id. */
  readonly answer?: object
}

/** The gateway's WebSocket on a test's server. */
export interface ScriptedSocket {
  /** Every request of every connection, `connect` included. */
  readonly requests: Queue.Queue<RequestFrame>
  /** Sends a frame, or a text as it is, to all connections. */
  send(frame: unknown): void
  event(event: string, payload: unknown): void
  /** Closes all connections. */
  cut(): void
}

/** Opens it until the scope closes. */
export const openSocket = (server: Server, script: SocketScript): Effect.Effect<ScriptedSocket, never, Scope.Scope> =>
  Effect.gen(function* () {
    const requests = yield* Queue.unbounded<RequestFrame>()
    const textOf = (frame: unknown) => (typeof frame === "string" ? frame : JSON.stringify(frame))
    const opened = new Set<WebSocket>()
    const sockets = yield* Effect.acquireRelease(
      Effect.sync(() => new WebSocketServer({ server })),
      () => Effect.sync(() => opened.forEach((socket) => socket.terminate()))
    )
    const scripted: ScriptedSocket = {
      requests,
      send: (frame) => opened.forEach((socket) => socket.send(textOf(frame))),
      event: (event, payload) => scripted.send({ type: "event", event, payload }),
      cut: () => opened.forEach((socket) => socket.close(1012, "service restart"))
    }
    sockets.on("connection", (socket) => {
      opened.add(socket)
      socket.on("close", () => opened.delete(socket))
      socket.on("message", (data: Buffer) => {
        const request = JSON.parse(data.toString("utf8")) as RequestFrame
        Queue.offerUnsafe(requests, request)
        if (request.method !== "connect") return
        socket.send(textOf({ type: "res", id: request.id, ...(script.answer ?? { ok: true, payload: hello }) }))
      })
      if (script.isSilent !== true) {
        socket.send(JSON.stringify({ type: "event", event: "connect.challenge", payload: { nonce: "n", ts: 1 } }))
      }
    })
    return scripted
  })
