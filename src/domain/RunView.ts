import { DateTime, Schema } from "effect"
import { NotificationType } from "./DeliveryContext.ts"
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
