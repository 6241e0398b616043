import { Context, Effect, Layer, Schema } from "effect"
import { ControlPlaneUnavailable } from "../domain/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../domain/ControlPlaneFailure.ts"
import { DeadLetter } from "../domain/DeadLetter.ts"
import { Backlog } from "../domain/Delivery.ts"
import { Roster } from "../domain/Roster.ts"
import { ConvexClient } from "../layers/ConvexClient.ts"
import type { Arguments } from "../layers/ConvexClient.ts"

const Rotated = Schema.Struct({ rotated: Schema.Finite })

/** The control plane as a person at the command line needs it: one call each, nothing is tried again. */
export class Operator extends Context.Service<
  Operator,
  {
    /** What waits; also the cheapest way to learn whether the token is accepted. */
    readonly backlog: Effect.Effect<Backlog, ControlPlaneFailure>
    readonly roster: Effect.Effect<Roster, ControlPlaneFailure>
    /** The latest first, at most 200. */
    deadLetters(limit: number): Effect.Effect<ReadonlyArray<DeadLetter>, ControlPlaneFailure>
    /** Makes a dead letter ready again with a new budget. */
    retry(id: string): Effect.Effect<void, ControlPlaneFailure>
    /** Ends a dead letter for good. */
    discard(id: string, reason?: string): Effect.Effect<void, ControlPlaneFailure>
    /** Starts the next generation of an agent's sessions, or of one task's; answers of how many. */
    rotate(agent: string, taskId?: string): Effect.Effect<number, ControlPlaneFailure>
  }
>()("runtime-service/services/Operator") {
  static readonly layer = Layer.effect(
    Operator,
    Effect.gen(function* () {
      const convex = yield* ConvexClient
      const call = <A>(
        kind: "query" | "mutation",
        path: string,
        schema: Schema.Codec<A, unknown>,
        args: Arguments = {}
      ): Effect.Effect<A, ControlPlaneFailure> =>
        Effect.flatMap(convex[kind](path, args), (value) =>
          Schema.decodeUnknownEffect(schema)(value).pipe(
            Effect.mapError(
              (error) => new ControlPlaneUnavailable({ function: path, detail: error.message.slice(0, 300) })
            )
          )
        )
      return Operator.of({
        backlog: call("query", "service/notifications:backlog", Backlog),
        roster: call("query", "service/agents:list", Roster),
        deadLetters: (limit) => call("query", "service/notifications:deadLetters", Schema.Array(DeadLetter), { limit }),
        retry: (id) => Effect.asVoid(call("mutation", "service/notifications:retryDeadLetter", Schema.Null, { id })),
        discard: (id, reason) =>
          Effect.asVoid(
            call("mutation", "service/notifications:discardDeadLetter", Schema.Null, {
              id,
              ...(reason === undefined ? {} : { reason })
            })
          ),
        rotate: (agent, taskId) =>
          Effect.map(
            call("mutation", "service/sessions:rotate", Rotated, {
              agent,
              ...(taskId === undefined ? {} : { taskId })
            }),
            ({ rotated }) => rotated
          )
      })
    })
  )
}
