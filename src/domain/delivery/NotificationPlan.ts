import { DateTime } from "effect"
import { formatJoinedMessages } from "../prompt/JoinedMessages.ts"
import { formatNotificationMessage } from "../prompt/Prompt.ts"
import { isAnswerOwed, mayDecline } from "./AnswerDuty.ts"
import type { NotificationEvent } from "./DeliveryContext.ts"
import { divideEvents } from "./DeliveryPolicy.ts"
import type { DividedEvents } from "./DeliveryPolicy.ts"
import { withoutToken } from "./EndToken.ts"
import type { Delivered, FailedTurn, Judgement, TurnPlan } from "./Judgement.ts"
import { afterNoResponse } from "./NoResponsePolicy.ts"
import type { AttemptLimits } from "./NoResponsePolicy.ts"
import { afterJoin } from "./Run.ts"
import type { BudgetRefusal, NotificationRun, Outcome } from "./Run.ts"
import { cutReply } from "./Silence.ts"
import type { TurnEnd } from "./TurnEnd.ts"

interface Situation extends DividedEvents {
  readonly run: NotificationRun
  readonly limits: AttemptLimits
  readonly isOwed: boolean
  /** Messages joined the turn, for which this is the first attempt. */
  readonly hasJoined: boolean
}

const delivered = (outcome: Outcome): Delivered => ({ _tag: "Delivered", outcome })

/** Applies the no-response policy; `skipped` is the outcome if nothing more is required of the agent. */
const judgeNoResponse = (
  { isOwed, limits, refused, run }: Situation,
  { class: kind, error, minimumMillis }: Omit<FailedTurn, "isSilence">,
  skipped: Omit<Outcome, "outcome" | "refused">,
  isDeclined = false
): Judgement => {
  const { attempt, silences } = run
  const isAmbiguous = kind === "TurnAmbiguous"
  const verdict = afterNoResponse({ isOwed, isDeclined, isAmbiguous, attempt, silences }, limits)
  if (verdict._tag === "Skip") {
    const end = delivered({ outcome: "skipped", refused, ...skipped })
    return isAmbiguous ? { ...end, error: `${kind}: ${error}` } : end
  }
  return {
    _tag: "Failed",
    class: kind,
    error,
    silence: true,
    refused,
    minimumMillis,
    ...(verdict._tag === "Fallback" ? { isFinal: true } : {}),
    ...(verdict._tag === "AskAgain" && verdict.isInNextGeneration ? { rotate: true } : {})
  }
}

const judgeFailure = (situation: Situation, failure: FailedTurn): Judgement => {
  const { class: kind, error } = failure
  if (failure.isSilence) return judgeNoResponse(situation, failure, { turn: "failed", reason: error })
  const { hasJoined, refused, run } = situation
  const { agent, earlier } = run.context
  if (kind === "TurnStopped") {
    const note = `${agent.name} was stopped in OpenClaw. Changes that its tools made until then stay.`
    return delivered({ outcome: "stopped", turn: "failed", note, reason: error, refused })
  }
  const last = hasJoined ? null : earlier.lastError
  // A new generation has no history, so its overflow is caused by the request itself.
  if (kind === "ContextOverflow") {
    return { _tag: "Failed", class: kind, error, silence: false, rotate: true, isFinal: last?.class === kind }
  }
  const isRepeated = kind === "TurnRefused" && last?.class === kind && last.message === error
  return { _tag: "Failed", class: kind, error, silence: false, isFinal: isRepeated }
}

/** The note in the thread after a budget stopped a turn: why, until when, what was done, and the agent's last text. */
const stopNote = (
  { context: { agent, earlier } }: NotificationRun,
  { effects, spoken }: TurnEnd,
  { reason, until }: BudgetRefusal
): string => {
  const done = new Set([...effects, ...earlier.effects.map(({ tool }) => tool)])
  const when = until === null ? "until the budget is raised" : `until ${DateTime.formatIso(DateTime.makeUnsafe(until))}`
  const words = spoken._tag === "Text" ? `\n\n${withoutToken(spoken.text)}` : ""
  return cutReply(
    `${agent.name} was stopped: ${reason}, ${when}. Done: ${done.size === 0 ? "nothing" : [...done].join(", ")}.${words}`
  )
}

const judgeEnd = (situation: Situation, end: TurnEnd): Judgement => {
  const { effects, isHistoryLong, isTruncated, requestTokens, spoken, stoppedBy } = end
  const { accepted, isOwed, refused, run } = situation
  if (stoppedBy !== undefined) {
    const note = stopNote(run, end, stoppedBy)
    return delivered({ outcome: "stopped", turn: "failed", note, reason: stoppedBy.reason, refused })
  }
  const spent = {
    turn: "answered",
    ...(requestTokens === undefined ? {} : { requestTokens }),
    ...(isHistoryLong === true ? { isHistoryLong } : {})
  } as const
  if (spoken._tag === "Text") {
    return delivered({
      outcome: "replied",
      ...spent,
      reply: cutReply(withoutToken(spoken.text)),
      refused,
      ...(isTruncated ? { truncated: true } : {})
    })
  }
  const { agent, earlier } = run.context
  const done = new Set([...effects, ...earlier.effects.map(({ tool }) => tool)])
  if (done.size > 0) {
    const note = `${agent.name} ended without a text. Done: ${[...done].join(", ")}.`
    return delivered({ outcome: "acted", ...spent, refused, ...(isOwed ? { note } : {}) })
  }
  const isToken = spoken._tag === "NothingToAdd"
  const reason = isToken ? spoken.token : spoken.reason
  const error = `the agent ended its turn with ${reason} although an answer is owed`
  const silence = { class: "TurnSilent", error, minimumMillis: 0 } as const
  return judgeNoResponse(situation, silence, { ...spent, reason }, isToken && mayDecline(accepted))
}

/**
 * The plan with messages that joined the turn. The policy is not asked for them: it could refuse them only because of a
 * status of the task that is older than the message.
 */
const planWith = (situation: Situation, joined: ReadonlyArray<NotificationEvent>): TurnPlan => {
  const accepted = [...situation.accepted, ...joined]
  const run = afterJoin(situation.run)
  return turnPlan({ ...situation, run, accepted, isOwed: isAnswerOwed(accepted), hasJoined: true })
}

const turnPlan = (situation: Situation): TurnPlan => {
  const { accepted, run } = situation
  const { attempt, context } = run
  return {
    _tag: "Turn",
    prompt: (options) => formatNotificationMessage(context, { ...options, accepted, attempt }),
    judgeEnd: (end) => judgeEnd(situation, end),
    judgeFailure: (failure) => judgeFailure(situation, failure),
    joining: {
      text: (joined) => formatJoinedMessages(context, accepted, joined),
      planWith: (joined) => planWith(situation, joined)
    }
  }
}

/** Plans a notification: a turn for the events that the policy accepts, or none if it refuses all. */
export const planNotification = (run: NotificationRun, limits: AttemptLimits): TurnPlan | Judgement => {
  const { context } = run
  const { accepted, refused } = divideEvents(context)
  if (accepted.length === 0) {
    return delivered({ outcome: "skipped", turn: "none", reason: refused[0]?.reason ?? "no events", refused })
  }
  return turnPlan({ run, limits, accepted, refused, isOwed: isAnswerOwed(accepted), hasJoined: false })
}
