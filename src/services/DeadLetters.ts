import { Context, Effect, Layer, Schema } from "effect"
import type { ControlPlaneFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { functions } from "../domain/controlPlane/ControlPlaneFunctions.ts"
import { DeadLetter } from "../domain/delivery/DeadLetter.ts"
import { personFunctions } from "../domain/people/PersonFunctions.ts"
import { ConvexClient } from "../layers/ConvexClient.ts"
import { uncountedCalls } from "./ControlPlaneCalls.ts"
import { People } from "./People.ts"

/** The dead letters for the command line, of an operator or of a person. One call each, without retries. */
export class DeadLetters extends Context.Service<
  DeadLetters,
  {
    /** The latest first, at most 200. */
    list(limit: number): Effect.Effect<ReadonlyArray<DeadLetter>, ControlPlaneFailure>
    /** Makes a dead letter ready again with a new budget of attempts. */
    retry(id: string): Effect.Effect<void, ControlPlaneFailure>
    /** Discards a dead letter permanently. */
    discard(id: string, reason: string | undefined): Effect.Effect<void, ControlPlaneFailure>
  }
>()("runtime-service/services/DeadLetters") {
  /** With the runtime's token, so that the account records an operator without a name. */
  static readonly layer = Layer.effect(
    DeadLetters,
    Effect.map(ConvexClient, (client) => {
      const { mutation, query } = uncountedCalls(client)
      return DeadLetters.of({
        list: (limit) => query(functions.deadLetters, Schema.Array(DeadLetter), { limit }),
        retry: (id) => Effect.asVoid(mutation(functions.retryDeadLetter, Schema.Null, { id })),
        discard: (id, reason) =>
          Effect.asVoid(mutation(functions.discardDeadLetter, Schema.Null, discarded(id, reason)))
      })
    })
  )

  /** As the person of the environment, whose name the account records. */
  static readonly layerForPeople = Layer.effect(
    DeadLetters,
    Effect.map(People, ({ mutation, query }) =>
      DeadLetters.of({
        list: (limit) => query(personFunctions.deadLetters, Schema.Array(DeadLetter), { limit }),
        retry: (id) => Effect.asVoid(mutation(personFunctions.retryDeadLetter, Schema.Null, { id })),
        discard: (id, reason) =>
          Effect.asVoid(mutation(personFunctions.discardDeadLetter, Schema.Null, discarded(id, reason)))
      })
    )
  )
}

const discarded = (id: string, reason: string | undefined) => ({ id, ...(reason === undefined ? {} : { reason }) })
