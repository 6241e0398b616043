import { Context, Effect, Layer, Schema } from "effect"
import { ControlPlaneRefused } from "../domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { functions } from "../domain/controlPlane/ControlPlaneFunctions.ts"
import type { OfKind } from "../domain/controlPlane/ConvexFunctions.ts"
import { DeadLetter } from "../domain/delivery/DeadLetter.ts"
import { RunDetails, RunView, StopAnswer } from "../domain/delivery/RunView.ts"
import { personFunctions } from "../domain/people/PersonFunctions.ts"
import type { Kind } from "../domain/text/ShortId.ts"
import { UsageReport } from "../domain/usage/UsageReport.ts"
import type { UsageDimension } from "../domain/usage/UsageReport.ts"
import { ConvexClient } from "../layers/ConvexClient.ts"
import { PersonClient } from "../layers/people/PersonClient.ts"
import { uncountedCalls } from "./ControlPlaneCalls.ts"
import type { Call } from "./ControlPlaneCalls.ts"
import { knownId } from "./KnownId.ts"
import { personCalls } from "./People.ts"

const MAX_LISTED = 200

/**
 * What the account's agents work on and spend, for the command line: one call each, without retries. A person and an
 * operator call different functions with the same arguments and answers. `id` is an id or the beginning of one.
 */
export class AccountWork extends Context.Service<
  AccountWork,
  {
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
    /** Makes a stopped notification ready again with a new budget. Returns its id. */
    again(id: string): Effect.Effect<string, ControlPlaneFailure>
    /** The latest first, at most 200. */
    deadLetters(limit: number): Effect.Effect<ReadonlyArray<DeadLetter>, ControlPlaneFailure>
    /** One of the latest 200. */
    deadLetter(id: string): Effect.Effect<DeadLetter, ControlPlaneFailure>
    /** Makes a dead letter ready again with a new budget. Returns its id. */
    retry(id: string): Effect.Effect<string, ControlPlaneFailure>
    /** Discards a dead letter permanently. Returns its id. */
    discard(id: string, reason?: string): Effect.Effect<string, ControlPlaneFailure>
    /** Usage of the account's agents in the last days. */
    usage(options: {
      readonly by: UsageDimension
      readonly days: number
    }): Effect.Effect<UsageReport, ControlPlaneFailure>
  }
>()("runtime-service/services/AccountWork") {
  /** With the runtime's token. */
  static readonly layerForOperator = Layer.effect(
    AccountWork,
    Effect.map(ConvexClient, (client) => make(uncountedCalls(client) as never, functions))
  )
  /** As a person, who is named in what they do. */
  static readonly layerForPerson = Layer.effect(
    AccountWork,
    Effect.map(PersonClient, (client) => make(personCalls(client) as never, personFunctions))
  )
}

/** The functions of either side by their use. */
type Functions = typeof functions | typeof personFunctions
type Used = Functions[
  | "runs"
  | "run"
  | "stopRuns"
  | "runAgain"
  | "deadLetters"
  | "retryDeadLetter"
  | "discardDeadLetter"
  | "usageReport"]

interface Calls {
  readonly query: Call<OfKind<"query", Used>>
  readonly mutation: Call<OfKind<"mutation", Used>>
}

const runKind: Kind<RunView> = {
  noun: "run",
  listedBy: "runs list",
  title: ({ agentSlug, kind, taskTitle, type }) => `@${agentSlug ?? "removed"}: ${taskTitle ?? type ?? kind}`
}
const deadLetterKind: Kind<DeadLetter> = {
  noun: "dead letter",
  listedBy: "dead-letters list",
  title: ({ agentSlug, taskTitle }) => `@${agentSlug ?? "removed"}: ${taskTitle ?? "removed"}`
}

const taskKind: Kind<{ readonly title: string }> = {
  noun: "task",
  listedBy: "runs list",
  title: ({ title }) => title
}

const make = ({ mutation, query }: Calls, paths: Functions) => {
  const runs = (options: { readonly ended: boolean; readonly limit: number }) =>
    query(paths.runs, Schema.Array(RunView), options)
  const deadLetters = (limit: number) => query(paths.deadLetters, Schema.Array(DeadLetter), { limit })

  const latestRuns = Effect.map(
    Effect.all([runs({ ended: false, limit: MAX_LISTED }), runs({ ended: true, limit: MAX_LISTED })]),
    ([open, ended]) => [...open, ...ended]
  )
  const runId = (text: string) => Effect.flatMap(latestRuns, (all) => knownId(paths.runs, all, text, runKind))
  const taskId = Effect.fnUntraced(function* (text: string) {
    const titles = new Map((yield* latestRuns).map(({ taskId, taskTitle }) => [taskId ?? "", taskTitle ?? "removed"]))
    const tasks = [...titles].filter(([id]) => id !== "").map(([id, title]) => ({ id, title }))
    return yield* knownId(paths.runs, tasks, text, taskKind)
  })
  const deadLetterId = Effect.fnUntraced(function* (text: string) {
    return yield* knownId(paths.deadLetters, yield* deadLetters(MAX_LISTED), text, deadLetterKind)
  })

  return AccountWork.of({
    runs,
    run: Effect.fnUntraced(function* (id) {
      return yield* query(paths.run, RunDetails, { run: yield* runId(id) })
    }),
    stop: Effect.fnUntraced(function* ({ run, task, ...what }) {
      return yield* mutation(paths.stopRuns, StopAnswer, {
        ...what,
        ...(run === undefined ? {} : { run: yield* runId(run) }),
        ...(task === undefined ? {} : { task: yield* taskId(task) })
      })
    }),
    again: Effect.fnUntraced(function* (id) {
      const run = yield* runId(id)
      yield* mutation(paths.runAgain, Schema.Null, { run })
      return run
    }),
    deadLetters,
    deadLetter: Effect.fnUntraced(function* (text) {
      const letters = yield* deadLetters(MAX_LISTED)
      const id = yield* knownId(paths.deadLetters, letters, text, deadLetterKind)
      const detail = `This notification is not among the latest ${MAX_LISTED} dead letters. See \`dead-letters list\`.`
      return yield* Effect.fromNullishOr(letters.find((letter) => letter.id === id)).pipe(
        Effect.mapError(() => new ControlPlaneRefused({ function: paths.deadLetters, code: "not_found", detail }))
      )
    }),
    retry: Effect.fnUntraced(function* (text) {
      const id = yield* deadLetterId(text)
      yield* mutation(paths.retryDeadLetter, Schema.Null, { id })
      return id
    }),
    discard: Effect.fnUntraced(function* (text, reason) {
      const id = yield* deadLetterId(text)
      yield* mutation(paths.discardDeadLetter, Schema.Null, { id, ...(reason === undefined ? {} : { reason }) })
      return id
    }),
    usage: (options) => query(paths.usageReport, UsageReport, options)
  })
}
