import { DateTime, Schema } from "effect"
import { counted } from "./Count.ts"
import { NotificationType } from "./DeliveryContext.ts"
import { oneLine } from "./Text.ts"
import { textTable } from "./TextTable.ts"

/** A run as an operator lists it; times are the control plane's epoch milliseconds. */
export const RunView = Schema.Struct({
  /** The notification's id, or the agent and due moment of a heartbeat. */
  id: Schema.String,
  kind: Schema.Literals(["notification", "heartbeat"]),
  agentSlug: Schema.NullOr(Schema.String),
  taskId: Schema.NullOr(Schema.String),
  taskTitle: Schema.NullOr(Schema.String),
  type: Schema.NullOr(NotificationType),
  /** `stopping` until the process that ran it has aborted its turn. */
  state: Schema.Literals(["running", "stopping", "waiting", "delivered", "dead", "discarded"]),
  outcome: Schema.NullOr(Schema.String),
  outcomeReason: Schema.NullOr(Schema.String),
  attempts: Schema.Finite,
  /** When its attempt was claimed, since when it waits, or when it ended. */
  at: Schema.Finite,
  runtimeId: Schema.NullOr(Schema.String),
  traceId: Schema.NullOr(Schema.String)
})
export type RunView = typeof RunView.Type

/** A notification's run with why it exists, what its attempts did and how the last one failed. */
export const RunDetails = Schema.Struct({
  run: RunView,
  createdAt: Schema.Finite,
  claims: Schema.Finite,
  failures: Schema.Finite,
  silences: Schema.Finite,
  nextAttemptAt: Schema.NullOr(Schema.Finite),
  error: Schema.NullOr(Schema.Struct({ class: Schema.String, message: Schema.String, at: Schema.Finite })),
  events: Schema.Array(
    Schema.Struct({
      type: NotificationType,
      actorName: Schema.String,
      at: Schema.Finite,
      refusal: Schema.NullOr(Schema.String)
    })
  ),
  /** Attempts differ in their epoch. */
  effects: Schema.Array(
    Schema.Struct({ epoch: Schema.Finite, tool: Schema.String, summary: Schema.String, at: Schema.Finite })
  )
})
export type RunDetails = typeof RunDetails.Type

/** How many runs a stop ended at once, and for one run how it ended. */
export const StopAnswer = Schema.Struct({ stopped: Schema.Finite, outcome: Schema.NullOr(Schema.String) })

const when = (millis: number): string => DateTime.formatIso(DateTime.makeUnsafe(millis))

/** One line each. */
export const runTable = (runs: ReadonlyArray<RunView>): string =>
  textTable(
    ["id", "state", "since", "agent", "type", "attempts", "task"],
    runs.map((run) => [
      run.id,
      run.outcome ?? run.state,
      when(run.at),
      run.agentSlug ?? "(gone)",
      run.type ?? run.kind,
      String(run.attempts),
      run.taskTitle ?? "-"
    ])
  )

/** Everything about one, in the order in which it happened. */
export const describeRun = ({ run, ...details }: RunDetails): string => {
  const { claims, createdAt, effects, error, events, failures, nextAttemptAt, silences } = details
  const happened = [
    ...events.map(({ actorName, at, refusal, type }) => ({
      at,
      text: `${type} of ${oneLine(actorName)}${refusal === null ? "" : `, refused: ${oneLine(refusal)}`}`
    })),
    ...effects.map(({ at, epoch, summary, tool }) => ({
      at,
      text: `epoch ${epoch}: ${tool}: ${oneLine(summary, 200)}`
    })),
    ...(error === null ? [] : [{ at: error.at, text: `${error.class}: ${oneLine(error.message, 300)}` }]),
    ...(run.outcome === null ? [] : [{ at: run.at, text: `ended as ${run.outcome}` }])
  ].toSorted((left, right) => left.at - right.at)
  return [
    `id         ${run.id}`,
    `state      ${run.outcome ?? run.state}${run.outcomeReason === null ? "" : `: ${oneLine(run.outcomeReason, 300)}`}`,
    `agent      ${run.agentSlug ?? "(gone)"}`,
    `task       ${run.taskTitle ?? "(gone)"} (${run.taskId})`,
    `made       ${when(createdAt)}`,
    `attempts   ${run.attempts}, claimed ${counted(claims, "time")}, ${counted(failures, "failure")}, ${counted(silences, "silence")}`,
    ...(nextAttemptAt === null ? [] : [`next       ${when(nextAttemptAt)}`]),
    `trace      ${run.traceId ?? "-"}`,
    ...happened.map(({ at, text }) => `${when(at)}  ${text}`)
  ].join("\n")
}
