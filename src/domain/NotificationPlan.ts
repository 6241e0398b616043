import { isAnswerOwed } from "./AnswerDuty.ts"
import { divideEvents } from "./DeliveryPolicy.ts"
import type { DividedEvents } from "./DeliveryPolicy.ts"
import type { Delivered, FailedTurn, Judgement, TurnPlan } from "./Judgement.ts"
import { formatNotificationMessage } from "./Prompt.ts"
import type { NotificationRun, Outcome } from "./Run.ts"
import { cutReply } from "./Silence.ts"
import type { TurnEnd } from "./TurnEnd.ts"

/** How often a notification may be tried. */
export interface AttemptLimits {
  readonly maxAttempts: number
  /** At this many silences the control plane posts the fallback. */
  readonly silenceLimit: number
}

interface Situation extends DividedEvents {
  readonly run: NotificationRun
  readonly limits: AttemptLimits
  readonly isOwed: boolean
}

const delivered = (outcome: Outcome): Delivered => ({ _tag: "Delivered", outcome })

/** Whether the try after this silence is the last before the fallback: a session that overflowed stays silent. */
const isNextTryLast = ({ limits: { maxAttempts, silenceLimit }, run: { attempt, silences } }: Situation): boolean =>
  silences + 2 === silenceLimit || (silences + 2 < silenceLimit && attempt + 1 === maxAttempts)

const judgeSilence = (situation: Situation, failure: FailedTurn): Judgement => {
  const { isOwed, limits, refused, run } = situation
  const isAmbiguous = failure.class === "TurnAmbiguous"
  // Without a duty to answer, one more try where the gateway does not say what happened.
  if (!isOwed && (!isAmbiguous || run.attempt >= limits.maxAttempts || run.silences > 0)) {
    const skipped = delivered({ outcome: "skipped", reason: failure.error, refused })
    return isAmbiguous ? { ...skipped, error: `${failure.class}: ${failure.error}` } : skipped
  }
  return {
    _tag: "Failed",
    class: failure.class,
    error: failure.error,
    silence: true,
    refused,
    isAnswerOwed: isOwed,
    minimumMillis: failure.minimumMillis,
    ...(isAmbiguous && isOwed && isNextTryLast(situation) ? { rotate: true } : {})
  }
}

const judgeFailure = (situation: Situation, failure: FailedTurn): Judgement => {
  if (failure.isSilence) return judgeSilence(situation, failure)
  const last = situation.run.context.earlier.lastError
  const isRepeated = failure.class === "TurnRefused" && last?.class === failure.class && last.message === failure.error
  return { _tag: "Failed", class: failure.class, error: failure.error, silence: false, isFinal: isRepeated }
}

const judgeEnd = (situation: Situation, { effects, isTruncated, spoken, usage }: TurnEnd): Judgement => {
  const { isOwed, refused, run } = situation
  if (spoken._tag === "Text") {
    return delivered({
      outcome: "replied",
      reply: cutReply(spoken.text),
      refused,
      usage,
      ...(isTruncated ? { truncated: true } : {})
    })
  }
  const { agent, earlier } = run.context
  const done = new Set([...effects, ...earlier.effects.map(({ tool }) => tool)])
  if (done.size > 0) {
    const note = `${agent.name} ended without a text. Done: ${[...done].join(", ")}.`
    return delivered({ outcome: "acted", refused, usage, ...(isOwed ? { note } : {}) })
  }
  const reason = spoken._tag === "NothingToAdd" ? spoken.token : spoken.reason
  if (!isOwed) return delivered({ outcome: "skipped", reason, refused, usage })
  return judgeSilence(situation, {
    class: "TurnSilent",
    error: `the agent ended its turn with ${reason} although an answer is owed`,
    isSilence: true,
    minimumMillis: 0
  })
}

/** What a notification needs: a turn for the events that the policy accepts, or none if it refuses all. */
export const planNotification = (run: NotificationRun, limits: AttemptLimits): TurnPlan | Judgement => {
  const { context } = run
  const { accepted, refused } = divideEvents(context)
  if (accepted.length === 0) {
    return delivered({ outcome: "skipped", reason: refused[0]?.reason ?? "no events", refused })
  }
  const situation: Situation = { run, limits, accepted, refused, isOwed: isAnswerOwed(accepted) }
  return {
    _tag: "Turn",
    prompt: (options) => formatNotificationMessage(context, { ...options, accepted, attempt: run.attempt }),
    judgeEnd: (end) => judgeEnd(situation, end),
    judgeFailure: (failure) => judgeFailure(situation, failure)
  }
}
