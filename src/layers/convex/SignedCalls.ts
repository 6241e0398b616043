/** Single calls over HTTP as a person or as the holder of a deploy key, for commands. */
import { ConvexHttpClient } from "convex/browser"
import type { ConvexClient as SocketClient } from "convex/browser"
import { makeFunctionReference } from "convex/server"
import { ConvexError } from "convex/values"
import { Duration, Effect, Option, Redacted, Schema } from "effect"
import { ControlPlaneRefused, ControlPlaneUnavailable } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import { describeAddressFailure, judgeAddress } from "../../domain/doctor/AddressFailure.ts"
import type { SignIn } from "../people/PersonConfig.ts"
import { Redactor } from "../secrets/Redactor.ts"
import type { Arguments } from "./ConvexCalls.ts"
import { messageOf } from "./ConvexFailure.ts"

export type CallFailure = ControlPlaneRefused | ControlPlaneUnavailable

/** Who calls: a person, or a holder of the deploy key, who may call internal functions. */
export type Caller = SignIn | { readonly _tag: "Operator"; readonly key: Redacted.Redacted }

/** Maximum duration of a call; after that the control plane counts as unavailable. */
const CALL_TIMEOUT = Duration.seconds(15)

/**
 * What a deployment lets a holder of its deploy key do: call every function, and act as any person. The library hides
 * it from its types.
 */
interface AdminAuth {
  setAdminAuth(deployKey: string, identity?: Readonly<Record<string, string>>): void
}

/** Makes the client call as this caller. */
export const signInto = (client: ConvexHttpClient | SocketClient, caller: Caller): void => {
  if (caller._tag === "Token") {
    const token = Redacted.value(caller.token)
    if (client instanceof ConvexHttpClient) client.setAuth(token)
    else client.setAuth(() => Promise.resolve(token))
    return
  }
  // A socket takes the key by its inner client.
  const admin = (client instanceof ConvexHttpClient ? client : client.client) as unknown as AdminAuth
  const key = Redacted.value(caller.key)
  if (caller._tag === "Operator") return admin.setAdminAuth(key)
  const { identity } = caller
  admin.setAdminAuth(key, { ...identity, tokenIdentifier: `${identity.issuer}|${identity.subject}` })
}

const decodeRefusal = Schema.decodeUnknownOption(
  Schema.Struct({ code: Schema.String, message: Schema.optionalKey(Schema.String) })
)
/** What a deployment answers, as JSON in the error's text, before it runs a function. */
const decodeUnaccepted = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ code: Schema.String, message: Schema.String }))
)

/** Calls of a deployment, each sent once, and the failure of what they throw. */
export interface SignedCalls {
  send(kind: "query" | "mutation", path: string, args: Arguments): Effect.Effect<unknown, CallFailure>
  failureOf(path: string, cause: unknown): CallFailure
}

/** Calls of the deployment at this address as this caller. */
export const makeSignedCalls = Effect.fnUntraced(function* (convexUrl: string, caller: Caller) {
  const { error: redact } = yield* Redactor
  const address = { url: convexUrl, variable: "CONVEX_URL", server: "the deployment", isProxied: false }
  const http = new ConvexHttpClient(convexUrl, { logger: false, skipConvexDeploymentUrlCheck: true })
  signInto(http, caller)
  const credentials = caller._tag === "Operator" ? "CONVEX_DEPLOY_KEY" : "CONVEX_DEPLOY_KEY or MISSION_CONTROL_TOKEN"

  const failureOf = (path: string, cause: unknown): CallFailure => {
    const refused = cause instanceof ConvexError ? Option.getOrUndefined(decodeRefusal(cause.data)) : undefined
    if (refused !== undefined) {
      const { code, message = code } = refused
      return new ControlPlaneRefused({ function: path, code, detail: redact(message) })
    }
    const text = messageOf(cause)
    const unaccepted = Option.getOrUndefined(decodeUnaccepted(text))
    if (unaccepted !== undefined) {
      const why = redact(unaccepted.message).replace(/\.$/, "")
      const detail = `The deployment does not accept who you are: ${why}. Check ${credentials}.`
      return new ControlPlaneRefused({ function: path, code: "unauthenticated", detail })
    }
    // What fetch throws has a cause; what the library throws holds the deployment's own words.
    const isUnreached = cause instanceof TypeError || (cause instanceof Error && cause.cause !== undefined)
    const detail = isUnreached
      ? describeAddressFailure(judgeAddress(address, { _tag: "Failed", cause }))
      : `${redact(text).split("\n")[0]}: the deployment's logs say more`
    return new ControlPlaneUnavailable({ function: path, detail })
  }

  const calls: SignedCalls = {
    failureOf,
    send: (kind, path, args) =>
      Effect.tryPromise({
        try: (): Promise<unknown> =>
          kind === "query"
            ? http.query(makeFunctionReference<"query">(path), args)
            : http.mutation(makeFunctionReference<"mutation">(path), args, { skipQueue: true }),
        catch: (cause) => failureOf(path, cause)
      }).pipe(
        Effect.timeoutOrElse({
          duration: CALL_TIMEOUT,
          orElse: () => {
            const silent = judgeAddress(address, { _tag: "Silent", within: Duration.format(CALL_TIMEOUT) })
            return Effect.fail(new ControlPlaneUnavailable({ function: path, detail: describeAddressFailure(silent) }))
          }
        })
      )
  }
  return calls
})
