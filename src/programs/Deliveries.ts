import { Cause, Clock, Context, Duration, Effect, Layer, Redacted } from "effect"
import { isAnswerOwed } from "../domain/AnswerDuty.ts"
import { LeaseLost } from "../domain/ControlPlaneFailure.ts"
import type { ClaimedDelivery, Failure, Outcome } from "../domain/Delivery.ts"
import type { DeliveryContext, FoldedNotification } from "../domain/DeliveryContext.ts"
import { divideFold } from "../domain/DeliveryPolicy.ts"
import { formatNotificationMessage } from "../domain/Prompt.ts"
import { cutReply } from "../domain/Silence.ts"
import { nextStatusesFor } from "../domain/TaskStatus.ts"
import { isTurnFailure, TurnSilent } from "../domain/TurnFailure.ts"
import type { TurnFailure } from "../domain/TurnFailure.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { Metrics } from "../layers/Metrics.ts"
import type { DeliveryEnd } from "../layers/Metrics.ts"
import { Redactor } from "../layers/Redactor.ts"
import { Telemetry } from "../layers/Telemetry.ts"
import { buildHttpCapabilityLabels, describeHttpTools } from "../services/AgentTools.ts"
import { ControlPlane } from "../services/ControlPlane.ts"
import type { ContextOrBroken } from "../services/ControlPlane.ts"
import { makeFailureStreak } from "../services/FailureStreak.ts"
import { GatewayGuard } from "../services/GatewayGuard.ts"
import { LiveRuns } from "../services/LiveRuns.ts"
import { Runs } from "../services/Runs.ts"
import type { Attempt, ClaimTimes } from "../services/Runs.ts"
import { Turns } from "../services/Turns.ts"
import type { TurnEnd } from "../services/Turns.ts"

/** A day of nothing but a provider's failures ends a notification; an unreachable gateway is waited for without end. */
const PROVIDER_LIMIT = Duration.hours(24)
/** How one delivery came to its end. */
interface Ended {
  readonly outcome: DeliveryEnd
  readonly error: string | null
  readonly silence: boolean
}

const ended = (outcome: DeliveryEnd, error: string | null = null, silence = false): Ended => ({
  outcome,
  error,
  silence
})

/** One delivery from its claim to its end: policy, prompt, turn, outcome; the lease is renewed beside it. */
export class Deliveries extends Context.Service<
  Deliveries,
  {
    /** Never fails: every way to go wrong is an outcome, and what is left unsaid the lease's expiry says. */
    deliver(delivery: ClaimedDelivery, context: ContextOrBroken, times?: ClaimTimes): Effect.Effect<void>
  }
>()("runtime-service/programs/Deliveries") {
  static readonly layer = Layer.effect(
    Deliveries,
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

      const complete = Effect.fnUntraced(function* (delivery: ClaimedDelivery, outcome: Outcome) {
        const { reason } = outcome
        // It may be the gateway's words.
        const told = reason === undefined ? outcome : { ...outcome, reason: redactor.error(reason) }
        yield* controlPlane.complete(delivery, told)
        return ended(outcome.outcome)
      })

      const fail = Effect.fnUntraced(function* (
        delivery: ClaimedDelivery,
        failure: Failure,
        { isRequired }: { readonly isRequired: boolean } = { isRequired: true }
      ) {
        const error = redactor.error(failure.error)
        const state = yield* controlPlane.fail(delivery, { ...failure, error })
        // At the silence limit the control plane posts the fallback where an answer was owed, and skips the row elsewhere.
        const outcome = state === "delivered" ? (isRequired ? "fallback" : "skipped") : state
        return ended(outcome, `${failure.class}: ${error}`, failure.silence)
      })

      /** A failure of the notification's own: another try after its backoff, unless this was the last. */
      const failOwn = Effect.fnUntraced(function* (
        delivery: ClaimedDelivery,
        kind: string,
        error: string,
        isFinal = false
      ) {
        const isLast = isFinal || delivery.attempt >= config.deliveryMaxAttempts
        const retry = isLast ? {} : { retryInMillis: yield* runs.backoff(delivery.failures + 1) }
        return yield* fail(delivery, { class: kind, error, silence: false, ...retry })
      })

      const failShared = Effect.fnUntraced(function* (
        delivery: ClaimedDelivery,
        kind: string,
        detail: string,
        options: { readonly leastMillis?: number; readonly limit?: Duration.Duration }
      ) {
        const error = redactor.error(detail)
        const retryInMillis = Math.max(options.leastMillis ?? 0, yield* runs.backoff(delivery.failures + 1))
        const state = yield* controlPlane.release(delivery, {
          retryInMillis,
          class: kind,
          error,
          ...(options.limit === undefined ? {} : { limit: options.limit })
        })
        return ended(state === "dead" ? "dead" : "waiting", `${kind}: ${error}`)
      })

      /** Whether after this silence one try is left before the fallback: an overflowed session would be silent for ever. */
      const isNextTryLast = ({ attempt, silences }: ClaimedDelivery): boolean =>
        silences + 2 === config.noResponseLimit ||
        (silences + 2 < config.noResponseLimit && attempt + 1 === config.deliveryMaxAttempts)

      const onTurnFailure = Effect.fnUntraced(function* (
        delivery: ClaimedDelivery,
        context: DeliveryContext,
        accepted: ReadonlyArray<FoldedNotification>,
        refused: NonNullable<Outcome["refused"]>,
        failure: TurnFailure
      ) {
        const { blame, leastMillis } = yield* runs.judge(failure, context.agent.id)
        if (blame === "shared") {
          const isEndless = failure._tag === "GatewayUnreachable" || failure._tag === "GatewayMisconfigured"
          return yield* failShared(delivery, failure._tag, failure.detail, {
            leastMillis,
            ...(isEndless ? {} : { limit: PROVIDER_LIMIT })
          })
        }
        if (blame === "own") {
          const last = context.earlier.lastError
          const isRepeated =
            failure._tag === "TurnRefused" &&
            last?.class === failure._tag &&
            last.message === redactor.error(failure.detail)
          return yield* failOwn(delivery, failure._tag, failure.detail, isRepeated)
        }
        const isAmbiguous = failure._tag === "TurnAmbiguous"
        const isLast = delivery.attempt >= config.deliveryMaxAttempts
        if (!isAnswerOwed(accepted) && (!isAmbiguous || isLast || delivery.silences > 0)) {
          return yield* complete(delivery, { outcome: "skipped", reason: failure.detail, refused })
        }
        const retryInMillis = Math.max(leastMillis, yield* runs.backoff(delivery.failures + 1))
        const silence: Failure = {
          class: failure._tag,
          error: failure.detail,
          silence: true,
          refused,
          // Without a retry the control plane ends it: at the silence limit by the fallback, before it as a dead letter.
          ...(isLast ? {} : { retryInMillis }),
          ...(isAmbiguous && isAnswerOwed(accepted) && isNextTryLast(delivery) ? { rotate: true } : {})
        }
        return yield* fail(delivery, silence, context.notification)
      })

      const onTurnEnd = Effect.fnUntraced(function* (
        delivery: ClaimedDelivery,
        context: DeliveryContext,
        accepted: ReadonlyArray<FoldedNotification>,
        refused: NonNullable<Outcome["refused"]>,
        end: TurnEnd
      ) {
        yield* guard.completed
        const { effects, spoken, usage } = end
        const owed = isAnswerOwed(accepted)
        if (spoken._tag === "Text") {
          return yield* complete(delivery, {
            outcome: "replied",
            reply: cutReply(redactor.redact(spoken.text)),
            refused,
            usage,
            ...(end.isTruncated ? { truncated: true } : {})
          })
        }
        const done = [...effects, ...context.earlier.effects.map((effect) => effect.tool)]
        if (done.length > 0) {
          return yield* complete(delivery, {
            outcome: "acted",
            refused,
            usage,
            ...(owed
              ? { note: `${context.agent.name} ended without a text. Done: ${[...new Set(done)].join(", ")}.` }
              : {})
          })
        }
        const reason = spoken._tag === "NothingToAdd" ? spoken.token : spoken.reason
        if (!owed) return yield* complete(delivery, { outcome: "skipped", reason, refused, usage })
        return yield* onTurnFailure(
          delivery,
          context,
          accepted,
          refused,
          new TurnSilent({ detail: `the agent ended its turn with ${reason} although an answer is owed` })
        )
      })

      const deliverUnderLease = Effect.fn("Deliveries.work")(function* (
        delivery: ClaimedDelivery,
        found: ContextOrBroken
      ) {
        if (delivery.spent) {
          // A row whose agent stays parked is ended for its age, though its budget is untouched.
          return delivery.attempt >= config.deliveryMaxAttempts
            ? yield* fail(delivery, {
                class: "AttemptsSpent",
                error: `the budget of ${config.deliveryMaxAttempts} attempts is used up`,
                silence: false
              })
            : yield* fail(delivery, {
                class: "UnknownAgent",
                error:
                  "the gateway has not known the agent for 24 hours: add it to agents.entries of its configuration",
                silence: false
              })
        }
        if ("broken" in found) {
          // An old claim's answer, repeated after others took the session: nothing here is ours to run or to write.
          if (found.broken === "lease_lost") return yield* new LeaseLost({ function: "service/notifications:context" })
          return found.broken.endsWith("_missing")
            ? yield* complete(delivery, { outcome: "skipped", reason: found.broken })
            : yield* failOwn(delivery, "BrokenContext", found.broken)
        }
        const { context } = found
        const { accepted, refused } = divideFold(context)
        if (accepted.length === 0) {
          return yield* complete(delivery, {
            outcome: "skipped",
            reason: refused[0]?.reason ?? "nothing to deliver",
            refused
          })
        }
        // Its capability is refused as soon as the turn has ended.
        const run = yield* liveRuns.open({ context, fence: delivery })
        const prompt = formatNotificationMessage(context, {
          accepted,
          attempt: delivery.attempt,
          boundary: yield* runs.boundary,
          capabilities: buildHttpCapabilityLabels(context),
          nextStatuses:
            context.task === null
              ? []
              : nextStatusesFor(context.agent, context.task.status, context.task.assignees.length),
          ...(config.clientToolsEnabled
            ? {}
            : {
                httpTools: describeHttpTools(context, {
                  baseUrl: config.taskStatusBaseUrl,
                  capability: Redacted.value(run.capability)
                })
              })
        })
        yield* metrics.posted(Math.max(0, (yield* controlPlane.now) - delivery.readyAt))
        const { createdTaskIds, httpEffects } = run
        return yield* turns.run({ context, fence: delivery, prompt, createdTaskIds, httpEffects }).pipe(
          Effect.ensuring(run.end),
          Effect.flatMap((end) => onTurnEnd(delivery, context, accepted, refused, end)),
          Effect.catchIf(isTurnFailure, (failure) => onTurnFailure(delivery, context, accepted, refused, failure))
        )
      })

      const failing = makeFailureStreak()
      const describeEnd = (end: Ended) => {
        const message = `delivery ${end.outcome}${end.error === null ? "" : `: ${end.error}`}`
        if (end.outcome === "dead") return Effect.logError(message)
        if (end.error === null)
          return Effect.andThen(Effect.logInfo(message), failing.recovered("deliveries end well again"))
        return failing.isFirst(end.error) ? Effect.logWarning(message) : Effect.logDebug(message)
      }

      const deliver = Effect.fn("Deliveries.deliver")(function* (delivery: ClaimedDelivery, found: ContextOrBroken) {
        const startedAt = yield* Clock.currentTimeMillis
        const known = "context" in found ? found.context : null
        yield* metrics.deliveryStarted({
          run: delivery.notificationIds[0],
          agent: known?.agent.slug ?? null,
          agentName: known?.agent.name ?? null,
          task: known?.task?.title ?? null,
          type: known?.notification.type ?? "unknown",
          attempt: delivery.attempt
        })
        const settling = {
          own: (kind: string, detail: string) => failOwn(delivery, kind, detail),
          shared: (kind: string, detail: string) => failShared(delivery, kind, detail, {}),
          unwritten: ended
        }
        const work = Effect.scoped(deliverUnderLease(delivery, found))
        const end = yield* runs.underLease({ noun: "delivery", fence: delivery, settling }, work).pipe(
          Effect.onExit((exit) =>
            Effect.gen(function* () {
              const end = exit._tag === "Success" ? exit.value : ended("released")
              const now = yield* Clock.currentTimeMillis
              yield* metrics.deliveryEnded({
                ...end,
                type: "context" in found ? found.context.notification.type : "unknown",
                notificationId: delivery.notificationIds[0],
                agent: "context" in found ? found.context.agent.slug : null,
                durationMillis: now - startedAt
              })
              if (telemetry.isOn) {
                yield* runs.told(end)
                if (end.silence) yield* telemetry.noteRoot({ "mission_control.is_silence": true })
              }
            })
          )
        )
        const endedAt = yield* Clock.currentTimeMillis
        yield* describeEnd(end).pipe(Effect.annotateLogs({ durationMillis: endedAt - startedAt }))
      })

      const attemptOf = (delivery: ClaimedDelivery, found: ContextOrBroken, times?: ClaimTimes): Attempt => {
        const context = "context" in found ? found.context : null
        return {
          noun: "delivery",
          runId: delivery.notificationIds[0],
          attempt: delivery.attempt,
          agent: context?.agent ?? null,
          sessionKey: context?.sessionKey ?? null,
          ...(context === null ? {} : { lines: { type: context.notification.type } }),
          times,
          previous: context?.earlier.trace,
          attributes: () => ({
            "mission_control.notification.id": delivery.notificationIds[0],
            "mission_control.notification.type": context?.notification.type,
            "mission_control.task.id": context?.task?.id,
            "mission_control.fold.size": delivery.notificationIds.length,
            "mission_control.lane": delivery.lane,
            "mission_control.hops": context?.notification.hops,
            "mission_control.failures": delivery.failures,
            "mission_control.silences": delivery.silences,
            "mission_control.queue.wait_ms":
              times === undefined ? undefined : Math.max(0, times.claimedThere - delivery.readyAt)
          })
        }
      }

      return Deliveries.of({
        deliver: (delivery, found, times) =>
          runs.asAttempt(
            attemptOf(delivery, found, times),
            deliver(delivery, found).pipe(
              Effect.catchCause((cause) =>
                Cause.hasInterruptsOnly(cause)
                  ? Effect.interrupt
                  : Effect.logError("a delivery ended unexplained", cause)
              )
            )
          )
      })
    })
  )
}
