/**
 * The only importer of Convex's client library: everything else speaks of functions by path and of typed failures.
 * Queries and mutations go over HTTP, one request each with its own deadline; subscriptions share one WebSocket. Both go
 * through the proxy, if there is one for the address.
 */
import { setGlobalProxyFromEnv } from "node:http"
import { ConvexClient as SocketClient, ConvexHttpClient } from "convex/browser"
import { makeFunctionReference } from "convex/server"
import { ConvexError } from "convex/values"
import type { Value } from "convex/values"
import {
  Clock,
  Context,
  Duration,
  Effect,
  Layer,
  Option,
  Queue,
  Redacted,
  Ref,
  Result,
  Schema,
  Stream,
  SubscriptionRef
} from "effect"
import { EnvHttpProxyAgent, Pool, request } from "undici"
import {
  BootConflict,
  ControlPlaneRefused,
  ControlPlaneUnavailable,
  LeaseLost,
  ProtocolRefused,
  TokenRefused
} from "../domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { Recall } from "../domain/delivery/Run.ts"
import { CLOSED_CODES, describeAddressFailure, judgeAddress } from "../domain/doctor/AddressFailure.ts"
import type { Address, AddressFailure, AddressOutcome } from "../domain/doctor/AddressFailure.ts"
import { monotonicMillisUnsafe } from "../domain/observability/Monotonic.ts"
import { wellFormed } from "../domain/text/WellFormed.ts"
import { RuntimeConfig } from "./Config.ts"
import type { Settings } from "./Config.ts"
import { Redactor } from "./secrets/Redactor.ts"
import { Secrets } from "./secrets/Secrets.ts"

/** Arguments of a function beside account and token, which this layer adds. */
export type Arguments = Record<string, Value | undefined>

/** Whether pushes arrive, and when the last message of the socket came (epoch milliseconds). */
export interface PushState {
  readonly isConnected: boolean
  readonly lastMessageAt: number | null
}

/** The longest a call may take before it counts as unavailable. */
const CALL_TIMEOUT = Duration.seconds(15)
const PROBE_TIMEOUT = Duration.seconds(2)
/** Convex pings every 15 s: three missed pings mean a parked socket, which the client itself does not notice. */
const SILENCE_LIMIT = Duration.seconds(40)
/** How often the socket is looked at while it is down; its own events end the wait, so that this is for missed ones. */
const WATCH_INTERVAL = Duration.seconds(2)
/** The same while it is up: each look wakes an idle process. */
const CALM_INTERVAL = Duration.seconds(10)

const ErrorData = Schema.Struct({
  code: Schema.String,
  message: Schema.optionalKey(Schema.String),
  /** Tells apart what shares a code: the token's fault from a policy's, this boot's from a thing's. */
  reason: Schema.optionalKey(Schema.String)
})
/** Reasons of a conflict that concern this boot: a later one runs, it never pulsed, it has made its last claim. */
const bootReasons: ReadonlySet<string | undefined> = new Set(["superseded", "no_pulse", "ended"])
const decodeErrorData = Schema.decodeUnknownOption(ErrorData)

/** Where the control plane is. */
export const controlPlaneAddress = ({ convexUrl, proxy }: Pick<Settings, "convexUrl" | "proxy">): Address => ({
  url: convexUrl,
  variable: "CONVEX_URL",
  server: "the deployment",
  isProxied: Option.isSome(proxy) && convexUrl.startsWith("https:")
})

/** Maps a thrown value by the code of ConvexError; anything else is transport, overload or a fault of the server. */
const failureOf = (
  path: string,
  cause: unknown,
  redact: (text: string) => string,
  describe: (cause: unknown) => string
): ControlPlaneFailure => {
  if (!(cause instanceof ConvexError)) {
    return new ControlPlaneUnavailable({ function: path, detail: redact(describe(cause)) })
  }
  const { code, message, reason } = Option.getOrElse(decodeErrorData(cause.data), () => ({
    code: "invalid",
    message: "no message",
    reason: ""
  }))
  const detail = redact(message ?? code)
  if (code === "unauthenticated" || (code === "forbidden" && reason === "token")) {
    return new TokenRefused({ function: path, detail })
  }
  if (code === "lease_lost") {
    return new LeaseLost({ function: path, ...(Schema.is(Recall)(reason) ? { recalled: reason } : {}) })
  }
  if (code === "conflict" && reason === "protocol") return new ProtocolRefused({ function: path, detail })
  if (code === "conflict" && bootReasons.has(reason)) return new BootConflict({ detail })
  return new ControlPlaneRefused({ function: path, code: redact(code), detail })
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

/** What a deployment answers to GET /version: a word, no page and no JSON. */
const isDeploymentVersion = (status: number, body: string): boolean =>
  status === 200 && /^[\w.+ -]{1,100}$/.test(body.trim())

type AnsweredWith = Extract<AddressOutcome, { readonly _tag: "Answered" }>

const answeredWith = (
  status: number,
  headers: Record<string, string | ReadonlyArray<string> | undefined>
): AnsweredWith => ({
  _tag: "Answered",
  status,
  location: headers["location"]?.toString(),
  contentType: headers["content-type"]?.toString()
})

/**
 * Why a call failed for another reason than the function's: what is wrong with the address, unless the answer is JSON as
 * a deployment writes it. Then the library's error holds the deployment's own words.
 */
const describeFault = (address: Address, answer: AnsweredWith | undefined, cause: unknown): string => {
  if (answer === undefined) return describeAddressFailure(judgeAddress(address, { _tag: "Failed", cause }))
  const isRedirect = answer.status >= 300 && answer.status < 400
  const isJson = /\bjson\b/i.test(answer.contentType ?? "")
  const isDeployment = isJson && !isRedirect && !messageOf(cause).startsWith("Invalid response")
  return isDeployment ? messageOf(cause) : describeAddressFailure(judgeAddress(address, answer))
}

interface FetchInit {
  readonly method: "POST"
  readonly headers: Record<string, string>
  readonly body: string
}

/**
 * How long an idle connection is kept. A lone message would otherwise wait for TCP and TLS first: three round trips.
 * undici prefers the server's `Keep-Alive: timeout` to its own, less a threshold; a negative one makes it this time again.
 */
const KEPT_MILLIS = 600_000
/** Proxies on the way forget a silent connection without a word; TCP's probes keep it known, or find that it is not. */
const PROBE_AFTER_MILLIS = 15_000

const isBroken = (cause: unknown): boolean =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" && CLOSED_CODES.has(cause.code)

/** Whether a second arrival is answered as the first: of what only reads, of a request id and of a lease's epoch. */
const isRepeatable = (kind: "query" | "mutation", args: Arguments): boolean =>
  kind === "query" || "requestId" in args || "epoch" in args

/** The connections to the deployment, direct or through a proxy, and how many were opened. */
const makeConnections = ({ noProxy, proxy }: Pick<Settings, "noProxy" | "proxy">) => {
  const connections = { opened: 0 }
  const agent = new EnvHttpProxyAgent({
    httpProxy: "",
    httpsProxy: Option.match(proxy, { onNone: () => "", onSome: Redacted.value }),
    noProxy,
    connections: 32,
    pipelining: 1,
    keepAliveTimeout: KEPT_MILLIS,
    keepAliveMaxTimeout: KEPT_MILLIS,
    keepAliveTimeoutThreshold: -KEPT_MILLIS,
    connect: { keepAlive: true, keepAliveInitialDelay: PROBE_AFTER_MILLIS },
    factory: (origin, options) => new Pool(origin, options).on("connect", () => void connections.opened++)
  })
  return Object.assign(connections, { agent })
}

/**
 * The part of fetch that Convex's client uses, without the web streams that cost as much as the rest of the call. undici
 * notices that the server closed an idle connection, unless that happens while the request is on its way: then a call
 * that is repeatable is sent again. One that broke a connection opened for it is not: the server may be in trouble.
 */
const send = async (
  connections: ReturnType<typeof makeConnections>,
  url: string,
  init: FetchInit,
  options: {
    readonly signal: AbortSignal
    readonly isRepeatable: boolean
    readonly onAnswer: (answer: AnsweredWith) => void
  }
) => {
  const attempt = () => request(url, { ...init, dispatcher: connections.agent, signal: options.signal })
  const { opened } = connections
  const { body, headers, statusCode } = await attempt().catch((cause: unknown) => {
    if (options.isRepeatable && connections.opened === opened && isBroken(cause)) return attempt()
    throw cause
  })
  options.onAnswer(answeredWith(statusCode, headers))
  return {
    ok: statusCode >= 200 && statusCode < 300,
    status: statusCode,
    text: () => body.text(),
    json: () => body.json()
  }
}

/** Calls Convex functions and follows queries, as this account's runtime. */
export class ConvexClient extends Context.Service<
  ConvexClient,
  {
    /** Runs a query once. */
    query(path: string, args: Arguments): Effect.Effect<unknown, ControlPlaneFailure>
    /**
     * Runs a mutation; after ControlPlaneUnavailable it may or may not have happened. Arrives twice at most, and only
     * with a `requestId` or `epoch`, by which the control plane answers a second arrival as the first.
     */
    mutation(path: string, args: Arguments): Effect.Effect<unknown, ControlPlaneFailure>
    /**
     * Asks over the connections of the calls whether a deployment answers at CONVEX_URL, and for its Date header; fails
     * with what is wrong with the address.
     */
    readonly deployment: Effect.Effect<{ readonly date: string | undefined }, AddressFailure>
    /** Every result of a query, as pushed; a failing query is an element, not the end. */
    subscribe(path: string, args: Arguments): Stream.Stream<Result.Result<unknown, ControlPlaneFailure>>
    /** Whether pushes arrive; while they do not, callers poll. */
    readonly push: SubscriptionRef.SubscriptionRef<PushState>
  }
>()("runtime-service/layers/ConvexClient") {
  static readonly layer = Layer.effect(
    ConvexClient,
    Effect.gen(function* () {
      const { accountId, convexUrl, noProxy, proxy } = yield* RuntimeConfig
      const address = controlPlaneAddress({ convexUrl, proxy })
      const secrets = yield* Secrets
      const { error: redact } = yield* Redactor
      const clock = yield* Clock.Clock
      const identified = (args: Arguments): Arguments => ({
        ...wellFormed(args),
        accountId,
        serviceToken: Redacted.value(secrets.now().serviceToken)
      })

      const connections = yield* Effect.acquireRelease(
        Effect.sync(() => makeConnections({ noProxy, proxy })),
        ({ agent }) => Effect.promise(() => agent.destroy())
      )
      // Node's own WebSocket takes no dispatcher of this undici: it goes by Node's setting for the whole process.
      if (Option.isSome(proxy)) {
        yield* Effect.acquireRelease(
          Effect.sync(() => setGlobalProxyFromEnv({ https_proxy: Redacted.value(proxy.value), no_proxy: noProxy })),
          (restore) => Effect.sync(restore)
        )
      }
      const once = Effect.fnUntraced(function* (kind: "query" | "mutation", path: string, args: Arguments) {
        let answer: AnsweredWith | undefined
        return yield* Effect.tryPromise({
          try: (signal): Promise<unknown> => {
            // One client a call: it queues nothing, and its fetch carries this call's signal.
            const http = new ConvexHttpClient(convexUrl, {
              logger: false,
              skipConvexDeploymentUrlCheck: true,
              fetch: ((url: string, init: FetchInit) =>
                send(connections, url, init, {
                  signal,
                  isRepeatable: isRepeatable(kind, args),
                  onAnswer: (seen) => void (answer = seen)
                })) as unknown as typeof globalThis.fetch
            })
            return kind === "query"
              ? http.query(makeFunctionReference<"query">(path), identified(args))
              : http.mutation(makeFunctionReference<"mutation">(path), identified(args), { skipQueue: true })
          },
          catch: (cause) => failureOf(path, cause, redact, (fault) => describeFault(address, answer, fault))
        }).pipe(
          Effect.timeoutOrElse({
            duration: CALL_TIMEOUT,
            orElse: () =>
              Effect.fail(
                new ControlPlaneUnavailable({
                  function: path,
                  detail: describeAddressFailure(
                    judgeAddress(address, {
                      _tag: "Silent",
                      within: Duration.format(CALL_TIMEOUT)
                    })
                  )
                })
              )
          })
        )
      })

      const deployment = Effect.tryPromise({
        try: async (signal) => {
          const { body, headers, statusCode } = await request(`${convexUrl}/version`, {
            dispatcher: connections.agent,
            signal
          })
          return { text: await body.text(), answer: answeredWith(statusCode, headers), date: headers.date?.toString() }
        },
        catch: (cause) => judgeAddress(address, { _tag: "Failed", cause })
      }).pipe(
        Effect.timeoutOrElse({
          duration: PROBE_TIMEOUT,
          orElse: () => Effect.fail(judgeAddress(address, { _tag: "Silent", within: Duration.format(PROBE_TIMEOUT) }))
        }),
        Effect.filterOrFail(
          ({ answer, text }) => isDeploymentVersion(answer.status, text),
          ({ answer }) => judgeAddress(address, answer)
        )
      )

      /** A refused call has done nothing: with a token that was changed meanwhile it is made again, and nobody notices. */
      const run = (kind: "query" | "mutation", path: string, args: Arguments) =>
        Effect.suspend(() => {
          const used = secrets.now().serviceToken
          return once(kind, path, args).pipe(
            Effect.catchTag("TokenRefused", (refused) =>
              Effect.flatMap(secrets.hasOtherServiceToken(used), (isOther) =>
                isOther ? once(kind, path, args) : Effect.fail(refused)
              )
            )
          )
        })

      const push = yield* SubscriptionRef.make<PushState>({ isConnected: false, lastMessageAt: null })
      const state = {
        lastMessageAt: null as number | null,
        /** Monotonic milliseconds of the opening or the last message: silence is judged by a clock that nobody sets. */
        lastSignAt: monotonicMillisUnsafe(clock),
        isConnected: false
      }
      // What the socket reports is looked at in the next moment, not only every other second.
      const looks = yield* Queue.sliding<void>(1)
      /** Notes every incoming message, pings included, which the library does not report. */
      class WatchedSocket extends WebSocket {
        constructor(url: string | URL, protocols?: string | Array<string>) {
          super(url, protocols)
          this.addEventListener("message", () => {
            state.lastMessageAt = clock.currentTimeMillisUnsafe()
            state.lastSignAt = monotonicMillisUnsafe(clock)
            if (!state.isConnected) Queue.offerUnsafe(looks, undefined)
          })
          this.addEventListener("close", () => Queue.offerUnsafe(looks, undefined))
        }
      }

      type Listener = {
        readonly path: string
        readonly args: Arguments
        readonly offer: (result: Result.Result<unknown, ControlPlaneFailure>) => void
      }
      const listeners = new Set<Listener>()
      const cancels = new Map<Listener, () => void>()
      type Refusal = { readonly used: Redacted.Redacted; readonly tell: () => void }
      const refusals = yield* Queue.unbounded<Refusal>()
      const attach = (client: SocketClient, listener: Listener) => {
        const used = secrets.now().serviceToken
        // Without an error callback a failing query would end the process.
        const cancel = client.onUpdate(
          makeFunctionReference<"query">(listener.path),
          identified(listener.args),
          (value) => listener.offer(Result.succeed(value)),
          (cause) => {
            const failure = failureOf(listener.path, cause, redact, messageOf)
            const tell = () => listener.offer(Result.fail(failure))
            if (failure._tag === "TokenRefused") Queue.offerUnsafe(refusals, { used, tell })
            else tell()
          }
        )
        cancels.set(listener, () => cancel())
      }
      const open = () => {
        const client = new SocketClient(convexUrl, {
          logger: false,
          skipConvexDeploymentUrlCheck: true,
          unsavedChangesWarning: false,
          webSocketConstructor: WatchedSocket as unknown as typeof globalThis.WebSocket
        })
        state.lastSignAt = monotonicMillisUnsafe(clock)
        state.lastMessageAt = null
        for (const listener of listeners) attach(client, listener)
        return client
      }
      const shut = (client: SocketClient) =>
        Effect.promise(() => client.close()).pipe(Effect.timeout("1 second"), Effect.ignoreCause)
      // The socket opens with the first subscription, so that commands which only ask need none.
      const socket = yield* Ref.make<SocketClient | undefined>(undefined)
      yield* Effect.addFinalizer(() =>
        Effect.flatMap(Ref.getAndSet(socket, undefined), (client) =>
          client === undefined ? Effect.void : shut(client)
        )
      )

      const watch = Effect.gen(function* () {
        const client = yield* Ref.get(socket)
        if (client === undefined) return
        const isSilent = monotonicMillisUnsafe(clock) - state.lastSignAt > Duration.toMillis(SILENCE_LIMIT)
        const isConnected = client.connectionState().isWebSocketConnected && state.lastMessageAt !== null && !isSilent
        if (isConnected !== state.isConnected) {
          state.isConnected = isConnected
          yield* isConnected
            ? Effect.logInfo("push connected")
            : Effect.logWarning("push lost: polling until it is back")
        }
        yield* SubscriptionRef.set(push, { isConnected, lastMessageAt: state.lastMessageAt })
        if (isSilent && client.connectionState().isWebSocketConnected) {
          yield* Effect.logWarning("the control plane's socket is silent: opening a new one")
          yield* shut(client)
          yield* Ref.set(socket, open())
        }
      }).pipe(Effect.uninterruptible)
      // The library notes a lost socket itself only after our listener has run.
      const reported = Effect.andThen(Queue.take(looks), Effect.sleep("1 millis"))
      const pause = Effect.suspend(() =>
        Effect.timeoutOption(reported, state.isConnected ? CALM_INTERVAL : WATCH_INTERVAL)
      )
      yield* watch.pipe(
        Effect.catchCause((cause) => Effect.logError("the watchdog of the control plane's socket failed", cause)),
        Effect.andThen(pause),
        Effect.forever,
        Effect.forkScoped
      )

      // A new token is another argument: every query is followed anew with it.
      yield* Stream.runForEach(secrets.serviceTokenChanges, () =>
        Effect.gen(function* () {
          const client = yield* Ref.get(socket)
          if (client === undefined) return
          for (const listener of listeners) {
            const cancel = cancels.get(listener)
            attach(client, listener)
            cancel?.()
          }
        })
      ).pipe(Effect.forkScoped({ startImmediately: true }))
      yield* Queue.take(refusals).pipe(
        Effect.flatMap(({ tell, used }) =>
          Effect.flatMap(secrets.hasOtherServiceToken(used), (isOther) => (isOther ? Effect.void : Effect.sync(tell)))
        ),
        Effect.forever,
        Effect.forkScoped
      )

      return ConvexClient.of({
        deployment,
        query: (path, args) => run("query", path, args),
        mutation: (path, args) => run("mutation", path, args),
        subscribe: (path, args) =>
          Stream.callback<Result.Result<unknown, ControlPlaneFailure>>((queue) =>
            Effect.acquireRelease(
              Effect.gen(function* () {
                const listener: Listener = { path, args, offer: (result) => void Queue.offerUnsafe(queue, result) }
                listeners.add(listener)
                const client = yield* Ref.get(socket)
                if (client === undefined) yield* Ref.set(socket, open())
                else attach(client, listener)
                return listener
              }),
              (listener) =>
                Effect.sync(() => {
                  listeners.delete(listener)
                  cancels.get(listener)?.()
                  cancels.delete(listener)
                })
            )
          ),
        push
      })
    })
  ).pipe(Layer.provide(Secrets.layer))
}
