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

/** An attempt of any agent that succeeded or failed. */
export interface RecentAttempt {
  readonly isFailure: boolean
  /** When it ended, epoch milliseconds. */
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
  /** The latest attempts, the newest first. */
  readonly attempts: ReadonlyArray<RecentAttempt>
  /** Epoch milliseconds. */
  readonly now: number
}

/**
 * The status in one word. `degraded` means booted, with reasons other than a pause; `failing`, that in addition every
 * recent attempt failed.
 */
export const healthStatuses = ["booting", "online", "paused", "degraded", "failing", "draining", "offline"] as const
export type HealthStatus = (typeof healthStatuses)[number]

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
/** The number of attempts that show whether work succeeds, whoever the agents are. */
const ATTEMPTS = 10
/** With fewer attempts a half of failures means nothing. */
const HALF_OF = 6

const failures: ReadonlySet<RunEnd["outcome"]> = new Set(["retrying", "abandoned", "dead", "given_up", "fallback"])
const lastWords: ReadonlySet<RunEnd["outcome"]> = new Set(["dead", "given_up", "fallback"])

/** Whether the attempt failed. A run that owes no answer can end with a failure, too. */
const isFailed = ({ error, outcome }: AgentOutcome): boolean =>
  failures.has(outcome) || (error !== null && (outcome === "silent" || outcome === "skipped"))

/** The latest attempts after the end of a run. A run without a turn, or a released one, shows nothing. */
export const afterAttempt = (attempts: ReadonlyArray<RecentAttempt>, end: AgentOutcome): ReadonlyArray<RecentAttempt> =>
  end.isTurnCompleted || isFailed(end)
    ? [{ isFailure: !end.isTurnCompleted, at: end.at }, ...attempts].slice(0, ATTEMPTS)
    : attempts

/** The failures after the end of a run. A run without a turn, or a released one, changes nothing. */
export const afterOutcome = (rows: ReadonlyArray<FailureRow>, end: AgentOutcome): ReadonlyArray<FailureRow> => {
  const { agent, at, error, isTurnCompleted, kind, outcome } = end
  if (agent === null) return rows
  const others = rows.filter((row) => row.agent !== agent || row.kind !== kind)
  if (isTurnCompleted) return others
  if (!isFailed(end)) return rows
  const count = (rows.find((row) => row.agent === agent && row.kind === kind)?.count ?? 0) + 1
  return [{ agent, kind, count, isGivenUp: lastWords.has(outcome), error, at }, ...others].slice(0, ROWS)
}

const reasonOf = ({ agent, count, error, isGivenUp, kind }: FailureRow): string => {
  const [one, many] = kind === "heartbeat" ? ["heartbeat", "heartbeats"] : ["delivery", "deliveries"]
  const what = count >= FAILS_AFTER ? `its last ${many} failed` : isGivenUp ? `its last ${one} was given up` : ""
  return `agent ${agent}: ${what}${error === null ? "" : `: ${error}`}`
}

/** What the recent attempts of all agents show together; `reason` is null if they show no problem. */
const judgeAttempts = ({ attempts, now }: HealthInput) => {
  const recent = attempts.filter(({ at }) => now - at < RECENT_MILLIS)
  const failed = recent.filter(({ isFailure }) => isFailure).length
  const hasRecovered = recent.slice(0, FAILS_AFTER).every(({ isFailure }) => !isFailure)
  const isFailing = failed >= FAILS_AFTER && failed === recent.length
  const reason = isFailing
    ? `attempts: the last ${failed} failed`
    : recent.length >= HALF_OF && failed * 2 >= recent.length && !hasRecovered
      ? `attempts: ${failed} of the last ${recent.length} failed`
      : null
  return { isFailing, reason }
}

const statusOf = (
  { isPaused, phase }: HealthInput,
  reasons: ReadonlyArray<string>,
  isFailing: boolean
): HealthStatus => {
  switch (phase) {
    case "booting":
    case "draining":
      return phase
    case "stopped":
      return "offline"
    case "ready":
      if (reasons.length === 0) return "online"
      if (isPaused) return reasons.length === 1 ? "paused" : "degraded"
      return isFailing ? "failing" : "degraded"
  }
}

/** Judges the health from the lifecycle, unreachable systems, and the latest attempts of all agents and of each. */
export const judgeHealth = (input: HealthInput): Health => {
  const { isPushConnected, notReady, now } = input
  const failing = input.failures.filter(
    ({ at, count, isGivenUp }) => now - at < RECENT_MILLIS && (isGivenUp || count >= FAILS_AFTER)
  )
  const attempts = judgeAttempts(input)
  const more = failing.length - NAMED
  const ownReasons = [...notReady, ...(isPushConnected ? [] : ["push: down, polling"])]
  const reasons = [
    ...ownReasons,
    ...(attempts.reason === null ? [] : [attempts.reason]),
    ...failing.slice(0, NAMED).map(reasonOf),
    ...(more > 0 ? [`agents: ${more} more fail`] : [])
  ]
  return {
    status: statusOf(input, reasons, attempts.isFailing),
    isReady: notReady.length === 0,
    reasons,
    ownReasons,
    failing
  }
}
