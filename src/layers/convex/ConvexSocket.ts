/** Subscriptions, which share one WebSocket. A watchdog replaces the socket when it has been silent for too long. */
import { setGlobalProxyFromEnv } from "node:http"
import { ConvexClient as SocketClient } from "convex/browser"
import { makeFunctionReference } from "convex/server"
import { Clock, Duration, Effect, Option, Queue, Redacted, Ref, Result, Stream, SubscriptionRef } from "effect"
import type { ControlPlaneFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import { monotonicMillisUnsafe } from "../../domain/observability/Monotonic.ts"
import { RuntimeConfig } from "../Config.ts"
import { Redactor } from "../secrets/Redactor.ts"
import { Secrets } from "../secrets/Secrets.ts"
import type { Arguments } from "./ConvexCalls.ts"
import { failureOf, messageOf } from "./ConvexFailure.ts"

/** Whether pushes arrive, and when the socket last received a message (epoch milliseconds). */
export interface PushState {
  readonly isConnected: boolean
  readonly lastMessageAt: number | null
}

/** Convex pings every 15 s. Three missed pings mean a dead socket, which the client does not notice. */
const SILENCE_LIMIT = Duration.seconds(40)
/** Interval of the watchdog while the socket is down; the socket's own events trigger it sooner. */
const WATCH_INTERVAL = Duration.seconds(2)
/** Interval of the watchdog while the socket is up; each look wakes an idle process. */
const CALM_INTERVAL = Duration.seconds(10)

/** A query's results, and the function that adds one. */
interface Listener {
  readonly path: string
  readonly args: Arguments
  readonly offer: (result: Result.Result<unknown, ControlPlaneFailure>) => void
}

/** A refused token of a subscription, and the function that reports it to the subscriber. */
interface Refusal {
  readonly used: Redacted.Redacted
  readonly report: () => void
}

/** Opens subscriptions; `identified` adds account and token to a query's arguments. */
export const makeConvexSocket = Effect.fnUntraced(function* (identified: (args: Arguments) => Arguments) {
  const { convexUrl, noProxy, proxy } = yield* RuntimeConfig
  const secrets = yield* Secrets
  const { error: redact } = yield* Redactor
  const clock = yield* Clock.Clock

  // Node's WebSocket accepts no dispatcher of undici's package; it follows Node's setting for the whole process.
  if (Option.isSome(proxy)) {
    yield* Effect.acquireRelease(
      Effect.sync(() => setGlobalProxyFromEnv({ https_proxy: Redacted.value(proxy.value), no_proxy: noProxy })),
      (restore) => Effect.sync(restore)
    )
  }

  const push = yield* SubscriptionRef.make<PushState>({ isConnected: false, lastMessageAt: null })
  const state = {
    lastMessageAt: null as number | null,
    /** When the socket was opened or last received a message; monotonic milliseconds. */
    lastSignAt: monotonicMillisUnsafe(clock),
    isConnected: false
  }
  // Events of the socket trigger the watchdog at once.
  const triggers = yield* Queue.sliding<void>(1)
  /** Notes every incoming message, pings included, which the library does not report. */
  class WatchedSocket extends WebSocket {
    constructor(url: string | URL, protocols?: string | Array<string>) {
      super(url, protocols)
      this.addEventListener("message", () => {
        state.lastMessageAt = clock.currentTimeMillisUnsafe()
        state.lastSignAt = monotonicMillisUnsafe(clock)
        if (!state.isConnected) Queue.offerUnsafe(triggers, undefined)
      })
      this.addEventListener("close", () => Queue.offerUnsafe(triggers, undefined))
    }
  }

  const listeners = new Set<Listener>()
  const cancels = new Map<Listener, () => void>()
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
        const report = () => listener.offer(Result.fail(failure))
        if (failure._tag === "TokenRefused") Queue.offerUnsafe(refusals, { used, report })
        else report()
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
  const close = (client: SocketClient) =>
    Effect.promise(() => client.close()).pipe(Effect.timeout("1 second"), Effect.ignoreCause)
  // The first subscription opens the socket, because commands that make only calls need none.
  const socket = yield* Ref.make<SocketClient | undefined>(undefined)
  yield* Effect.addFinalizer(() =>
    Effect.flatMap(Ref.getAndSet(socket, undefined), (client) => (client === undefined ? Effect.void : close(client)))
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
        : Effect.logWarning("push lost, polling until it reconnects")
    }
    yield* SubscriptionRef.set(push, { isConnected, lastMessageAt: state.lastMessageAt })
    if (isSilent && client.connectionState().isWebSocketConnected) {
      yield* Effect.logWarning("the control plane's socket is silent, opening a new one")
      yield* close(client)
      yield* Ref.set(socket, open())
    }
  }).pipe(Effect.uninterruptible)
  // The library notices a lost socket only after the listener above has run.
  const triggered = Effect.andThen(Queue.take(triggers), Effect.sleep("1 millis"))
  const pause = Effect.suspend(() =>
    Effect.timeoutOption(triggered, state.isConnected ? CALM_INTERVAL : WATCH_INTERVAL)
  )
  yield* watch.pipe(
    Effect.catchCause((cause) => Effect.logError("the watchdog of the control plane's socket failed", cause)),
    Effect.andThen(pause),
    Effect.forever,
    Effect.forkScoped
  )

  // The token is an argument of the query, so a new token needs a new subscription.
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
    Effect.flatMap(({ report, used }) =>
      Effect.flatMap(secrets.hasOtherServiceToken(used), (isOther) => (isOther ? Effect.void : Effect.sync(report)))
    ),
    Effect.forever,
    Effect.forkScoped
  )

  const subscribe = (path: string, args: Arguments) =>
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
    )

  return { push, subscribe }
})
