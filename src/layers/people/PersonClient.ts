/** The control plane as a person reaches it: one call each over HTTP, and a thread that is followed over a WebSocket. */
import { ConvexClient as SocketClient } from "convex/browser"
import { makeFunctionReference } from "convex/server"
import { Context, Effect, Layer, Option, Queue, Result, Schema, Stream } from "effect"
import { ControlPlaneRefused } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import { personFunctions, withoutAccount } from "../../domain/people/PersonFunctions.ts"
import type { PersonPath } from "../../domain/people/PersonFunctions.ts"
import { Account } from "../../domain/people/PersonViews.ts"
import type { Arguments } from "../convex/ConvexCalls.ts"
import { makeSignedCalls, signInto } from "../convex/SignedCalls.ts"
import type { CallFailure } from "../convex/SignedCalls.ts"
import { PersonConfig } from "./PersonConfig.ts"

export type PersonFailure = CallFailure
export type PersonArgs = Arguments

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
  const { failureOf, send } = yield* makeSignedCalls(convexUrl, signIn)

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
