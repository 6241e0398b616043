/** The runtime's health, used alike by the page, `status`, /health, the pulse, systemd and the metrics. */
import type { RunEnd } from "../delivery/RunEnd.ts"

/** An agent's consecutive failures in one kind of work, until a turn of that kind completes. */
export interface FailureRow {
  readonly agent: string
  readonly kind: RunEnd["kind"]
  readonly count: number
  /** The last one ended without a retry. */
  readonly isGivenUp: boolean
  readonly error: string | null
  /** When the last one ended, epoch milliseconds. */
  readonly at: number
}

/** The end of a run, for the health of its agent. */
export interface AgentOutcome {
  readonly agent: string | null
  readonly kind: RunEnd["kind"]
  readonly outcome: RunEnd["outcome"]
  readonly isTurnCompleted: boolean
  readonly error: string | null
  readonly at: number
}

/** The state that determines the health. */
export interface HealthInput {
  readonly phase: "booting" | "ready" | "draining" | "stopped"
  readonly isPaused: boolean
  /** The reasons of /readyz why it is not ready. */
  readonly notReady: ReadonlyArray<string>
  readonly isPushConnected: boolean
  readonly failures: ReadonlyArray<FailureRow>
  /** Epoch milliseconds. */
  readonly now: number
}

/** The status in one word. `degraded` means booted, with reasons other than a pause. */
export type HealthStatus = "booting" | "online" | "paused" | "degraded" | "draining" | "offline"

/** The status, and the reasons why it is not `online`. */
export interface Health {
  readonly status: HealthStatus
  /** Whether /readyz reports ready. */
  readonly isReady: boolean
  readonly reasons: ReadonlyArray<string>
  /** The reasons that do not concern a single agent. */
  readonly ownReasons: ReadonlyArray<string>
  readonly failing: ReadonlyArray<FailureRow>
}

/**
 * An agent counts as failing after three failures in a row, or after one without a retry. A single failure is retried.
 */
const FAILS_AFTER = 3
/** Older failures do not count: retries are more frequent, and dead letters have a separate list. */
const RECENT_MILLIS = 60 * 60_000
/** Maximum number of failing agents with a separate reason. */
const NAMED = 5
const ROWS = 200

const failures: ReadonlySet<RunEnd["outcome"]> = new Set(["retrying", "abandoned", "dead", "given_up", "fallback"])
const lastWords: ReadonlySet<RunEnd["outcome"]> = new Set(["dead", "given_up", "fallback"])

/** The failures after the end of a run. A run without a turn, or a released one, changes nothing. */
export const afterOutcome = (rows: ReadonlyArray<FailureRow>, end: AgentOutcome): ReadonlyArray<FailureRow> => {
  const { agent, at, error, isTurnCompleted, kind, outcome } = end
  if (agent === null) return rows
  const others = rows.filter((row) => row.agent !== agent || row.kind !== kind)
  if (isTurnCompleted) return others
  // A run that owes no answer can end with a failure.
  const isFailure = failures.has(outcome) || (error !== null && (outcome === "silent" || outcome === "skipped"))
  if (!isFailure) return rows
  const count = (rows.find((row) => row.agent === agent && row.kind === kind)?.count ?? 0) + 1
  return [{ agent, kind, count, isGivenUp: lastWords.has(outcome), error, at }, ...others].slice(0, ROWS)
}

const reasonOf = ({ agent, count, error, isGivenUp, kind }: FailureRow): string => {
  const [one, many] = kind === "heartbeat" ? ["heartbeat", "heartbeats"] : ["delivery", "deliveries"]
  const what = count >= FAILS_AFTER ? `its last ${many} failed` : isGivenUp ? `its last ${one} was given up` : ""
  return `agent ${agent}: ${what}${error === null ? "" : `: ${error}`}`
}

const statusOf = ({ isPaused, phase }: HealthInput, reasons: ReadonlyArray<string>): HealthStatus => {
  switch (phase) {
    case "booting":
    case "draining":
      return phase
    case "stopped":
      return "offline"
    case "ready":
      if (reasons.length === 0) return "online"
      return isPaused && reasons.length === 1 ? "paused" : "degraded"
  }
}

/** Judges the health from the lifecycle, unreachable systems, and the latest runs of each agent. */
export const judgeHealth = (input: HealthInput): Health => {
  const { isPushConnected, notReady, now } = input
  const failing = input.failures.filter(
    ({ at, count, isGivenUp }) => now - at < RECENT_MILLIS && (isGivenUp || count >= FAILS_AFTER)
  )
  const more = failing.length - NAMED
  const ownReasons = [...notReady, ...(isPushConnected ? [] : ["push: down, polling"])]
  const reasons = [
    ...ownReasons,
    ...failing.slice(0, NAMED).map(reasonOf),
    ...(more > 0 ? [`agents: ${more} more fail`] : [])
  ]
  return { status: statusOf(input, reasons), isReady: notReady.length === 0, reasons, ownReasons, failing }
}
