/** Queries and mutations over HTTP: one request each, with its own deadline, through the proxy if the address has one. */
import { ConvexHttpClient } from "convex/browser"
import { makeFunctionReference } from "convex/server"
import type { Value } from "convex/values"
import { Duration, Effect, Option, Redacted } from "effect"
import { EnvHttpProxyAgent, Pool, request } from "undici"
import { ControlPlaneUnavailable } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import { CLOSED_CODES, describeAddressFailure, httpAnswer, judgeAddress } from "../../domain/doctor/AddressFailure.ts"
import type { Address, AddressFailure, HttpAnswer } from "../../domain/doctor/AddressFailure.ts"
import { RuntimeConfig } from "../Config.ts"
import type { Settings } from "../Config.ts"
import { Redactor } from "../secrets/Redactor.ts"
import { Secrets } from "../secrets/Secrets.ts"
import { describeFault, failureOf } from "./ConvexFailure.ts"

/** Arguments of a function, without account and token, which the client adds. */
export type Arguments = Record<string, Value | undefined>

/** Maximum duration of a call; after that the control plane counts as unavailable. */
const CALL_TIMEOUT = Duration.seconds(15)
const PROBE_TIMEOUT = Duration.seconds(2)
/**
 * How long an idle connection is kept, because a new one costs three round trips for TCP and TLS. undici prefers the
 * server's `Keep-Alive: timeout`, less a threshold; the negative threshold restores this time.
 */
const KEPT_MILLIS = 600_000
/** Proxies forget silent connections. TCP's probes keep a connection alive, or find that it is gone. */
const PROBE_AFTER_MILLIS = 15_000

type Kind = "query" | "mutation"

interface FetchInit {
  readonly method: "POST"
  readonly headers: Record<string, string>
  readonly body: string
}

/** The deployment's answer to GET /version is one word, not a page and not JSON. */
const isDeploymentVersion = (status: number, body: string): boolean =>
  status === 200 && /^[\w.+ -]{1,100}$/.test(body.trim())

const isBroken = (cause: unknown): boolean =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" && CLOSED_CODES.has(cause.code)

/** Whether the control plane answers a second arrival as it answered the first. */
const isRepeatable = (kind: Kind, args: Arguments): boolean => kind === "query" || "epoch" in args

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
 * The part of fetch that Convex's client uses, without the web streams, which cost as much as the rest of the call. If
 * the server closes an idle connection while a request is being sent on it, a repeatable call is sent again. A request
 * that broke a new connection is not repeated, because the server may be overloaded.
 */
const send = async (
  connections: ReturnType<typeof makeConnections>,
  url: string,
  init: FetchInit,
  options: {
    readonly signal: AbortSignal
    readonly isRepeatable: boolean
    readonly onAnswer: (answer: HttpAnswer) => void
  }
) => {
  const attempt = () => request(url, { ...init, dispatcher: connections.agent, signal: options.signal })
  const { opened } = connections
  const { body, headers, statusCode } = await attempt().catch((cause: unknown) => {
    if (options.isRepeatable && connections.opened === opened && isBroken(cause)) return attempt()
    throw cause
  })
  options.onAnswer(httpAnswer(statusCode, headers))
  return {
    ok: statusCode >= 200 && statusCode < 300,
    status: statusCode,
    text: () => body.text(),
    json: () => body.json()
  }
}

/** Calls of functions, and a probe of the deployment, over the same connections. */
export interface ConvexCalls {
  call(kind: Kind, path: string, args: Arguments): Effect.Effect<unknown, ControlPlaneFailure>
  readonly deployment: Effect.Effect<{ readonly date: string | undefined }, AddressFailure>
}

/** Calls to the deployment at `address`; `identified` adds account and token to a function's arguments. */
export const makeConvexCalls = Effect.fnUntraced(function* (
  address: Address,
  identified: (args: Arguments) => Arguments
) {
  const { convexUrl, noProxy, proxy } = yield* RuntimeConfig
  const secrets = yield* Secrets
  const { error: redact } = yield* Redactor
  const connections = yield* Effect.acquireRelease(
    Effect.sync(() => makeConnections({ noProxy, proxy })),
    ({ agent }) => Effect.promise(() => agent.destroy())
  )
  const silent = (timeout: Duration.Duration) =>
    judgeAddress(address, { _tag: "Silent", within: Duration.format(timeout) })

  const once = Effect.fnUntraced(function* (kind: Kind, path: string, args: Arguments) {
    let answer: HttpAnswer | undefined
    return yield* Effect.tryPromise({
      try: (signal): Promise<unknown> => {
        // One client for each call, because its fetch has the call's signal. It has no queue.
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
            new ControlPlaneUnavailable({ function: path, detail: describeAddressFailure(silent(CALL_TIMEOUT)) })
          )
      })
    )
  })

  const calls: ConvexCalls = {
    // A refused call has changed nothing. If the token was replaced in the meantime, it is made again with the new one.
    call: (kind, path, args) =>
      Effect.suspend(() => {
        const used = secrets.now().serviceToken
        return once(kind, path, args).pipe(
          Effect.catchTag("TokenRefused", (refused) =>
            Effect.flatMap(secrets.hasOtherServiceToken(used), (isOther) =>
              isOther ? once(kind, path, args) : Effect.fail(refused)
            )
          )
        )
      }),
    deployment: Effect.tryPromise({
      try: async (signal) => {
        const { body, headers, statusCode } = await request(`${convexUrl}/version`, {
          dispatcher: connections.agent,
          signal
        })
        return { text: await body.text(), answer: httpAnswer(statusCode, headers), date: headers.date?.toString() }
      },
      catch: (cause) => judgeAddress(address, { _tag: "Failed", cause })
    }).pipe(
      Effect.timeoutOrElse({ duration: PROBE_TIMEOUT, orElse: () => Effect.fail(silent(PROBE_TIMEOUT)) }),
      Effect.filterOrFail(
        ({ answer, text }) => isDeploymentVersion(answer.status, text),
        ({ answer }) => judgeAddress(address, answer)
      )
    )
  }
  return calls
})
