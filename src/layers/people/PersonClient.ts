/** The control plane as a person reaches it: one call each over HTTP, and a thread that is followed over a WebSocket. */
import { ConvexClient as SocketClient, ConvexHttpClient } from "convex/browser"
import { makeFunctionReference } from "convex/server"
import { ConvexError } from "convex/values"
import type { Value } from "convex/values"
import { Context, Duration, Effect, Layer, Option, Queue, Redacted, Result, Schema, Stream } from "effect"
import { ControlPlaneRefused, ControlPlaneUnavailable } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import { describeAddressFailure, judgeAddress } from "../../domain/doctor/AddressFailure.ts"
import { personFunctions, withoutAccount } from "../../domain/people/PersonFunctions.ts"
import type { PersonPath } from "../../domain/people/PersonFunctions.ts"
import { Account } from "../../domain/people/PersonViews.ts"
import { Redactor } from "../secrets/Redactor.ts"
import { PersonConfig } from "./PersonConfig.ts"
import type { SignIn } from "./PersonConfig.ts"

export type PersonFailure = ControlPlaneRefused | ControlPlaneUnavailable
export type PersonArgs = Record<string, Value | undefined>

/** Maximum duration of a call; after that the control plane counts as unavailable. */
const CALL_TIMEOUT = Duration.seconds(15)

/** What a deployment lets a holder of its deploy key do: act as any person. The library hides it from its types. */
interface AdminAuth {
  setAdminAuth(deployKey: string, identity: Readonly<Record<string, string>>): void
}

const signInto = (client: ConvexHttpClient | SocketClient, signIn: SignIn): void => {
  if (signIn._tag === "Token") {
    const token = Redacted.value(signIn.token)
    if (client instanceof ConvexHttpClient) client.setAuth(token)
    else client.setAuth(() => Promise.resolve(token))
    return
  }
  const { key, identity } = signIn
  const tokenIdentifier = `${identity.issuer}|${identity.subject}`
  // A socket takes the key by its inner client.
  const admin = client instanceof ConvexHttpClient ? client : client.client
  ;(admin as unknown as AdminAuth).setAdminAuth(Redacted.value(key), { ...identity, tokenIdentifier })
}

const decodeRefusal = Schema.decodeUnknownOption(
  Schema.Struct({ code: Schema.String, message: Schema.optionalKey(Schema.String) })
)
/** What a deployment answers, as JSON in the error's text, before it runs a function. */
const decodeUnaccepted = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ code: Schema.String, message: Schema.String }))
)
const decodeAccounts = Schema.decodeUnknownOption(Schema.Array(Account))

/** Calls of the functions for people, in the account of the settings or the only one that the person is a member of. */
export class PersonClient extends Context.Service<
  PersonClient,
  {
    /** Calls a function once; the account is added to its arguments where it takes one. */
    call(kind: "query" | "mutation", path: PersonPath, args: PersonArgs): Effect.Effect<unknown, PersonFailure>
    /** Every result of a query; ends with the first failure. */
    follow(path: PersonPath, args: PersonArgs): Stream.Stream<unknown, PersonFailure>
  }
>()("runtime-service/layers/people/PersonClient") {
  static readonly layer = Layer.effect(
    PersonClient,
    Effect.suspend(() => make)
  )
}

const make = Effect.gen(function* () {
  const { accountId, convexUrl, signIn } = yield* PersonConfig
  const { error: redact } = yield* Redactor
  const address = { url: convexUrl, variable: "CONVEX_URL", server: "the deployment", isProxied: false }
  const http = new ConvexHttpClient(convexUrl, { logger: false, skipConvexDeploymentUrlCheck: true })
  signInto(http, signIn)

  const failureOf = (path: PersonPath, cause: unknown): PersonFailure => {
    const refused = cause instanceof ConvexError ? Option.getOrUndefined(decodeRefusal(cause.data)) : undefined
    if (refused !== undefined) {
      const { code, message = code } = refused
      return new ControlPlaneRefused({ function: path, code, detail: redact(message) })
    }
    const text = cause instanceof Error ? cause.message : String(cause)
    const unaccepted = Option.getOrUndefined(decodeUnaccepted(text))
    if (unaccepted !== undefined) {
      const why = redact(unaccepted.message).replace(/\.$/, "")
      const detail = `The deployment does not accept who you are: ${why}. Check CONVEX_DEPLOY_KEY or MISSION_CONTROL_TOKEN.`
      return new ControlPlaneRefused({ function: path, code: "unauthenticated", detail })
    }
    // What fetch throws has a cause; what the library throws holds the deployment's own words.
    const isUnreached = cause instanceof TypeError || (cause instanceof Error && cause.cause !== undefined)
    const detail = isUnreached
      ? describeAddressFailure(judgeAddress(address, { _tag: "Failed", cause }))
      : `${redact(text).split("\n")[0]}: the deployment's logs say more`
    return new ControlPlaneUnavailable({ function: path, detail })
  }

  const send = (kind: "query" | "mutation", path: PersonPath, args: PersonArgs) =>
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

  const onlyAccount = send("query", personFunctions.accounts, {}).pipe(
    Effect.flatMap((answer) => {
      const accounts = Option.getOrElse(decodeAccounts(answer), () => [])
      const [first, ...others] = accounts
      const detail =
        first === undefined
          ? "You are not a member of any account: create one with `accounts create <name>`, or ask an owner to add you."
          : `You are a member of ${accounts.length} accounts: set ACCOUNT_ID to one of ${accounts.map((each) => `${each.accountId} (${each.name})`).join(", ")}.`
      return first === undefined || others.length > 0
        ? Effect.fail(new ControlPlaneRefused({ function: personFunctions.accounts, code: "invalid", detail }))
        : Effect.succeed(first.accountId)
    })
  )
  const account = yield* Effect.cached(Option.match(accountId, { onNone: () => onlyAccount, onSome: Effect.succeed }))
  const identified = (path: PersonPath, args: PersonArgs): Effect.Effect<PersonArgs, PersonFailure> =>
    withoutAccount.has(path) ? Effect.succeed(args) : Effect.map(account, (accountId) => ({ ...args, accountId }))

  return PersonClient.of({
    call: (kind, path, args) => Effect.flatMap(identified(path, args), (given) => send(kind, path, given)),
    follow: (path, args) =>
      Stream.unwrap(
        Effect.map(identified(path, args), (given) =>
          Stream.callback<Result.Result<unknown, PersonFailure>>((queue) =>
            Effect.acquireRelease(
              Effect.sync(() => {
                const socket = new SocketClient(convexUrl, {
                  logger: false,
                  skipConvexDeploymentUrlCheck: true,
                  unsavedChangesWarning: false
                })
                signInto(socket, signIn)
                socket.onUpdate(
                  makeFunctionReference<"query">(path),
                  given,
                  (value) => void Queue.offerUnsafe(queue, Result.succeed(value)),
                  (cause) => void Queue.offerUnsafe(queue, Result.fail(failureOf(path, cause)))
                )
                return socket
              }),
              (socket) => Effect.promise(() => socket.close()).pipe(Effect.timeout("1 second"), Effect.ignoreCause)
            )
          ).pipe(Stream.mapEffect(Effect.fromResult))
        )
      )
  })
})
