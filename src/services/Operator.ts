import { Context, Effect, Layer, Schema } from "effect"
import type { ControlPlaneFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { functions } from "../domain/controlPlane/ControlPlaneFunctions.ts"
import { ServedProtocols } from "../domain/controlPlane/RuntimeCommands.ts"
import { Backlog } from "../domain/delivery/Run.ts"
import { RunDetails, RunView, StopAnswer } from "../domain/delivery/RunView.ts"
import { Roster } from "../domain/tasks/Roster.ts"
import { UsageReport } from "../domain/usage/UsageReport.ts"
import type { UsageDimension } from "../domain/usage/UsageReport.ts"
import { ConvexClient } from "../layers/ConvexClient.ts"
import { uncountedCalls } from "./ControlPlaneCalls.ts"

/** How many sessions start a new generation. */
export const Rotated = Schema.Struct({ rotated: Schema.Finite })

/** The control plane for the command line: one call each, without retries. */
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
    /** Running and waiting runs, or the latest ended ones; at most 200. */
    runs(options: {
      readonly ended: boolean
      readonly limit: number
    }): Effect.Effect<ReadonlyArray<RunView>, ControlPlaneFailure>
    /** The details of a notification's run. */
    run(id: string): Effect.Effect<RunDetails, ControlPlaneFailure>
    /** Stops a run, or all runs of an agent or a task; give exactly one of the three. */
    stop(what: {
      readonly run?: string
      readonly agent?: string
      readonly task?: string
      readonly reason?: string
    }): Effect.Effect<typeof StopAnswer.Type, ControlPlaneFailure>
    /** Makes a stopped notification ready again with a new budget. */
    again(run: string): Effect.Effect<void, ControlPlaneFailure>
    /** Pauses an agent, or without `agent` the account; `release` aborts running turns and releases their work. */
    pause(options: { readonly agent?: string; readonly release: boolean }): Effect.Effect<void, ControlPlaneFailure>
    resume(options: { readonly agent?: string }): Effect.Effect<void, ControlPlaneFailure>
    /** Starts a new generation of an agent's sessions, or of its session of one task; returns their number. */
    rotate(agent: string, taskId?: string): Effect.Effect<number, ControlPlaneFailure>
    /** Usage of the account's agents in the last days. */
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
