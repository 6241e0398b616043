/** How the runtime is, decided here for the page, `status`, /health, the pulse, systemd and the metrics alike. */
import type { RunEnd } from "../delivery/RunEnd.ts"

/** Failures in a row of one kind of an agent's work, until a turn of that kind is completed. */
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

/** How a run ended, as far as it says something about its agent. */
export interface AgentOutcome {
  readonly agent: string | null
  readonly kind: RunEnd["kind"]
  readonly outcome: RunEnd["outcome"]
  readonly isTurnCompleted: boolean
  readonly error: string | null
  readonly at: number
}

/** What decides how the runtime is. */
export interface HealthInput {
  readonly phase: "booting" | "ready" | "draining" | "stopped"
  readonly isPaused: boolean
  /** Why it is not ready, as /readyz lists it. */
  readonly notReady: ReadonlyArray<string>
  readonly isPushConnected: boolean
  readonly failures: ReadonlyArray<FailureRow>
  /** Epoch milliseconds. */
  readonly now: number
}

/** The one word: `degraded` has booted and has reasons other than a pause. */
export type HealthStatus = "booting" | "online" | "paused" | "degraded" | "draining" | "offline"

/** How the runtime is, and why it is not `online`. */
export interface Health {
  readonly status: HealthStatus
  /** What /readyz answers. */
  readonly isReady: boolean
  readonly reasons: ReadonlyArray<string>
  /** Those of the reasons that are no agent's. */
  readonly ownReasons: ReadonlyArray<string>
  readonly failing: ReadonlyArray<FailureRow>
}

/** A single failure is retried and says little; three in a row, or one without a retry, say that the agent fails. */
const FAILS_AFTER = 3
/** Older outcomes are not recent: retries come more often, and dead letters have a list of their own. */
const RECENT_MILLIS = 60 * 60_000
/** At most this many failing agents have a reason each. */
const NAMED = 5
const ROWS = 200

const failures: ReadonlySet<RunEnd["outcome"]> = new Set(["retrying", "abandoned", "dead", "given_up", "fallback"])
const lastWords: ReadonlySet<RunEnd["outcome"]> = new Set(["dead", "given_up", "fallback"])

/** The rows after a run ended. A run that needed no turn, or was released, says nothing about its agent. */
export const afterOutcome = (rows: ReadonlyArray<FailureRow>, end: AgentOutcome): ReadonlyArray<FailureRow> => {
  const { agent, at, error, isTurnCompleted, kind, outcome } = end
  if (agent === null) return rows
  const others = rows.filter((row) => row.agent !== agent || row.kind !== kind)
  if (isTurnCompleted) return others
  // A run to which no answer was owed can end with its failure.
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

/** Judges the whole: the life of the process, what it cannot reach, and how each agent's last runs ended. */
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
