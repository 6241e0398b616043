import { Context, Effect, Layer, Schema } from "effect"
import type { ControlPlaneFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { functions } from "../domain/controlPlane/ControlPlaneFunctions.ts"
import { ServedProtocols } from "../domain/controlPlane/RuntimeCommands.ts"
import { DeadLetter } from "../domain/delivery/DeadLetter.ts"
import { Backlog } from "../domain/delivery/Run.ts"
import { RunDetails, RunView, StopAnswer } from "../domain/delivery/RunView.ts"
import { Roster } from "../domain/tasks/Roster.ts"
import { UsageReport } from "../domain/usage/UsageReport.ts"
import type { UsageDimension } from "../domain/usage/UsageReport.ts"
import { ConvexClient } from "../layers/ConvexClient.ts"
import { uncountedCalls } from "./ControlPlaneCalls.ts"

/** How many sessions start their next generation. */
export const Rotated = Schema.Struct({ rotated: Schema.Finite })

/** The control plane as a person at the command line needs it: one call each, nothing is tried again. */
export class Operator extends Context.Service<
  Operator,
  {
    /** What waits; also the cheapest way to learn whether the token is accepted. */
    readonly backlog: Effect.Effect<Backlog, ControlPlaneFailure>
    /** The protocol versions that the deployment serves. */
    readonly protocol: Effect.Effect<typeof ServedProtocols.Type, ControlPlaneFailure>
    /** The functions that the deployment offers to runtimes. */
    readonly functions: Effect.Effect<ReadonlyArray<string>, ControlPlaneFailure>
    readonly roster: Effect.Effect<Roster, ControlPlaneFailure>
    /** The latest first, at most 200. */
    deadLetters(limit: number): Effect.Effect<ReadonlyArray<DeadLetter>, ControlPlaneFailure>
    /** Makes a dead letter ready again with a new budget. */
    retry(id: string): Effect.Effect<void, ControlPlaneFailure>
    /** Ends a dead letter for good. */
    discard(id: string, reason?: string): Effect.Effect<void, ControlPlaneFailure>
    /** What runs and waits, or the latest that ended; at most 200. */
    runs(options: {
      readonly ended: boolean
      readonly limit: number
    }): Effect.Effect<ReadonlyArray<RunView>, ControlPlaneFailure>
    /** A notification's run in full. */
    run(id: string): Effect.Effect<RunDetails, ControlPlaneFailure>
    /** Stops a run, or all runs of an agent or a task: exactly one of them is named. */
    stop(what: {
      readonly run?: string
      readonly agent?: string
      readonly task?: string
      readonly reason?: string
    }): Effect.Effect<typeof StopAnswer.Type, ControlPlaneFailure>
    /** Makes a stopped notification ready again with a new budget. */
    again(run: string): Effect.Effect<void, ControlPlaneFailure>
    /** Pauses an agent, or without one the account; `release` aborts running turns and releases their work. */
    pause(options: { readonly agent?: string; readonly release: boolean }): Effect.Effect<void, ControlPlaneFailure>
    resume(options: { readonly agent?: string }): Effect.Effect<void, ControlPlaneFailure>
    /** Starts the next generation of an agent's sessions, or of one task's; answers of how many. */
    rotate(agent: string, taskId?: string): Effect.Effect<number, ControlPlaneFailure>
    /** What the account's agents spent in the last days. */
    usage(options: {
      readonly by: UsageDimension
      readonly days: number
    }): Effect.Effect<UsageReport, ControlPlaneFailure>
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
    deadLetters: (limit) => query(functions.deadLetters, Schema.Array(DeadLetter), { limit }),
    retry: (id) => Effect.asVoid(mutation(functions.retryDeadLetter, Schema.Null, { id })),
    discard: (id, reason) =>
      Effect.asVoid(
        mutation(functions.discardDeadLetter, Schema.Null, {
          id,
          ...(reason === undefined ? {} : { reason })
        })
      ),
    runs: (options) => query(functions.runs, Schema.Array(RunView), options),
    run: (run) => query(functions.run, RunDetails, { run }),
    stop: (what) => mutation(functions.stopRuns, StopAnswer, what),
    again: (run) => Effect.asVoid(mutation(functions.runAgain, Schema.Null, { run })),
    pause: (options) => Effect.asVoid(mutation(functions.pause, Schema.Null, options)),
    resume: (options) => Effect.asVoid(mutation(functions.resume, Schema.Null, options)),
    rotate: (agent, taskId) =>
      Effect.map(
        mutation(functions.rotateSessions, Rotated, {
          agent,
          ...(taskId === undefined ? {} : { taskId })
        }),
        ({ rotated }) => rotated
      ),
    usage: (options) => query(functions.usageReport, UsageReport, options)
  })
})
