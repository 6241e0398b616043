import { Duration } from "effect"
import type { HeartbeatReport } from "../heartbeats/Heartbeat.ts"
import type { Prompt, TurnPromptOptions } from "../prompt/Prompt.ts"
import type { BrokenRun, Failure, Outcome } from "./Run.ts"
import type { HeartbeatOutcome } from "./RunEnd.ts"
import type { TurnEnd } from "./TurnEnd.ts"
import type { TurnFailure } from "./TurnFailure.ts"

/** A notification ends after a day of nothing but its provider's failures; it waits for an unreachable gateway without limit. */
const SHARED_LIMIT = Duration.hours(24)

/** The notification was delivered. */
export interface Delivered {
  readonly _tag: "Delivered"
  readonly outcome: Outcome
  /** The failure that ended its last try, although no answer was owed. */
  readonly error?: string
}

/** The heartbeat was completed. */
export interface Completed {
  readonly _tag: "Completed"
  readonly outcome: HeartbeatOutcome
  readonly report: HeartbeatReport
  /** Why its text is not posted, for the log. */
  readonly remark?: string
  /** The failure that ended its last try. */
  readonly error?: string
}

/** The attempt failed and counts. The last attempt of a notification gets no retry. */
export interface Failed extends Omit<Failure, "retryInMillis"> {
  readonly _tag: "Failed"
  /** No retry, although attempts are left. */
  readonly isFinal?: boolean
  /** A retry waits at least this long, in milliseconds. */
  readonly minimumMillis?: number
}

/** The attempt failed for a reason that is not the run's, and does not count. */
export interface Released {
  readonly _tag: "Released"
  readonly class: string
  readonly error: string
  /** The retry waits exactly this long, in milliseconds, instead of a backoff of at least `minimumMillis`. */
  readonly exactMillis?: number
  readonly minimumMillis?: number
  /** The backoff does not grow with the failures before: something else paces these retries. */
  readonly isFirstBackoff?: boolean
  /** For how long nothing but such failures may follow one another; without it there is no limit. */
  readonly limit?: Duration.Duration
}

/** What an attempt of a run came to. */
export type Judgement = Delivered | Completed | Failed | Released

/** A turn that failed by the run's own fault or in silence; `error` is redacted. */
export interface FailedTurn {
  readonly class: TurnFailure["_tag"]
  readonly error: string
  readonly isSilence: boolean
  readonly minimumMillis: number
}

/** A run that needs a turn: its text, and how the turn's end is judged. */
export interface TurnPlan {
  readonly _tag: "Turn"
  prompt(options: TurnPromptOptions): Prompt
  judgeEnd(end: TurnEnd): Judgement
  judgeFailure(failure: FailedTurn): Judgement
}

/** A failure of the run's own. */
export const ownFailure = (kind: string, error: string): Failed => ({
  _tag: "Failed",
  class: kind,
  error,
  silence: false
})

/** A failure of the control plane, which says nothing about the run. */
export const controlPlaneFailure = (kind: string, error: string): Released => ({ _tag: "Released", class: kind, error })

/**
 * A failure of the gateway or its provider, which all runs share. While the gateway is down the breaker paces the
 * retries; a wait of the run's own would keep it idle next to a gateway that is back.
 */
export const sharedFailure = (kind: TurnFailure["_tag"], error: string, minimumMillis: number): Released => ({
  _tag: "Released",
  class: kind,
  error,
  minimumMillis,
  ...(kind === "GatewayUnreachable" || kind === "GatewayRestarted" ? { isFirstBackoff: true } : {}),
  ...(kind === "GatewayUnreachable" || kind === "GatewayMisconfigured" ? {} : { limit: SHARED_LIMIT })
})

/** The gateway does not know the agent: its work waits for the delay that the agent has there. */
export const unknownAgent = (slug: string, delayMillis: number): Released => ({
  _tag: "Released",
  class: "UnknownAgent",
  error: `the gateway does not know agent ${slug}: add it to agents.entries of the gateway's configuration`,
  exactMillis: delayMillis,
  limit: SHARED_LIMIT
})

/** A run without a readable context: what is gone needs no answer; what is damaged a later version may read. */
export const judgeBroken = ({ broken, kind }: BrokenRun): Judgement =>
  kind === "notification" && broken.endsWith("_missing")
    ? { _tag: "Delivered", outcome: { outcome: "skipped", turn: "none", reason: broken } }
    : ownFailure("BrokenContext", broken)
