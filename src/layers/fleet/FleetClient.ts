import { Context, Effect, Layer } from "effect"
import type { FleetPath } from "../../domain/fleet/FleetFunctions.ts"
import type { Arguments } from "../convex/ConvexCalls.ts"
import { makeSignedCalls } from "../convex/SignedCalls.ts"
import type { CallFailure } from "../convex/SignedCalls.ts"
import { FleetConfig } from "./FleetConfig.ts"

/** Calls of the internal functions for operators, with the deploy key. */
export class FleetClient extends Context.Service<
  FleetClient,
  {
    /** Calls a function once. */
    call(kind: "query" | "mutation", path: FleetPath, args: Arguments): Effect.Effect<unknown, CallFailure>
  }
>()("runtime-service/layers/fleet/FleetClient") {
  static readonly layer = Layer.effect(
    FleetClient,
    Effect.gen(function* () {
      const { convexUrl, deployKey } = yield* FleetConfig
      const { send } = yield* makeSignedCalls(convexUrl, { _tag: "Operator", key: deployKey })
      return FleetClient.of({ call: send })
    })
  )
}
