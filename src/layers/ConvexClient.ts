/**
 * Convex for the rest of the program: functions by path, typed failures. With its parts in `convex` it is the only
 * importer of Convex's client library. Calls go over HTTP, subscriptions share one WebSocket.
 */
import { Context, Effect, Layer, Option, Redacted } from "effect"
import type { Result, Stream, SubscriptionRef } from "effect"
import type { ControlPlaneFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import type { Address, AddressFailure } from "../domain/doctor/AddressFailure.ts"
import { wellFormed } from "../domain/text/WellFormed.ts"
import { RuntimeConfig } from "./Config.ts"
import { makeConvexCalls } from "./convex/ConvexCalls.ts"
import type { Arguments } from "./convex/ConvexCalls.ts"
import { makeConvexSocket } from "./convex/ConvexSocket.ts"
import type { PushState } from "./convex/ConvexSocket.ts"
import { Secrets } from "./secrets/Secrets.ts"

export type { Arguments, PushState }

/** Calls Convex functions and follows queries, as this account's runtime. */
export class ConvexClient extends Context.Service<
  ConvexClient,
  {
    /** Runs a query once. */
    query(path: string, args: Arguments): Effect.Effect<unknown, ControlPlaneFailure>
    /**
     * Runs a mutation. After ControlPlaneUnavailable it may or may not have happened. A mutation with an `epoch` may
     * arrive twice; the control plane answers the second arrival as the first.
     */
    mutation(path: string, args: Arguments): Effect.Effect<unknown, ControlPlaneFailure>
    /**
     * Checks over the connections of the calls whether a deployment answers at CONVEX_URL; the result has its Date
     * header. Fails with what is wrong with the address.
     */
    readonly deployment: Effect.Effect<{ readonly date: string | undefined }, AddressFailure>
    /** Every pushed result of a query. A failure of the query is an element; it does not end the stream. */
    subscribe(path: string, args: Arguments): Stream.Stream<Result.Result<unknown, ControlPlaneFailure>>
    /** Whether pushes arrive; callers poll while they do not. */
    readonly push: SubscriptionRef.SubscriptionRef<PushState>
  }
>()("runtime-service/layers/ConvexClient") {
  static readonly layer = Layer.effect(
    ConvexClient,
    Effect.suspend(() => make)
  ).pipe(Layer.provide(Secrets.layer))
}

const make = Effect.gen(function* () {
  const { accountId, convexUrl, proxy } = yield* RuntimeConfig
  const secrets = yield* Secrets
  const address: Address = {
    url: convexUrl,
    variable: "CONVEX_URL",
    server: "the deployment",
    isProxied: Option.isSome(proxy) && convexUrl.startsWith("https:")
  }
  const identified = (args: Arguments): Arguments => ({
    ...wellFormed(args),
    accountId,
    serviceToken: Redacted.value(secrets.now().serviceToken)
  })
  const { call, deployment } = yield* makeConvexCalls(address, identified)
  const { push, subscribe } = yield* makeConvexSocket(identified)
  return ConvexClient.of({
    deployment,
    query: (path, args) => call("query", path, args),
    mutation: (path, args) => call("mutation", path, args),
    subscribe,
    push
  })
})
