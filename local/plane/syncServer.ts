import { type IncomingMessage, type Server } from "node:http"
import { type Duplex } from "node:stream"
import { type RawData, type WebSocket, WebSocketServer } from "ws"
import { normalPath } from "./app.ts"
import { anonymous, type Authorization, type Caller, completeIdentity } from "./authorization.ts"
import { type Engine } from "./engine.ts"
import { type Faults } from "./faults.ts"
import { LiveQueries, type LiveQuery, update } from "./liveQueries.ts"
import { type RequestLog } from "./requestLog.ts"
import { SyncCalls } from "./syncCalls.ts"
import { type ClientMessage } from "./syncProtocol.ts"
import { type Due, SyncSession } from "./syncSession.ts"
import { decodeTimestamp } from "./timestamp.ts"

type Authenticate = Extract<ClientMessage, { type: "Authenticate" }>

/** Serves Convex's sync protocol: subscriptions, mutations and actions over a WebSocket. */
export class SyncServer {
  private readonly engine: Engine
  private readonly faults: Faults
  private readonly calls: SyncCalls
  private readonly authorization: Authorization
  private readonly sessions = new Set<SyncSession>()
  private readonly live = new LiveQueries()
  private readonly sockets = new WebSocketServer({ noServer: true, maxPayload: 16 << 20 })
  private readonly pings: NodeJS.Timeout
  private isPumping = false
  private isPumpWanted = false
  private transitions = 0
  private connections = 0

  constructor(
    engine: Engine,
    faults: Faults,
    requests: RequestLog,
    authorization: Authorization,
    pingInterval: number
  ) {
    this.engine = engine
    this.faults = faults
    this.calls = new SyncCalls(engine, faults, requests, () => void this.pump())
    this.authorization = authorization
    this.pings = setInterval(() => {
      for (const session of this.sessions) session.send({ type: "Ping" })
    }, pingInterval)
    engine.onCommit(({ changes }) => {
      if (this.live.invalidate(changes)) engine.later(() => void this.pump())
    })
  }

  /** Handles the upgrade requests of an HTTP server. */
  attach(server: Server): void {
    server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const path = (request.url ?? "/").split("?")[0]!
      if (
        !/^\/api\/(?:[^/]+\/)?sync$/.test(path) ||
        this.faults.take(["refuse"], undefined, "websocket") !== undefined
      ) {
        socket.destroy()
        return
      }
      this.sockets.handleUpgrade(request, socket, head, (webSocket) => this.open(webSocket))
    })
  }

  /** Silences up to `count` sockets: TCP stays open, but no byte is read or sent. Returns how many. */
  park(count: number): number {
    const parked = [...this.sessions].filter(({ isParked }) => !isParked).slice(0, count)
    for (const session of parked) {
      session.isParked = true
      session.socket.pause()
    }
    return parked.length
  }

  /** Closes the parked sockets, so that their clients reconnect. */
  unpark(): void {
    for (const session of this.sessions) if (session.isParked) session.socket.terminate()
  }

  report(): {
    readonly sessions: number
    readonly parked: number
    readonly transitions: number
    readonly connections: number
  } {
    return {
      sessions: this.sessions.size,
      parked: [...this.sessions].filter(({ isParked }) => isParked).length,
      transitions: this.transitions,
      connections: this.connections
    }
  }

  resetReport(): void {
    this.transitions = 0
    this.connections = 0
  }

  close(): void {
    clearInterval(this.pings)
    for (const { socket } of this.sessions) socket.terminate()
    this.sockets.close()
  }

  private open(socket: WebSocket): void {
    const session = new SyncSession(socket)
    this.sessions.add(session)
    this.connections += 1
    socket.on("error", () => {})
    socket.on("close", () => {
      this.sessions.delete(session)
      for (const subscription of session.subscriptions.values()) this.live.unsubscribe(subscription)
      session.subscriptions.clear()
    })
    socket.on("message", (data: RawData) => {
      if (session.isParked) return
      // `ws` delivers one Buffer by default.
      const receive = () => this.receive(session, JSON.parse((data as Buffer).toString("utf8")) as ClientMessage)
      session.inOrder(receive, (error) => this.end(session, error instanceof Error ? error.message : String(error)))
    })
  }

  private end(session: SyncSession, error: string): void {
    session.send({ type: "FatalError", error })
    session.socket.close(1002, error.slice(0, 120))
  }

  /** Handles a message. Returns a promise if the next one must wait for it. */
  private receive(session: SyncSession, message: ClientMessage): void | Promise<void> {
    switch (message.type) {
      case "Connect":
        session.id = message.sessionId
        if (message.maxObservedTimestamp !== undefined)
          this.engine.observe(decodeTimestamp(message.maxObservedTimestamp))
        return
      case "Authenticate":
        return this.authenticate(session, message)
      case "ModifyQuerySet":
        return this.modify(session, message)
      case "Mutation":
        session.mutations = session.mutations.then(() => this.calls.mutate(session, message))
        return
      case "Action":
        void this.calls.act(session, message)
        return
      case "Event":
        return
      default:
        throw new Error("Unknown message")
    }
  }

  /** Undefined if the caller is refused. */
  private async callerOf({ impersonating, tokenType, value = "" }: Authenticate): Promise<Caller | undefined> {
    if (tokenType === "None") return anonymous
    if (tokenType === "User") return await this.authorization.personOf(value).catch(() => undefined)
    const identity = impersonating === undefined ? null : completeIdentity(impersonating)
    return this.authorization.isAdminKey(value) ? { isAdmin: true, identity } : undefined
  }

  private async authenticate(session: SyncSession, message: Authenticate): Promise<void> {
    if (message.baseVersion !== session.identity) throw new Error("Authenticate is out of order")
    const caller = await this.callerOf(message)
    if (caller === undefined) {
      session.send({
        type: "AuthError",
        error: "Could not verify token",
        baseVersion: message.baseVersion,
        authUpdateAttempted: true
      })
      return
    }
    session.caller = caller
    session.identity = message.baseVersion + 1
    for (const [queryId, subscription] of session.subscriptions) {
      const { path, args } = subscription.live.call
      this.live.unsubscribe(subscription)
      session.subscriptions.set(queryId, this.live.subscribe(session.caller, path, args))
    }
    void this.pump()
  }

  private modify(session: SyncSession, message: Extract<ClientMessage, { type: "ModifyQuerySet" }>): void {
    if (message.baseVersion !== session.querySet) throw new Error("ModifyQuerySet is out of order")
    session.querySet = message.newVersion
    for (const modification of message.modifications) {
      const known = session.subscriptions.get(modification.queryId)
      if (known !== undefined) {
        this.live.unsubscribe(known)
        session.subscriptions.delete(modification.queryId)
      }
      if (modification.type === "Add") {
        const path = normalPath(modification.udfPath)
        session.subscriptions.set(
          modification.queryId,
          this.live.subscribe(session.caller, path, modification.args[0] ?? {})
        )
      } else session.removed.push(modification.queryId)
    }
    void this.pump()
  }

  /** Sends each session the changes since its last version: one transition, from a snapshot that all sessions share. */
  private async pump(): Promise<void> {
    this.isPumpWanted = true
    if (this.isPumping) return
    this.isPumping = true
    while (this.isPumpWanted) {
      this.isPumpWanted = false
      let dirty: ReadonlyArray<LiveQuery> = []
      let due: ReadonlyArray<Due> = []
      const { results, timestamp } = await this.engine.runTogether(() => {
        due = [...this.sessions].filter((session) => session.isDue()).map((session) => session.takeDue())
        dirty = this.live.takeDirty()
        return dirty.map(({ call }) => call)
      })
      for (const [position, live] of dirty.entries()) update(live, results[position]!)
      for (const each of due) if (each.session.sendTransition(each, timestamp)) this.transitions += 1
    }
    this.isPumping = false
  }
}
