import type { Run } from "./Run.ts"

/** How a delivery can end: the metric's outcome label. */
export const deliveryOutcomes = [
  "replied",
  "acted",
  "skipped",
  "fallback",
  "stopped",
  "retrying",
  "dead",
  "released",
  "lease_lost",
  "abandoned"
] as const
export type DeliveryOutcome = (typeof deliveryOutcomes)[number]

/** How a heartbeat can end: the metric's outcome label. */
export const heartbeatOutcomes = [
  "ok",
  "acted",
  "posted",
  "silent",
  "skipped",
  "stopped",
  "retrying",
  "given_up",
  "released",
  "lease_lost",
  "abandoned"
] as const
export type HeartbeatOutcome = (typeof heartbeatOutcomes)[number]

/** The end of an attempt, for the delivery loop. */
export interface RunEnd {
  readonly kind: Run["kind"]
  /** The agent's slug; null if the context was broken. */
  readonly agent: string | null
  readonly outcome: DeliveryOutcome | HeartbeatOutcome
  readonly error: string | null
  /** False if the outcome could not be stored and the run is abandoned. True also if the lease was lost before. */
  readonly isStored: boolean
  /** Milliseconds until the run's retry or the agent's next heartbeat is due; null if not known. */
  readonly dueInMillis: number | null
}
