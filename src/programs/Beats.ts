import { Clock, Context, Effect, Layer, Option, Redacted } from "effect"
import type { BeatReport, BeatTask, ClaimedBeat } from "../domain/Heartbeat.ts"
import { nextCronMoment } from "../domain/HeartbeatCadence.ts"
import { followUpsOf } from "../domain/HeartbeatFollowUps.ts"
import { formatHeartbeatMessage } from "../domain/HeartbeatPrompt.ts"
import { focusTaskOf, readBeatReply } from "../domain/HeartbeatReply.ts"
import { cutReply } from "../domain/Silence.ts"
import { isTurnFailure } from "../domain/TurnFailure.ts"
import type { TurnFailure } from "../domain/TurnFailure.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { Metrics } from "../layers/Metrics.ts"
import type { BeatEnd } from "../layers/Metrics.ts"
import { Redactor } from "../layers/Redactor.ts"
import { Telemetry } from "../layers/Telemetry.ts"
import { buildHttpCapabilityLabels, describeHttpTools } from "../services/AgentTools.ts"
import { ControlPlane } from "../services/ControlPlane.ts"
import { makeFailureStreak } from "../services/FailureStreak.ts"
import { GatewayGuard } from "../services/GatewayGuard.ts"
import { LiveRuns } from "../services/LiveRuns.ts"
import { Runs } from "../services/Runs.ts"
import type { Attempt, ClaimTimes } from "../services/Runs.ts"
import type { RunContext } from "../services/tools/AgentTool.ts"
import { Turns } from "../services/Turns.ts"
import type { Turn, TurnEnd } from "../services/Turns.ts"

/** How a heartbeat came to its end, in how many milliseconds to ask for the next, and whether its session has work. */
export interface BeatResult {
  readonly outcome: BeatEnd
  readonly error: string | null
  readonly nextInMillis: number
  /** Also where it is not known. */
  readonly hasWork: boolean
}

const unfinished = (outcome: BeatEnd, error: string, nextInMillis = 0): BeatResult => ({
  outcome,
  error,
  nextInMillis,
  hasWork: true
})

/** One heartbeat from its claim to its end: prompt, turn, what is posted; the lease is renewed beside it. */
export class Beats extends Context.Service<
  Beats,
  {
    /** Never fails: every way to go wrong is an outcome, and what is left unsaid the lease's expiry says. */
    run(beat: ClaimedBeat, times?: ClaimTimes): Effect.Effect<BeatResult>
  }
>()("runtime-service/programs/Beats") {
  static readonly layer = Layer.effect(
    Beats,
    Effect.gen(function* () {
      const config = yield* RuntimeConfig
      const controlPlane = yield* ControlPlane
      const turns = yield* Turns
      const liveRuns = yield* LiveRuns
      const guard = yield* GatewayGuard
      const metrics = yield* Metrics
      const redactor = yield* Redactor
      const runs = yield* Runs
      const telemetry = yield* Telemetry

      /** Ends the beat well; a post that the control plane refuses, since the task moved on, is left away. */
      const finish = Effect.fnUntraced(function* (
        beat: ClaimedBeat,
        outcome: BeatEnd,
        message?: NonNullable<BeatReport["message"]>
      ) {
        const { agent, heartbeat, tasks } = beat.context
        const [first] = tasks
        const current = !agent.isOrchestrator && first?.task.status === "in_progress" ? first.task.id : null
        const nextDueAt =
          typeof heartbeat.schedule === "string"
            ? Option.getOrUndefined(
                nextCronMoment(heartbeat.schedule, Math.max(heartbeat.dueAt, yield* controlPlane.now))
              )
            : undefined
        const report: BeatReport = {
          status: current === null ? "idle" : "busy",
          currentTaskId: current,
          ...(nextDueAt === undefined ? {} : { nextDueAt })
        }
        const withMessage = message === undefined ? report : { ...report, message }
        const { dueAt, hasWork, now } = yield* controlPlane.updateAgentHeartbeat(beat, withMessage).pipe(
          Effect.catchIf(
            (failure) => failure._tag === "ControlPlaneRefused" && message !== undefined,
            (failure) =>
              Effect.logWarning(
                `the heartbeat's text could not be posted: ${"detail" in failure ? failure.detail : failure._tag}`
              ).pipe(Effect.andThen(controlPlane.updateAgentHeartbeat(beat, { ...report, currentTaskId: null })))
          )
        )
        return { outcome, error: null, nextInMillis: dueAt - now, hasWork } satisfies BeatResult
      })

      const failOwn = Effect.fnUntraced(function* (
        beat: ClaimedBeat,
        kind: string,
        detail: string,
        leastMillis = 0,
        silence = false
      ) {
        const error = redactor.error(detail)
        const retryInMillis = Math.max(leastMillis, yield* runs.backoff(beat.context.failures + 1))
        const state = yield* controlPlane.fail(beat, { class: kind, error, silence, retryInMillis })
        return state === "waiting"
          ? unfinished("waiting", `${kind}: ${error}`, retryInMillis)
          : unfinished("given_up", `${kind}: ${error}`)
      })

      const failShared = Effect.fnUntraced(function* (
        beat: ClaimedBeat,
        kind: string,
        detail: string,
        leastMillis: number
      ) {
        const error = redactor.error(detail)
        const retryInMillis = Math.max(leastMillis, yield* runs.backoff(beat.context.earlier.attempts + 1))
        yield* controlPlane.release(beat, { retryInMillis, class: kind, error })
        return unfinished("waiting", `${kind}: ${error}`, retryInMillis)
      })

      const onTurnFailure = Effect.fnUntraced(function* (beat: ClaimedBeat, failure: TurnFailure) {
        const { blame, leastMillis } = yield* runs.judge(failure, beat.context.agent.id)
        if (blame === "shared") return yield* failShared(beat, failure._tag, failure.detail, leastMillis)
        if (blame === "own") return yield* failOwn(beat, failure._tag, failure.detail)
        // Nobody waits for a heartbeat: one second try where the gateway does not say what happened.
        return failure._tag === "TurnAmbiguous" && beat.context.failures === 0
          ? yield* failOwn(beat, failure._tag, failure.detail, leastMillis, true)
          : yield* finish(beat, "silent")
      })

      const onTurnEnd = Effect.fnUntraced(function* (
        beat: ClaimedBeat,
        followUps: ReadonlyArray<BeatTask>,
        end: TurnEnd
      ) {
        yield* guard.completed
        const reply = readBeatReply(end.spoken)
        const hasActed = end.effects.length > 0 || beat.context.earlier.effects.length > 0
        if (reply._tag === "Ok") {
          if (reply.isStray) {
            yield* Effect.logInfo("the heartbeat's text holds HEARTBEAT_OK among other words: taken for OK, not posted")
          }
          return yield* finish(beat, hasActed ? "acted" : "ok")
        }
        if (reply._tag === "Silent") return yield* finish(beat, hasActed ? "acted" : "silent")
        const offered = [...followUps, ...beat.context.tasks]
        const focus = focusTaskOf(reply.text, offered)
        if (focus === null) {
          yield* Effect.logInfo("the heartbeat's text belongs to no task: not posted")
          return yield* finish(beat, hasActed ? "acted" : "ok")
        }
        const content = cutReply(redactor.redact(reply.text))
        const truncated = end.isTruncated ? { truncated: true } : {}
        return yield* finish(beat, "posted", { taskId: focus.task.id, content, ...truncated })
      })

      const beatUnderLease = Effect.fn("Beats.work")(function* (beat: ClaimedBeat) {
        const { context } = beat
        const now = yield* controlPlane.now
        const followUps = followUpsOf(context, now)
        // Time alone makes a follow-up due, which the digest of what changed does not know.
        if (config.heartbeatSkipUnchanged && context.isUnchanged && followUps.length === 0) {
          return yield* finish(beat, "unchanged")
        }
        const run: Turn["context"] & RunContext = {
          agent: context.agent,
          task: null,
          sessionKey: context.sessionKey,
          notification: { id: beat.heartbeatId },
          heartbeat: { taskIds: context.tasks.map(({ task }) => task.id) },
          earlier: context.earlier
        }
        const live = yield* liveRuns.open({ context: run, fence: beat })
        const prompt = formatHeartbeatMessage(context, {
          attempt: beat.attempt,
          boundary: yield* runs.boundary,
          capabilities: buildHttpCapabilityLabels(run),
          followUps,
          now,
          ...(config.clientToolsEnabled
            ? {}
            : {
                httpTools: describeHttpTools(run, {
                  baseUrl: config.taskStatusBaseUrl,
                  capability: Redacted.value(live.capability)
                })
              })
        })
        const { createdTaskIds, httpEffects } = live
        return yield* turns.run({ context: run, fence: beat, prompt, createdTaskIds, httpEffects }).pipe(
          Effect.ensuring(live.end),
          Effect.flatMap((end) => onTurnEnd(beat, followUps, end)),
          Effect.catchIf(isTurnFailure, (failure) => onTurnFailure(beat, failure))
        )
      })

      const failing = makeFailureStreak()
      const describeEnd = ({ error, outcome }: BeatResult) => {
        const message = `heartbeat ${outcome}${error === null ? "" : `: ${error}`}`
        if (error !== null) return failing.isFirst(error) ? Effect.logWarning(message) : Effect.logDebug(message)
        return Effect.andThen(
          outcome === "posted" || outcome === "acted" ? Effect.logInfo(message) : Effect.logDebug(message),
          failing.recovered("heartbeats end well again")
        )
      }

      const run = Effect.fn("Beats.run")(function* (beat: ClaimedBeat) {
        const { agent, heartbeat } = beat.context
        const startedAt = yield* Clock.currentTimeMillis
        yield* metrics.heartbeatStarted(
          { run: beat.heartbeatId, agent: agent.slug, agentName: agent.name, task: null, attempt: beat.attempt },
          (yield* controlPlane.now) - heartbeat.dueAt
        )
        const ended = Effect.fnUntraced(function* (end: Pick<BeatResult, "outcome" | "error">) {
          yield* metrics.heartbeatEnded(end.outcome, {
            run: beat.heartbeatId,
            agent: agent.slug,
            error: end.error,
            durationMillis: (yield* Clock.currentTimeMillis) - startedAt
          })
          if (telemetry.isOn) yield* runs.told(end)
        })
        const settling = {
          own: (kind: string, detail: string) => failOwn(beat, kind, detail),
          shared: (kind: string, detail: string) => failShared(beat, kind, detail, 0),
          unwritten: unfinished
        }
        const end = yield* runs
          .underLease({ noun: "heartbeat", fence: beat, settling }, Effect.scoped(beatUnderLease(beat)))
          .pipe(Effect.onInterrupt(() => ended({ outcome: "released", error: null })))
        yield* ended(end)
        yield* describeEnd(end).pipe(
          Effect.annotateLogs({ durationMillis: (yield* Clock.currentTimeMillis) - startedAt })
        )
        return end
      })

      const attemptOf = (beat: ClaimedBeat, times?: ClaimTimes): Attempt => ({
        noun: "heartbeat",
        runId: beat.heartbeatId,
        attempt: beat.attempt,
        agent: beat.context.agent,
        sessionKey: beat.context.sessionKey,
        times,
        previous: beat.context.earlier.trace,
        attributes: () => ({
          "mission_control.failures": beat.context.failures,
          "mission_control.queue.wait_ms":
            times === undefined ? undefined : Math.max(0, times.claimedThere - beat.context.heartbeat.dueAt)
        })
      })

      return Beats.of({
        run: (beat, times) => runs.asAttempt(attemptOf(beat, times), run(beat) as Effect.Effect<BeatResult>)
      })
    })
  )
}
