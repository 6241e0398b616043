/**
 * HTTP requests to the gateway, as version 2026.9.6 answers them. undici's agent has no deadlines, because a
 * provider's 429 alone holds a request for 140 s; callers set the deadlines.
 */
import { Effect, Option, Redacted } from "effect"
import { Agent, request } from "undici"
import { httpAnswer } from "../../domain/doctor/AddressFailure.ts"
import type { Address, HttpAnswer } from "../../domain/doctor/AddressFailure.ts"
import { readGatewayAnswer } from "../../domain/gateway/GatewayResponse.ts"
import { RuntimeConfig } from "../Config.ts"
import type { Settings } from "../Config.ts"
import { Secrets } from "../secrets/Secrets.ts"
import { GatewayToken } from "./GatewayToken.ts"

/** Larger answers are refused: 32 MiB. */
export const MAX_BODY_BYTES = 32 * 1024 * 1024
/** After this long without a byte the kernel checks whether the other side still has the connection. */
const KEEP_ALIVE_MILLIS = 30_000

/** The gateway's address: OPENCLAW_GATEWAY_URL, otherwise the port of the gateway that this process starts. */
export const gatewayAddress = ({ gatewayPort, gatewayUrl }: Pick<Settings, "gatewayPort" | "gatewayUrl">): Address =>
  Option.match(gatewayUrl, {
    onNone: () => ({
      url: `http://127.0.0.1:${gatewayPort}`,
      variable: "OPENCLAW_GATEWAY_PORT",
      server: "the gateway"
    }),
    onSome: (url) => ({ url, variable: "OPENCLAW_GATEWAY_URL", server: "the gateway" })
  })

/** A request to a path of the gateway; the connection adds the authorization. */
export interface GatewayCall {
  readonly method: "GET" | "POST"
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** An HTTP answer with its whole body. */
export interface GatewayReply {
  readonly status: number
  readonly body: string
  readonly outcome: HttpAnswer
  readonly retryAfter: string | ReadonlyArray<string> | undefined
}

export interface GatewayConnection {
  readonly address: Address
  /** Sends the call; `onError` maps what the transport throws. Interruption aborts the request. */
  send<E>(call: GatewayCall, onError: (cause: unknown) => E): Effect.Effect<GatewayReply, E>
}

/** Opens the connections to the gateway; the scope closes them. */
export const makeGatewayConnection = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  const ownToken = yield* GatewayToken
  const secrets = yield* Secrets
  const address = gatewayAddress(config)
  const dispatcher = yield* Effect.acquireRelease(
    Effect.sync(
      () =>
        new Agent({
          headersTimeout: 0,
          bodyTimeout: 0,
          connect: { timeout: 10_000, keepAliveInitialDelay: KEEP_ALIVE_MILLIS },
          keepAliveTimeout: 4_000,
          maxResponseSize: MAX_BODY_BYTES
        })
    ),
    (agent) => Effect.promise(() => agent.destroy())
  )
  const authorization = (token: Option.Option<Redacted.Redacted>): Record<string, string> =>
    Option.match(
      Option.orElse(token, () => ownToken),
      {
        onNone: () => ({}),
        onSome: (held) => ({ authorization: `Bearer ${Redacted.value(held)}` })
      }
    )
  const once = <E>(
    { body, headers, method, path }: GatewayCall,
    token: Option.Option<Redacted.Redacted>,
    onError: (cause: unknown) => E
  ) =>
    Effect.tryPromise({
      try: async (signal): Promise<GatewayReply> => {
        const response = await request(`${address.url}${path}`, {
          method,
          dispatcher,
          signal,
          headers: { ...authorization(token), ...headers },
          ...(body === undefined ? {} : { body })
        })
        return {
          status: response.statusCode,
          body: await response.body.text(),
          outcome: httpAnswer(response.statusCode, response.headers),
          retryAfter: response.headers["retry-after"]
        }
      },
      catch: onError
    })

  const connection: GatewayConnection = {
    address,
    // A bare 401 has started no turn. If the token was replaced in the meantime, the call is sent again with the new one.
    send: (call, onError) =>
      Effect.suspend(() => {
        const used = secrets.now().gatewayToken
        return Effect.filterOrElse(
          once(call, used, onError),
          ({ body, status }) => status !== 401 || readGatewayAnswer(status, body)._tag !== "Refused",
          (reply) =>
            Effect.flatMap(secrets.hasOtherGatewayToken(used), (isOther) =>
              isOther ? once(call, secrets.now().gatewayToken, onError) : Effect.succeed(reply)
            )
        )
      })
  }
  return connection
})
