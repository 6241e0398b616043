import type { Completed, FailedTurn, Judgement, TurnPlan } from "../delivery/Judgement.ts"
import type { HeartbeatRun } from "../delivery/Run.ts"
import type { HeartbeatOutcome } from "../delivery/RunEnd.ts"
import { cutReply } from "../delivery/Silence.ts"
import type { TurnEnd } from "../delivery/TurnEnd.ts"
import { isOnEarlierDay } from "../shared/SessionKey.ts"
import type { HeartbeatReport, HeartbeatTask } from "./Heartbeat.ts"
import { followUpsOf } from "./HeartbeatFollowUps.ts"
import { formatHeartbeatMessage } from "./HeartbeatPrompt.ts"
import { focusTaskOf, readHeartbeatReply } from "./HeartbeatReply.ts"

const completed = (
  { context: { agent, tasks } }: HeartbeatRun,
  outcome: HeartbeatOutcome,
  more: { readonly message?: NonNullable<HeartbeatReport["message"]>; readonly remark?: string } = {}
): Completed => {
  const [first] = tasks
  const current = !agent.isOrchestrator && first?.task.status === "in_progress" ? first.task.id : null
  const { message, remark } = more
  return {
    _tag: "Completed",
    outcome,
    report: {
      status: current === null ? "idle" : "busy",
      currentTaskId: current,
      ...(message === undefined ? {} : { message })
    },
    ...(remark === undefined ? {} : { remark })
  }
}

const judgeEnd = (run: HeartbeatRun, followUps: ReadonlyArray<HeartbeatTask>, end: TurnEnd): Judgement => {
  const { earlier, tasks } = run.context
  if (end.stoppedBy !== undefined) return completed(run, "stopped", { remark: `stopped: ${end.stoppedBy.reason}` })
  const reply = readHeartbeatReply(end.spoken)
  const hasActed = end.effects.length > 0 || earlier.effects.length > 0
  switch (reply._tag) {
    case "Ok": {
      const remark = "the heartbeat ended with HEARTBEAT_OK and a short remark, which is not posted"
      return completed(run, hasActed ? "acted" : "ok", reply.isStray ? { remark } : {})
    }
    case "Silent":
      return completed(run, hasActed ? "acted" : "silent")
    case "Text": {
      const focus = focusTaskOf(reply.text, [...followUps, ...tasks])
      if (focus === null) {
        return completed(run, hasActed ? "acted" : "ok", {
          remark: "there is no task in whose thread the heartbeat's text could be posted"
        })
      }
      return completed(run, "posted", {
        message: {
          taskId: focus.task.id,
          content: cutReply(reply.text),
          ...(end.isTruncated ? { truncated: true } : {})
        }
      })
    }
  }
}

const judgeFailure = (run: HeartbeatRun, failure: FailedTurn): Judgement => {
  const { class: kind, error, isSilence, minimumMillis } = failure
  if (kind === "TurnStopped") return completed(run, "stopped", { remark: `stopped: ${error}` })
  if (kind === "ContextOverflow") return { _tag: "Failed", class: kind, error, silence: false, rotate: true }
  // A heartbeat owes no answer, so it gets a second attempt only if the gateway does not say what happened.
  if (isSilence && kind !== "TurnAmbiguous") return completed(run, "silent")
  return isSilence && run.failures > 0
    ? { ...completed(run, "silent"), error: `${kind}: ${error}` }
    : { _tag: "Failed", class: kind, error, silence: isSilence, minimumMillis }
}

/**
 * Whether the agent has nothing to do: no open task and no briefing, or no changes. The first heartbeat of an agent and
 * of each day (UTC), those by a cron expression and those with a due follow-up always count as work. A follow-up
 * becomes due by the passing of time, which `isUnchanged` does not show.
 */
const isIdle = (
  { context: { briefing, heartbeat, isUnchanged, tasks } }: HeartbeatRun,
  followUps: ReadonlyArray<HeartbeatTask>,
  now: number
): boolean => {
  const { lastHeartbeatAt, schedule } = heartbeat
  const isFirst = lastHeartbeatAt === null || isOnEarlierDay(lastHeartbeatAt, now)
  if (isFirst || typeof schedule === "string" || followUps.length > 0) return false
  return isUnchanged || (tasks.length === 0 && (briefing ?? "").trim() === "")
}

/** Plans a heartbeat: a turn, or none if its agent has nothing to do. `now` is the control plane's time. */
export const planHeartbeat = (
  run: HeartbeatRun,
  { now, skipsIdle }: { readonly now: number; readonly skipsIdle: boolean }
): TurnPlan | Judgement => {
  const { context } = run
  const followUps = followUpsOf(context, now)
  if (skipsIdle && isIdle(run, followUps, now)) return completed(run, "skipped")
  return {
    _tag: "Turn",
    prompt: (options) => formatHeartbeatMessage(context, { ...options, attempt: run.attempt, followUps, now }),
    judgeEnd: (end) => judgeEnd(run, followUps, end),
    judgeFailure: (failure) => judgeFailure(run, failure)
  }
}
