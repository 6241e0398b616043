/** The running turns, for the commands that show what agents are doing. */
import { Schema } from "effect"
import { showSpan } from "../observability/StatusScreen.ts"
import { shortIds } from "../text/ShortId.ts"
import { singleLine, truncate } from "../text/Text.ts"
import { textTable } from "../text/TextTable.ts"

/** A running turn; times are the control plane's epoch milliseconds. */
export const RunningTurn = Schema.Struct({
  /** The run's id. */
  id: Schema.String,
  agentSlug: Schema.NullOr(Schema.String),
  /** Null for a heartbeat. */
  taskId: Schema.NullOr(Schema.String),
  taskTitle: Schema.NullOr(Schema.String),
  /** `stopping` until its process has aborted it. */
  state: Schema.String,
  attempts: Schema.Finite,
  /** Since when it runs. */
  at: Schema.Finite,
  /** Null if its runtime has not reported it. */
  progress: Schema.NullOr(
    Schema.Struct({
      tool: Schema.NullOr(Schema.String),
      stepSince: Schema.Finite,
      lastActivityAt: Schema.Finite,
      isStuck: Schema.Boolean
    })
  )
})
export type RunningTurn = typeof RunningTurn.Type

const TOOL_LENGTH = 20
const TITLE_LENGTH = 30

const since = (moment: number, now: number): string => showSpan((now - moment) / 1_000)

/** The current step, e.g. `exec, 3 min`. */
const stepText = ({ progress, state }: RunningTurn, now: number): string => {
  if (state !== "running") return state
  if (progress === null) return "-"
  if (progress.isStuck) return "seems stuck"
  return `${truncate(singleLine(progress.tool ?? "model"), TOOL_LENGTH)}, ${since(progress.stepSince, now)}`
}

const activeText = ({ progress }: RunningTurn, now: number): string =>
  progress === null ? "-" : `${since(progress.lastActivityAt, now)} ago`

/** A table of the turns, or a sentence if there are none. `now` is in the control plane's epoch milliseconds. */
export const turnTable = (turns: ReadonlyArray<RunningTurn>, now: number): string => {
  if (turns.length === 0) return "No agent is working."
  const short = shortIds(turns.flatMap(({ taskId }) => (taskId === null ? [] : [taskId])))
  return textTable(
    ["WORKING", "FOR", "ATTEMPT", "NOW", "ACTIVE", "TASK"],
    turns.map((turn) => [
      `@${turn.agentSlug ?? "(removed)"}`,
      since(turn.at, now),
      String(turn.attempts),
      stepText(turn, now),
      activeText(turn, now),
      turn.taskId === null
        ? "heartbeat"
        : `${short(turn.taskId)} ${truncate(singleLine(turn.taskTitle ?? "(removed)"), TITLE_LENGTH)}`
    ])
  )
}

/** The turns of one task, one line each, for its description. */
export const turnLines = (turns: ReadonlyArray<RunningTurn>, now: number): ReadonlyArray<string> =>
  turns.map((turn) => {
    const known = turn.progress === null ? [] : [stepText(turn, now), `active ${activeText(turn, now)}`]
    const parts = [`@${turn.agentSlug ?? "(removed)"} for ${since(turn.at, now)}`, `attempt ${turn.attempts}`, ...known]
    return `working     ${(turn.state === "running" ? parts : [...parts.slice(0, 2), turn.state]).join("; ")}`
  })

/** Whether runtimes have reported every turn. */
export const isReported = (turns: ReadonlyArray<RunningTurn>): boolean =>
  turns.every(({ progress, state }) => progress !== null || state !== "running")
