/** The delivery part of /health: counts since the start and the last delivery and error. */
import type { DeliveryOutcome, HeartbeatOutcome, RunEnd } from "../../domain/delivery/RunEnd.ts"

/** The last delivery; the time is epoch milliseconds. */
export interface LastDelivery {
  readonly notificationId: string
  readonly agent: string | null
  readonly outcome: RunEnd["outcome"]
  readonly at: number
  readonly durationMillis: number
}

/** Failures are failed deliveries and failed claims. */
export interface DeliverySummary {
  readonly deliveredCount: number
  readonly successCount: number
  readonly failureCount: number
  readonly consecutiveFailures: number
  /** Failed claims since the last one that was answered. */
  readonly failedClaims: number
  readonly retries: number
  readonly lastErrorAt: number | null
  readonly lastErrorMessage: string | null
  readonly lastDelivery: LastDelivery | null
  readonly inFlight: number
  readonly silences: number
  readonly deadLetters: number
}

/** A delivery that has ended. */
export interface EndedDelivery extends Omit<LastDelivery, "notificationId" | "at"> {
  readonly run: string
  readonly isSilence: boolean
  readonly error: string | null
}

const successes: ReadonlySet<string> = new Set<DeliveryOutcome>(["replied", "acted", "skipped", "fallback"])
const failures: ReadonlySet<string> = new Set<DeliveryOutcome | HeartbeatOutcome>([
  "retrying",
  "dead",
  "given_up",
  "abandoned"
])

/** Whether the outcome counts as a success. */
export const isSuccess = (outcome: RunEnd["outcome"]): boolean => successes.has(outcome)

/** Whether the outcome counts as a failure; some outcomes are neither, for example `stopped`. */
export const isFailure = (outcome: RunEnd["outcome"]): boolean => failures.has(outcome)

/** The summary at the start of the process. */
export const emptySummary: DeliverySummary = {
  deliveredCount: 0,
  successCount: 0,
  failureCount: 0,
  consecutiveFailures: 0,
  failedClaims: 0,
  retries: 0,
  lastErrorAt: null,
  lastErrorMessage: null,
  lastDelivery: null,
  inFlight: 0,
  silences: 0,
  deadLetters: 0
}

export const onStarted = (before: DeliverySummary): DeliverySummary => ({ ...before, inFlight: before.inFlight + 1 })

export const onEnded = (before: DeliverySummary, end: EndedDelivery, at: number): DeliverySummary => {
  const { agent, durationMillis, error, isSilence, outcome, run } = end
  const succeeded = isSuccess(outcome) ? 1 : 0
  const failed = isFailure(outcome) ? 1 : 0
  return {
    ...before,
    deliveredCount: before.deliveredCount + succeeded,
    successCount: before.successCount + succeeded,
    failureCount: before.failureCount + failed,
    consecutiveFailures: isSuccess(outcome) ? before.failedClaims : before.consecutiveFailures + failed,
    retries: before.retries + (outcome === "retrying" ? 1 : 0),
    lastErrorAt: error === null ? before.lastErrorAt : at,
    lastErrorMessage: error ?? before.lastErrorMessage,
    lastDelivery: { notificationId: run, agent, outcome, at, durationMillis },
    inFlight: Math.max(0, before.inFlight - 1),
    silences: before.silences + (isSilence ? 1 : 0),
    deadLetters: before.deadLetters + (outcome === "dead" ? 1 : 0)
  }
}

export const onClaimFailed = (before: DeliverySummary, error: string, at: number): DeliverySummary => ({
  ...before,
  failureCount: before.failureCount + 1,
  consecutiveFailures: before.consecutiveFailures + 1,
  failedClaims: before.failedClaims + 1,
  lastErrorAt: at,
  lastErrorMessage: error
})

export const onClaimAnswered = (before: DeliverySummary): DeliverySummary => ({
  ...before,
  consecutiveFailures: before.consecutiveFailures - before.failedClaims,
  failedClaims: 0
})
