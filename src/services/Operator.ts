import { Context, Effect, Layer, Schema } from "effect"
import type { ControlPlaneFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { functions } from "../domain/controlPlane/ControlPlaneFunctions.ts"
import { ServedProtocols } from "../domain/controlPlane/RuntimeCommands.ts"
import { Backlog } from "../domain/delivery/Run.ts"
import { Roster } from "../domain/tasks/Roster.ts"
import { ConvexClient } from "../layers/ConvexClient.ts"
import { uncountedCalls } from "./ControlPlaneCalls.ts"

/** How many sessions start a new generation. */
export const Rotated = Schema.Struct({ rotated: Schema.Finite })

/** The control plane for operators' commands, with the runtime's token: one call each, without retries. */
export class Operator extends Context.Service<
  Operator,
  {
    /** The waiting work; also the cheapest call that shows whether the token is accepted. */
    readonly backlog: Effect.Effect<Backlog, ControlPlaneFailure>
    /** The protocol versions that the deployment serves. */
    readonly protocol: Effect.Effect<typeof ServedProtocols.Type, ControlPlaneFailure>
    /** The functions that the deployment offers to runtimes. */
    readonly functions: Effect.Effect<ReadonlyArray<string>, ControlPlaneFailure>
    readonly roster: Effect.Effect<Roster, ControlPlaneFailure>
    /** Pauses an agent, or without `agent` the account; `release` aborts running turns and releases their work. */
    pause(options: { readonly agent?: string; readonly release: boolean }): Effect.Effect<void, ControlPlaneFailure>
    resume(options: { readonly agent?: string }): Effect.Effect<void, ControlPlaneFailure>
    /** Starts a new generation of an agent's sessions, or of its session of one task; returns their number. */
    rotate(agent: string, taskId?: string): Effect.Effect<number, ControlPlaneFailure>
  }
>()("runtime-service/services/Operator") {
  static readonly layer = Layer.effect(
    Operator,
    Effect.suspend(() => make)
  )
}

const make = Effect.gen(function* () {
  const { mutation, query } = uncountedCalls(yield* ConvexClient)
  return Operator.of({
    backlog: query(functions.backlog, Backlog),
    protocol: query(functions.protocol, ServedProtocols),
    functions: query(functions.serviceFunctions, Schema.Array(Schema.String)),
    roster: query(functions.agents, Roster),
    pause: (options) => Effect.asVoid(mutation(functions.pause, Schema.Null, options)),
    resume: (options) => Effect.asVoid(mutation(functions.resume, Schema.Null, options)),
    rotate: (agent, taskId) =>
      Effect.map(
        mutation(functions.rotateSessions, Rotated, {
          agent,
          ...(taskId === undefined ? {} : { taskId })
        }),
        ({ rotated }) => rotated
      )
  })
})
