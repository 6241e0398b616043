import { randomUUID } from "node:crypto"
import type { IncomingMessage, Server } from "node:http"
import type { Duplex } from "node:stream"
import { type WebSocket, WebSocketServer } from "ws"
import { z } from "zod"
import type { Release } from "./release.ts"

const request = z.object({
  type: z.literal("req"),
  id: z.string().min(1),
  method: z.string().min(1),
  params: z.record(z.string(), z.unknown()).default({})
})
type Request = z.infer<typeof request>

const connectParams = z.strictObject({
  minProtocol: z.number().int(),
  maxProtocol: z.number().int(),
  client: z.strictObject({
    id: z.enum(["gateway-client", "cli", "test", "openclaw-control-ui"]),
    version: z.string().min(1),
    platform: z.string().min(1),
    mode: z.enum(["backend", "cli", "ui", "test"])
  }),
  caps: z.array(z.string()).default([]),
  role: z.string().optional(),
  scopes: z.array(z.string()).default([]),
  auth: z.strictObject({ token: z.string().optional() }).optional()
})

const keyed = z.strictObject({ key: z.string().min(1) })
const listed = z.strictObject({
  activeOnly: z.literal(true),
  agentId: z.string().optional(),
  limit: z.number().int().positive().optional()
})

const protocol = 4
const tickIntervalMs = 30_000
const methods = ["sessions.messages.subscribe", "sessions.messages.unsubscribe", "sessions.abort", "sessions.list"]
const events = ["agent", "chat", "session.message", "tick"]

export interface EventSocketOptions {
  readonly release: Release
  readonly token: () => string | undefined
  /** Stops the session's run as OpenClaw's Stop button does. Returns whether one was running. */
  readonly abort: (sessionKey: string) => boolean
  /** The sessions with running or queued turns, of one agent if given. */
  readonly activeSessions: (agent?: string) => ReadonlyArray<string>
}

/** A connected client and the sessions that it follows. */
interface Client {
  readonly socket: WebSocket
  readonly scopes: ReadonlyArray<string>
  readonly keys: Set<string>
}

/**
 * The gateway's WebSocket, as far as the runtime uses it: the handshake, the events of followed sessions, and the list
 * of active sessions.
 */
export class EventSocket {
  readonly #options: EventSocketOptions
  readonly #sockets = new WebSocketServer({ noServer: true, maxPayload: 25 << 20 })
  readonly #clients = new Set<Client>()
  readonly #ticks: NodeJS.Timeout

  constructor(options: EventSocketOptions) {
    this.#options = options
    this.#ticks = setInterval(() => {
      const text = JSON.stringify({ type: "event", event: "tick", payload: { ts: Date.now() } })
      for (const { socket } of this.#clients) socket.send(text)
    }, tickIntervalMs)
    this.#ticks.unref()
  }

  /** Handles the upgrade requests of an HTTP server. */
  attach(server: Server): void {
    server.on("upgrade", (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.#sockets.handleUpgrade(incoming, socket, head, (webSocket) => this.#open(webSocket))
    })
  }

  /** Sends an event to the clients that follow its session. */
  emit(sessionKey: string, event: string, payload: object): void {
    const text = JSON.stringify({ type: "event", event, payload })
    for (const { keys, socket } of this.#clients) if (keys.has(sessionKey)) socket.send(text)
  }

  /** Sends an event of this form for each followed session. */
  emitToAll(event: string, payload: object): void {
    const followed = new Set([...this.#clients].flatMap(({ keys }) => [...keys]))
    for (const sessionKey of followed) this.emit(sessionKey, event, { ...payload, sessionKey })
  }

  /** Breaks all connections. */
  cut(): void {
    for (const socket of this.#sockets.clients) socket.terminate()
  }

  close(): void {
    clearInterval(this.#ticks)
    this.cut()
  }

  #open(socket: WebSocket): void {
    let client: Client | undefined
    const send = (frame: object) => socket.send(JSON.stringify(frame))
    const refuse = (id: string, code: string, message: string) =>
      send({ type: "res", id, ok: false, error: { code, message } })
    socket.on("error", () => socket.terminate())
    socket.on("close", () => {
      if (client !== undefined) this.#clients.delete(client)
    })
    socket.on("message", (data: Buffer) => {
      const parsed = readRequest(data.toString("utf8"))
      if (parsed === undefined) return socket.close(1008, "invalid request frame")
      if (client !== undefined) return this.#serve(client, parsed, send, refuse)
      const connected = this.#connect(parsed, socket)
      if (typeof connected === "string") {
        refuse(parsed.id, "INVALID_REQUEST", connected)
        return socket.close(1008, connected)
      }
      client = connected
      this.#clients.add(client)
      const { version } = this.#options.release
      send({
        type: "res",
        id: parsed.id,
        ok: true,
        payload: {
          type: "hello-ok",
          protocol,
          server: { version, connId: randomUUID() },
          features: { methods, events },
          snapshot: {},
          auth: { role: "operator", scopes: client.scopes },
          policy: { maxPayload: 25 << 20, maxBufferedBytes: 50 << 20, tickIntervalMs }
        }
      })
    })
    send({ type: "event", event: "connect.challenge", payload: { nonce: randomUUID(), ts: Date.now() } })
  }

  /** The client, or why it is refused. */
  #connect({ method, params }: Request, socket: WebSocket): Client | string {
    if (method !== "connect") return "invalid handshake: first request must be connect"
    const parsed = connectParams.safeParse(params)
    if (!parsed.success) return `invalid connect params: ${parsed.error.issues[0]?.message ?? ""}`
    const { auth, maxProtocol, minProtocol, scopes } = parsed.data
    if (minProtocol > protocol || maxProtocol < protocol) return "protocol mismatch"
    const token = this.#options.token()
    if (token !== undefined && auth?.token === undefined) return "unauthorized: gateway token missing"
    if (token !== undefined && auth?.token !== token) return "unauthorized: gateway token mismatch"
    return { socket, scopes, keys: new Set() }
  }

  #serve(
    { keys, scopes }: Client,
    { id, method, params }: Request,
    send: (frame: object) => void,
    refuse: (id: string, code: string, message: string) => void
  ): void {
    const needed = method === "sessions.abort" ? "operator.write" : "operator.read"
    if (!methods.includes(method)) return refuse(id, "INVALID_REQUEST", `unknown method: ${method}`)
    if (!scopes.includes(needed)) return refuse(id, "FORBIDDEN", `missing scope: ${needed}`)
    const answer = (payload: object) => send({ type: "res", id, ok: true, payload })
    if (method === "sessions.list") {
      const query = listed.safeParse(params)
      if (!query.success || !this.#options.release.listsActiveSessions) {
        return refuse(id, "INVALID_REQUEST", "invalid sessions.list params")
      }
      const keys = this.#options.activeSessions(query.data.agentId).slice(0, query.data.limit)
      return answer({ sessions: keys.map((key) => ({ key, hasActiveRun: true })) })
    }
    const parsed = keyed.safeParse(params)
    if (!parsed.success) return refuse(id, "INVALID_REQUEST", `invalid ${method} params`)
    const key = parsed.data.key.toLowerCase()
    if (method === "sessions.abort") {
      return answer({ ok: true, status: this.#options.abort(key) ? "aborted" : "no-active-run" })
    }
    const subscribed = method === "sessions.messages.subscribe"
    if (subscribed) keys.add(key)
    else keys.delete(key)
    answer({ subscribed, key })
  }
}

const readRequest = (text: string): Request | undefined => {
  try {
    return request.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}
