import { type IncomingMessage, type Server } from "node:http"
import { type Duplex } from "node:stream"
import { type JSONValue } from "convex/values"
import { type RawData, type WebSocket, WebSocketServer } from "ws"
import { normalPath } from "./app.ts"
import { anonymous, type Caller, completeIdentity, isAdminKey } from "./authorization.ts"
import { type Call, type Result } from "./call.ts"
import { type Engine } from "./engine.ts"
import { callFaults, type Faults, overloaded } from "./faults.ts"
import { type Answered, type RequestLog } from "./requestLog.ts"
import { type ReadSet } from "./store.ts"
import { decodeTimestamp, encodeTimestamp } from "./timestamp.ts"

type QueryModification =
  | {
      readonly type: "Add"
      readonly queryId: number
      readonly udfPath: string
      readonly args: ReadonlyArray<JSONValue>
    }
  | { readonly type: "Remove"; readonly queryId: number }

type ClientMessage =
  | { readonly type: "Connect"; readonly sessionId: string; readonly maxObservedTimestamp?: string }
  | {
      readonly type: "Authenticate"
      readonly baseVersion: number
      readonly tokenType: "Admin" | "User" | "None"
      readonly value?: string
      readonly impersonating?: Record<string, JSONValue>
    }
  | {
      readonly type: "ModifyQuerySet"
      readonly baseVersion: number
      readonly newVersion: number
      readonly modifications: ReadonlyArray<QueryModification>
    }
  | {
      readonly type: "Mutation" | "Action"
      readonly requestId: number
      readonly udfPath: string
      readonly args: ReadonlyArray<JSONValue>
    }
  | { readonly type: "Event" }

type Modification = { readonly type: string; readonly queryId: number; readonly [field: string]: unknown }

/** A query somebody subscribes to; equal ones of several sessions are run once. */
type Live = {
  readonly key: string
  readonly call: Call
  subscribers: number
  /** Absent until the first run. */
  result: Result | undefined
  /** The result as text, to send an update only when it is another. */
  text: string
  reads: ReadSet | undefined
  isDirty: boolean
}

type Subscription = { readonly live: Live; sent: string | undefined }

type Version = { readonly querySet: number; readonly identity: number; readonly timestamp: bigint }

const start: Version = { querySet: 0, identity: 0, timestamp: 0n }

class Session {
  id = ""
  caller: Caller = anonymous
  /** What the client has been told. */
  told: Version = start
  /** What it has asked for since. */
  querySet = 0
  identity = 0
  /** A mutation was answered: the client waits for a transition behind it. */
  owesTransition = false
  isParked = false
  removed: Array<number> = []
  readonly subscriptions = new Map<number, Subscription>()
  /** Mutations of one session run one after another, as sent. */
  mutations: Promise<void> = Promise.resolve()
  readonly socket: WebSocket

  constructor(socket: WebSocket) {
    this.socket = socket
  }

  send(message: Readonly<Record<string, unknown>>): void {
    if (!this.isParked && this.socket.readyState === this.socket.OPEN) this.socket.send(JSON.stringify(message))
  }
}

type Due = {
  readonly session: Session
  readonly querySet: number
  readonly identity: number
  readonly owed: boolean
  readonly removed: ReadonlyArray<number>
  readonly subscriptions: ReadonlyArray<readonly [number, Subscription]>
}

/** Serves Convex's sync protocol: subscriptions, mutations and actions over a WebSocket. */
export class SyncServer {
  private readonly engine: Engine
  private readonly faults: Faults
  private readonly requests: RequestLog
  private readonly adminKey: string
  private readonly sessions = new Set<Session>()
  private readonly live = new Map<string, Live>()
  private readonly sockets = new WebSocketServer({ noServer: true, maxPayload: 16 << 20 })
  private readonly pings: NodeJS.Timeout
  private isPumping = false
  private isPumpWanted = false
  private transitions = 0
  private connections = 0

  constructor(engine: Engine, faults: Faults, requests: RequestLog, adminKey: string, pingInterval: number) {
    this.engine = engine
    this.faults = faults
    this.requests = requests
    this.adminKey = adminKey
    this.pings = setInterval(() => {
      for (const session of this.sessions) session.send({ type: "Ping" })
    }, pingInterval)
    engine.onCommit(({ changes }) => {
      let isTouched = false
      for (const live of this.live.values()) {
        if (live.isDirty || live.reads?.isTouchedBy(changes) !== true) continue
        live.isDirty = true
        isTouched = true
      }
      if (isTouched) engine.later(() => void this.pump())
    })
  }

  /** Takes the upgrades of a server. */
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

  /** Lets up to `count` of the open sockets fall silent: TCP stays, not a byte comes or goes. Answers how many. */
  park(count: number): number {
    const parked = [...this.sessions].filter(({ isParked }) => !isParked).slice(0, count)
    for (const session of parked) {
      session.isParked = true
      session.socket.pause()
    }
    return parked.length
  }

  /** Ends the parked sockets, so that their clients can come again. */
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
    const session = new Session(socket)
    this.sessions.add(session)
    this.connections += 1
    socket.on("error", () => {})
    socket.on("close", () => {
      this.sessions.delete(session)
      for (const subscription of session.subscriptions.values()) this.unsubscribe(subscription)
      session.subscriptions.clear()
    })
    socket.on("message", (data: RawData) => {
      if (session.isParked) return
      try {
        // `ws` hands out one Buffer unless told otherwise.
        this.receive(session, JSON.parse((data as Buffer).toString("utf8")) as ClientMessage)
      } catch (error) {
        this.end(session, error instanceof Error ? error.message : String(error))
      }
    })
  }

  private end(session: Session, error: string): void {
    session.send({ type: "FatalError", error })
    session.socket.close(1002, error.slice(0, 120))
  }

  private receive(session: Session, message: ClientMessage): void {
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
        session.mutations = session.mutations.then(() => this.mutate(session, message))
        return
      case "Action":
        void this.act(session, message)
        return
      case "Event":
        return
      default:
        throw new Error("Unknown message")
    }
  }

  private authenticate(session: Session, message: Extract<ClientMessage, { type: "Authenticate" }>): void {
    if (message.baseVersion !== session.identity) throw new Error("Authenticate is out of order")
    const caller: Caller | undefined =
      message.tokenType === "None"
        ? anonymous
        : message.tokenType === "Admin" && isAdminKey(message.value ?? "", this.adminKey)
          ? {
              isAdmin: true,
              identity: message.impersonating === undefined ? null : completeIdentity(message.impersonating)
            }
          : undefined
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
      this.unsubscribe(subscription)
      session.subscriptions.set(queryId, this.subscribe(session.caller, path, args))
    }
    void this.pump()
  }

  private modify(session: Session, message: Extract<ClientMessage, { type: "ModifyQuerySet" }>): void {
    if (message.baseVersion !== session.querySet) throw new Error("ModifyQuerySet is out of order")
    session.querySet = message.newVersion
    for (const modification of message.modifications) {
      const known = session.subscriptions.get(modification.queryId)
      if (known !== undefined) {
        this.unsubscribe(known)
        session.subscriptions.delete(modification.queryId)
      }
      if (modification.type === "Add") {
        const path = normalPath(modification.udfPath)
        session.subscriptions.set(
          modification.queryId,
          this.subscribe(session.caller, path, modification.args[0] ?? {})
        )
      } else session.removed.push(modification.queryId)
    }
    void this.pump()
  }

  private subscribe(caller: Caller, path: string, args: JSONValue): Subscription {
    const key = JSON.stringify([path, args, caller.identity, caller.isAdmin])
    const live = this.live.get(key) ?? {
      key,
      call: { path, kind: "query", args, ...caller, origin: "subscription" } as const,
      subscribers: 0,
      result: undefined,
      text: "",
      reads: undefined,
      isDirty: true
    }
    live.subscribers += 1
    this.live.set(key, live)
    return { live, sent: undefined }
  }

  private unsubscribe({ live }: Subscription): void {
    live.subscribers -= 1
    if (live.subscribers === 0) this.live.delete(live.key)
  }

  /** Brings every session up to the present: all that changed, each session in one transition, all from one snapshot. */
  private async pump(): Promise<void> {
    this.isPumpWanted = true
    if (this.isPumping) return
    this.isPumping = true
    while (this.isPumpWanted) {
      this.isPumpWanted = false
      let dirty: ReadonlyArray<Live> = []
      let due: ReadonlyArray<Due> = []
      const { results, timestamp } = await this.engine.runTogether(() => {
        dirty = [...this.live.values()].filter(({ isDirty }) => isDirty)
        due = [...this.sessions].filter((session) => this.isDue(session)).map(asDue)
        for (const live of dirty) live.isDirty = false
        return dirty.map(({ call }) => call)
      })
      for (const [position, live] of dirty.entries()) {
        const result = results[position]!
        live.result = result
        live.reads = result.status === "unavailable" ? undefined : result.reads
        live.text = textOf(result)
      }
      for (const each of due) this.tell(each, timestamp)
    }
    this.isPumping = false
  }

  private isDue(session: Session): boolean {
    return (
      session.owesTransition ||
      session.querySet !== session.told.querySet ||
      session.identity !== session.told.identity ||
      [...session.subscriptions.values()].some(({ live, sent }) => live.isDirty || sent !== live.text)
    )
  }

  private tell({ session, querySet, identity, owed, removed, subscriptions }: Due, timestamp: bigint): void {
    const modifications: Array<Modification> = removed.map((queryId) => ({ type: "QueryRemoved", queryId }))
    for (const [queryId, subscription] of subscriptions) {
      const { live } = subscription
      if (live.result === undefined || subscription.sent === live.text) continue
      subscription.sent = live.text
      modifications.push(modificationOf(queryId, live.result))
    }
    const version: Version = { querySet, identity, timestamp }
    const isNews =
      owed || modifications.length > 0 || querySet !== session.told.querySet || identity !== session.told.identity
    if (!isNews) return
    this.transitions += 1
    session.send({
      type: "Transition",
      startVersion: wireVersion(session.told),
      endVersion: wireVersion(version),
      modifications
    })
    session.told = version
  }

  private async mutate(
    session: Session,
    message: Extract<ClientMessage, { type: "Mutation" | "Action" }>
  ): Promise<void> {
    const { requestId } = message
    const earlier = await this.requests.find(session.id, requestId)
    const success = (answered: Answered): void => {
      session.send({
        type: "MutationResponse",
        requestId,
        success: true,
        result: answered.value,
        ts: encodeTimestamp(answered.timestamp),
        logLines: []
      })
      session.owesTransition = true
      void this.pump()
    }
    if (earlier !== undefined) return success(earlier)
    const result = await this.serve(session, message, (call) =>
      this.requests.answer(session.id, requestId, () =>
        this.engine.run({ ...call, request: { session: session.id, id: requestId } })
      )
    )
    if (result === undefined) return
    if (result.status === "success") return success(result)
    this.sendFailure(session, "MutationResponse", requestId, result)
  }

  private async act(session: Session, message: Extract<ClientMessage, { type: "Mutation" | "Action" }>): Promise<void> {
    const { requestId } = message
    const result = await this.serve(session, message, (call) => this.engine.run(call))
    if (result === undefined) return
    if (result.status === "success") {
      session.send({ type: "ActionResponse", requestId, success: true, result: result.value, logLines: [] })
      return
    }
    this.sendFailure(session, "ActionResponse", requestId, result)
  }

  private sendFailure(
    session: Session,
    type: "MutationResponse" | "ActionResponse",
    requestId: number,
    result: Exclude<Result, { status: "success" }>
  ): void {
    if (result.status === "unavailable") {
      // A deployment that cannot go on ends the socket; the client comes back and sends again.
      session.socket.close(1013, result.code)
      return
    }
    session.send({
      type,
      requestId,
      success: false,
      result: result.errorMessage,
      ...(result.errorData === undefined ? {} : { errorData: result.errorData }),
      logLines: []
    })
  }

  /** Runs a call through the fault it meets; undefined when no answer is to be given. */
  private async serve(
    session: Session,
    message: Extract<ClientMessage, { type: "Mutation" | "Action" }>,
    run: (call: Call) => Promise<Result>
  ): Promise<Result | undefined> {
    const path = normalPath(message.udfPath)
    const fault = this.faults.take(callFaults, path, "websocket")
    switch (fault?.kind) {
      case "refuse":
        session.socket.terminate()
        return undefined
      case "hang":
        return undefined
      case "overload":
        session.socket.close(1013, overloaded.code)
        return undefined
      case "error":
        return {
          status: "error",
          errorMessage: "[Request ID: 0000000000000000] Server Error",
          reads: undefined as never
        }
    }
    const result = await run({
      path,
      kind: message.type === "Mutation" ? "mutation" : "action",
      args: message.args[0] ?? {},
      ...session.caller,
      origin: "client"
    })
    if (fault?.kind === "drop") {
      session.socket.terminate()
      return undefined
    }
    if (fault?.kind === "delay") await new Promise((resolve) => setTimeout(resolve, fault.milliseconds ?? 0))
    return result
  }
}

const asDue = (session: Session): Due => {
  const due: Due = {
    session,
    querySet: session.querySet,
    identity: session.identity,
    owed: session.owesTransition,
    removed: session.removed,
    subscriptions: [...session.subscriptions]
  }
  session.owesTransition = false
  session.removed = []
  return due
}

const wireVersion = ({ querySet, identity, timestamp }: Version): Record<string, unknown> => ({
  querySet,
  identity,
  ts: encodeTimestamp(timestamp)
})

const modificationOf = (queryId: number, result: Result): Modification =>
  result.status === "success"
    ? { type: "QueryUpdated", queryId, value: result.value, logLines: [], journal: null }
    : {
        type: "QueryFailed",
        queryId,
        errorMessage: result.status === "error" ? result.errorMessage : result.message,
        ...(result.status === "error" && result.errorData !== undefined ? { errorData: result.errorData } : {}),
        logLines: [],
        journal: null
      }

const textOf = (result: Result): string =>
  result.status === "success"
    ? `value ${JSON.stringify(result.value)}`
    : `error ${JSON.stringify(result.status === "error" ? (result.errorData ?? null) : result.code)}`
