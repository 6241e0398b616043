/**
 * A connection to the gateway's WebSocket: its handshake, requests, and its events. The gateway's published client is
 * not used: see decision 0056.
 */
import { Deferred, Duration, Effect, Option, Redacted, Schema } from "effect"
import { Socket } from "effect/socket"
import { FrameText } from "../../domain/gateway/GatewayFrame.ts"
import type { AnswerFrame, Frame } from "../../domain/gateway/GatewayFrame.ts"

/** The wire protocol of all supported releases. */
export const PROTOCOL = 4
const HANDSHAKE_TIMEOUT = Duration.seconds(15)
/** Interval of the gateway's ticks, if its handshake does not say. */
const TICK_MILLIS = 30_000
/** Missed ticks after which the connection counts as lost. */
const MISSED_TICKS = 3
/** Frames that were received but not yet read may take this much memory; beyond it the connection is closed. */
const MAX_BUFFERED_BYTES = 16 * 1024 * 1024
const READ_SCOPE = "operator.read"
const SUBSCRIBE = "sessions.messages.subscribe"

/** The connection could not be opened or was lost. */
export class SocketLost extends Schema.TaggedError<SocketLost>()("SocketLost", { detail: Schema.String }) {}

/** The gateway refuses the connection or offers too little. Only an operator can change that. */
export class SocketRefused extends Schema.TaggedError<SocketRefused>()("SocketRefused", { detail: Schema.String }) {}

/** An open connection. */
export interface GatewaySocket {
  readonly version: string
  /** Sends a request and does not wait for its answer. */
  request(method: string, params: object): Effect.Effect<void, SocketLost>
  /** Sends a request and waits for its answer, which arrives while `next` is read. The caller limits the time. */
  ask(method: string, params: object): Effect.Effect<AnswerFrame, SocketLost>
  /** The next frames. Fails when the connection is lost or silent. */
  readonly next: Effect.Effect<ReadonlyArray<Frame>, SocketLost>
}

const Hello = Schema.Struct({
  server: Schema.Struct({ version: Schema.String }),
  features: Schema.Struct({ methods: Schema.Array(Schema.String) }),
  auth: Schema.Struct({ scopes: Schema.Array(Schema.String) }),
  policy: Schema.optionalKey(Schema.Struct({ tickIntervalMs: Schema.optionalKey(Schema.Finite) }))
})

const asHello = Schema.decodeUnknownOption(Hello)
const asFrame = Schema.decodeUnknownOption(FrameText)

const lost = ({ reason }: Socket.SocketError): SocketLost => {
  const cause = "cause" in reason ? (reason.cause as { readonly message?: unknown } | undefined)?.message : undefined
  const why = typeof cause === "string" && cause !== "" ? cause : reason.message
  return new SocketLost({ detail: `the WebSocket of the gateway: ${why}` })
}

const silent = (within: Duration.Duration) =>
  new SocketLost({ detail: `the gateway's WebSocket sent nothing within ${Duration.format(within)}` })

/** The frames in the texts. Anything else is ignored, because releases add frames. */
const framesOf = (texts: ReadonlyArray<string>): ReadonlyArray<Frame> =>
  texts.flatMap((text) => Option.toArray(asFrame(text)))

/** The request with which the runtime connects: as a backend client that only reads. */
export const connectParams = (runtimeVersion: string, token: Option.Option<Redacted.Redacted>) => ({
  minProtocol: PROTOCOL,
  maxProtocol: PROTOCOL,
  client: { id: "gateway-client", version: runtimeVersion, platform: "node", mode: "backend" },
  role: "operator",
  scopes: [READ_SCOPE],
  caps: ["session-scoped-events"],
  ...Option.match(token, {
    onNone: () => ({}),
    onSome: (held) => ({ auth: { token: Redacted.value(held) } })
  })
})

/** Connects as a backend client of the gateway, with its token and the right to read. The scope closes the connection. */
export const openGatewaySocket = Effect.fnUntraced(function* (
  url: string,
  token: Option.Option<Redacted.Redacted>,
  runtimeVersion: string
) {
  // Node's own WebSocket, because undici's would add its fetch to the bundle. For an https address it follows HTTPS_PROXY.
  const socket = yield* Socket.makeWebSocket(url.replace(/^http/, "ws"), {
    openTimeout: HANDSHAKE_TIMEOUT,
    highWaterMark: MAX_BUFFERED_BYTES
  }).pipe(Effect.provide(Socket.layerWebSocketConstructorGlobal))
  const pull = yield* Effect.mapError(Socket.readerString(socket), lost)
  const { write } = yield* socket.writer
  const asked = new Map<string, Deferred.Deferred<AnswerFrame>>()
  const noteAnswer = (frame: Frame) => {
    if (frame.type !== "res") return
    const waiting = asked.get(frame.id)
    if (waiting !== undefined) Deferred.doneUnsafe(waiting, Effect.succeed(frame))
  }
  const next = Effect.mapError(pull, lost).pipe(
    Effect.map(framesOf),
    Effect.tap((frames) => Effect.sync(() => frames.forEach(noteAnswer)))
  )
  let sent = 0
  const send = (id: string, method: string, params: object) =>
    Effect.mapError(write(JSON.stringify({ type: "req", id, method, params })), lost)
  const request = (method: string, params: object) => Effect.suspend(() => send(String((sent += 1)), method, params))
  const ask = (method: string, params: object) =>
    Effect.suspend(() => {
      const id = String((sent += 1))
      const answer = Deferred.makeUnsafe<AnswerFrame>()
      asked.set(id, answer)
      return send(id, method, params).pipe(
        Effect.andThen(Deferred.await(answer)),
        Effect.ensuring(Effect.sync(() => asked.delete(id)))
      )
    })
  const until = <A>(find: (frame: Frame) => A | undefined): Effect.Effect<A, SocketLost> =>
    Effect.flatMap(next, (frames) => {
      const found = frames.map(find).find((each) => each !== undefined)
      return found === undefined ? until(find) : Effect.succeed(found)
    })

  const hello = yield* Effect.gen(function* () {
    yield* until((frame) => (frame.type === "event" && frame.event === "connect.challenge" ? frame : undefined))
    yield* request("connect", connectParams(runtimeVersion, token))
    const answer = yield* until((frame) => (frame.type === "res" ? frame : undefined))
    // A gateway that is still starting refuses only for now.
    if (!answer.ok && answer.error?.retryable === true) return yield* new SocketLost({ detail: answer.error.message })
    if (!answer.ok) return yield* new SocketRefused({ detail: answer.error?.message ?? "it gives no reason" })
    return Option.getOrUndefined(asHello(answer.payload))
  }).pipe(Effect.timeoutOrElse({ duration: HANDSHAKE_TIMEOUT, orElse: () => Effect.fail(silent(HANDSHAKE_TIMEOUT)) }))
  if (hello === undefined) return yield* new SocketRefused({ detail: "its handshake has an unknown form" })
  const { auth, features, policy, server } = hello
  if (!features.methods.includes(SUBSCRIBE)) {
    return yield* new SocketRefused({ detail: `OpenClaw ${server.version} does not offer ${SUBSCRIBE}` })
  }
  if (!auth.scopes.includes(READ_SCOPE)) {
    return yield* new SocketRefused({ detail: "it lets a client on another machine read events only after pairing" })
  }
  const silenceLimit = Duration.millis(MISSED_TICKS * (policy?.tickIntervalMs ?? TICK_MILLIS))
  const opened: GatewaySocket = {
    version: server.version,
    request,
    ask,
    next: Effect.timeoutOrElse(next, {
      duration: silenceLimit,
      orElse: () => Effect.fail(silent(silenceLimit))
    })
  }
  return opened
})
