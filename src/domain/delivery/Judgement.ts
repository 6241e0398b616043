import { Duration } from "effect"
import type { HeartbeatReport } from "../heartbeats/Heartbeat.ts"
import type { Prompt, TurnPromptOptions } from "../prompt/Prompt.ts"
import type { NotificationEvent } from "./DeliveryContext.ts"
import type { BrokenRun, Failure, Outcome } from "./Run.ts"
import type { HeartbeatOutcome } from "./RunEnd.ts"
import type { TurnEnd } from "./TurnEnd.ts"
import type { TurnFailure } from "./TurnFailure.ts"

/** A notification ends after a day of provider failures only. For an unreachable gateway it waits without limit. */
const SHARED_LIMIT = Duration.hours(24)

/** The notification was delivered. */
export interface Delivered {
  readonly _tag: "Delivered"
  readonly outcome: Outcome
  /** The failure of its last attempt, which ended it because no answer was owed. */
  readonly error?: string
}

/** The heartbeat was completed. */
export interface Completed {
  readonly _tag: "Completed"
  readonly outcome: HeartbeatOutcome
  readonly report: HeartbeatReport
  /** For the log: why its text is not posted. */
  readonly remark?: string
  /** The failure of its last attempt. */
  readonly error?: string
}

/** The attempt failed and counts. There is no retry after the last attempt of a notification. */
export interface Failed extends Omit<Failure, "retryInMillis"> {
  readonly _tag: "Failed"
  /** No retry even if attempts are left. */
  readonly isFinal?: boolean
  /** Minimum delay of a retry in milliseconds. */
  readonly minimumMillis?: number
}

/** The attempt failed for a reason outside the run and does not count. */
export interface Released {
  readonly _tag: "Released"
  readonly class: string
  readonly error: string
  /** The exact delay of the retry in milliseconds, instead of a backoff of at least `minimumMillis`. */
  readonly exactMillis?: number
  readonly minimumMillis?: number
  /** The backoff does not grow with earlier failures, because the breaker paces these retries. */
  readonly isFirstBackoff?: boolean
  /** How long such failures alone may continue in milliseconds; absent means without limit. */
  readonly limit?: Duration.Duration
}

/** The result of an attempt. */
export type Judgement = Delivered | Completed | Failed | Released

/** A failure of the turn that counts as the run's own, or a silence; `error` is redacted. */
export interface FailedTurn {
  readonly class: TurnFailure["_tag"]
  readonly error: string
  readonly isSilence: boolean
  readonly minimumMillis: number
}

/** A run that needs a turn: its prompt, and how its end is judged. */
export interface TurnPlan {
  readonly _tag: "Turn"
  prompt(options: TurnPromptOptions): Prompt
  judgeEnd(end: TurnEnd): Judgement
  judgeFailure(failure: FailedTurn): Judgement
  /** How people's messages join the turn; absent for heartbeats. */
  readonly joining?: {
    /** The text for the agent. */
    text(joined: ReadonlyArray<NotificationEvent>): string
    /** The plan that judges the end of the turn with these messages in its request. */
    planWith(joined: ReadonlyArray<NotificationEvent>): TurnPlan
  }
}

/** A failure of the run's own. */
export const ownFailure = (kind: string, error: string): Failed => ({
  _tag: "Failed",
  class: kind,
  error,
  silence: false
})

/** A failure of the control plane, for which the run is not responsible. */
export const controlPlaneFailure = (kind: string, error: string): Released => ({ _tag: "Released", class: kind, error })

/**
 * A failure of the gateway or its provider, which all runs share. While the gateway is down the breaker paces the
 * retries. A growing backoff would delay the run after the gateway has recovered.
 */
export const sharedFailure = (kind: TurnFailure["_tag"], error: string, minimumMillis: number): Released => ({
  _tag: "Released",
  class: kind,
  error,
  minimumMillis,
  ...(kind === "GatewayUnreachable" || kind === "GatewayRestarted" ? { isFirstBackoff: true } : {}),
  ...(kind === "GatewayUnreachable" || kind === "GatewayMisconfigured" ? {} : { limit: SHARED_LIMIT })
})

/** The gateway does not know the agent. Its work waits for that agent's present delay. */
export const unknownAgent = (slug: string, delayMillis: number): Released => ({
  _tag: "Released",
  class: "UnknownAgent",
  error: `the gateway does not know agent ${slug}: add it to agents.entries of the gateway's configuration`,
  exactMillis: delayMillis,
  limit: SHARED_LIMIT
})

/**
 * A run without a readable context. If its task or agent was removed, no answer is needed; otherwise a later version
 * may be able to read it.
 */
export const judgeBroken = ({ broken, kind }: BrokenRun): Judgement =>
  kind === "notification" && broken.endsWith("_missing")
    ? { _tag: "Delivered", outcome: { outcome: "skipped", turn: "none", reason: broken } }
    : ownFailure("BrokenContext", broken)
