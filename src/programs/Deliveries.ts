import { Cause, Clock, Context, Duration, Effect, Layer, Random, Redacted, Schedule } from "effect"
import { SecureRandom } from "effect/crypto/SecureRandom"
import { isAnswerOwed } from "../domain/AnswerDuty.ts"
import { backoffMillis } from "../domain/Backoff.ts"
import { isControlPlaneFailure } from "../domain/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../domain/ControlPlaneFailure.ts"
import type { ClaimedDelivery, Failure, Outcome } from "../domain/Delivery.ts"
import type { DeliveryContext, FoldedNotification } from "../domain/DeliveryContext.ts"
import { divideFold } from "../domain/DeliveryPolicy.ts"
import { formatNotificationMessage } from "../domain/Prompt.ts"
import { cutReply } from "../domain/Silence.ts"
import { nextStatusesFor } from "../domain/TaskStatus.ts"
import { blameOf, isTurnFailure, TurnSilent } from "../domain/TurnFailure.ts"
import type { TurnFailure } from "../domain/TurnFailure.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { Metrics } from "../layers/Metrics.ts"
import type { DeliveryEnd } from "../layers/Metrics.ts"
import { Redactor } from "../layers/Redactor.ts"
import { buildHttpCapabilityLabels, describeHttpTools } from "../services/AgentTools.ts"
import { ControlPlane } from "../services/ControlPlane.ts"
import type { ContextOrBroken } from "../services/ControlPlane.ts"
import { GatewayGuard } from "../services/GatewayGuard.ts"
import { Lifecycle } from "../services/Lifecycle.ts"
import { LiveRuns } from "../services/LiveRuns.ts"
import { Turns } from "../services/Turns.ts"
import type { TurnEnd } from "../services/Turns.ts"

/** An agent that the gateway does not know, or settings that are wrong, are looked at again after this. */
const PARKED_RETRY_MILLIS = 30_000
/** Where profile sync writes the gateway's agents one that is not known yet is about to be; until then it stays parked. */
const NEW_AGENT_RETRY_MILLIS = 2_000
/** "internal error" may be a provider's cooldown of a minute: sooner is pointless. */
const AMBIGUOUS_RETRY_MILLIS = 60_000
/** A day of nothing but a provider's failures ends a notification; an unreachable gateway is waited for without end. */
const PROVIDER_LIMIT = Duration.hours(24)
/** The whole of abort and release at the end of the process. */
const RELEASE_TIMEOUT = Duration.seconds(2)

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
    deliver(delivery: ClaimedDelivery, context: ContextOrBroken): Effect.Effect<void>
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
      const lifecycle = yield* Lifecycle
      const metrics = yield* Metrics
      const redactor = yield* Redactor
      const secureRandom = yield* SecureRandom
      const bounds = {
        baseMillis: Duration.toMillis(config.deliveryBackoffBase),
        maxMillis: Duration.toMillis(config.deliveryBackoffMax)
      }
      const backoff = (failures: number) => Effect.map(Random.next, (random) => backoffMillis(bounds, failures, random))

      const complete = Effect.fnUntraced(function* (delivery: ClaimedDelivery, outcome: Outcome) {
        yield* controlPlane.complete(delivery, outcome)
        return ended(outcome.outcome)
      })

      const fail = Effect.fnUntraced(function* (delivery: ClaimedDelivery, failure: Failure) {
        const error = redactor.error(failure.error)
        const state = yield* controlPlane.fail(delivery, { ...failure, error })
        return ended(state === "delivered" ? "fallback" : state, `${failure.class}: ${error}`, failure.silence)
      })

      /** A failure of the notification's own: another try after its backoff, unless this was the last. */
      const failOwn = Effect.fnUntraced(function* (
        delivery: ClaimedDelivery,
        kind: string,
        error: string,
        isFinal = false
      ) {
        const isLast = isFinal || delivery.attempt >= config.deliveryMaxAttempts
        const retry = isLast ? {} : { retryInMillis: yield* backoff(delivery.failures + 1) }
        return yield* fail(delivery, { class: kind, error, silence: false, ...retry })
      })

      const failShared = Effect.fnUntraced(function* (
        delivery: ClaimedDelivery,
        kind: string,
        detail: string,
        options: { readonly leastMillis?: number; readonly limit?: Duration.Duration }
      ) {
        const error = redactor.error(detail)
        const retryInMillis = Math.max(options.leastMillis ?? 0, yield* backoff(delivery.failures + 1))
        const state = yield* controlPlane.release(delivery, {
          retryInMillis,
          class: kind,
          error,
          ...(options.limit === undefined ? {} : { limit: options.limit })
        })
        return ended(state === "dead" ? "dead" : "waiting", `${kind}: ${error}`)
      })

      const onTurnFailure = Effect.fnUntraced(function* (
        delivery: ClaimedDelivery,
        context: DeliveryContext,
        accepted: ReadonlyArray<FoldedNotification>,
        refused: NonNullable<Outcome["refused"]>,
        failure: TurnFailure
      ) {
        const blame = blameOf(failure, yield* guard.hasRecentProviderFailure)
        if (blame === "shared") {
          yield* guard.sharedFailure(failure, context.agent.id)
          const isParked = failure._tag === "UnknownAgent" || failure._tag === "GatewayMisconfigured"
          const parkedMillis =
            failure._tag === "UnknownAgent" && config.profileSync ? NEW_AGENT_RETRY_MILLIS : PARKED_RETRY_MILLIS
          const wanted = "retryAfterMillis" in failure ? (failure.retryAfterMillis ?? 0) : 0
          const isEndless = failure._tag === "GatewayUnreachable" || failure._tag === "GatewayMisconfigured"
          return yield* failShared(delivery, failure._tag, failure.detail, {
            leastMillis: failure._tag === "TurnAmbiguous" ? AMBIGUOUS_RETRY_MILLIS : isParked ? parkedMillis : wanted,
            ...(isEndless ? {} : { limit: PROVIDER_LIMIT })
          })
        }
        // A broken connection says nothing about the gateway; everything else was an answer of it.
        yield* failure._tag === "ConnectionLost" || failure._tag === "TurnTimeout" ? guard.inconclusive : guard.answered
        if (blame === "own") {
          const last = context.earlier.lastError
          const isRepeated =
            failure._tag === "TurnRefused" &&
            last?.class === failure._tag &&
            last.message === redactor.error(failure.detail)
          return yield* failOwn(delivery, failure._tag, failure.detail, isRepeated)
        }
        const isAmbiguous = failure._tag === "TurnAmbiguous"
        if (!isAnswerOwed(accepted) && (!isAmbiguous || delivery.silences > 0)) {
          return yield* complete(delivery, { outcome: "skipped", reason: failure.detail, refused })
        }
        const retryInMillis = yield* backoff(delivery.failures + 1)
        return yield* fail(delivery, {
          class: failure._tag,
          error: failure.detail,
          silence: true,
          retryInMillis: isAmbiguous ? Math.max(AMBIGUOUS_RETRY_MILLIS, retryInMillis) : retryInMillis,
          // The next try is the last before the fallback: an overflowed session would be silent for ever.
          ...(isAmbiguous && isAnswerOwed(accepted) && delivery.silences + 2 >= config.noResponseLimit
            ? { rotate: true }
            : {})
        })
      })

      const onTurnEnd = Effect.fnUntraced(function* (
        delivery: ClaimedDelivery,
        context: DeliveryContext,
        accepted: ReadonlyArray<FoldedNotification>,
        refused: NonNullable<Outcome["refused"]>,
        end: TurnEnd
      ) {
        yield* guard.answered
        const { effects, spoken, usage } = end
        const owed = isAnswerOwed(accepted)
        if (spoken._tag === "Text") {
          return yield* complete(delivery, {
            outcome: "replied",
            reply: redactor.redact(cutReply(spoken.text)),
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

      const onControlPlaneFailure = Effect.fnUntraced(function* (
        delivery: ClaimedDelivery,
        failure: ControlPlaneFailure
      ) {
        yield* guard.inconclusive
        switch (failure._tag) {
          case "LeaseLost":
            return ended("lease_lost", `LeaseLost: ${failure.function}`)
          case "BootConflict":
            yield* lifecycle.abort({ exitCode: 78, message: failure.detail })
            return ended("lease_lost", `BootConflict: ${failure.detail}`)
          case "TokenRefused":
            yield* lifecycle.setReason("token", failure.detail)
            return ended("released", `TokenRefused: ${failure.detail}`)
          case "ControlPlaneUnavailable":
            return yield* failShared(delivery, failure._tag, failure.detail, {})
          case "ControlPlaneRefused":
            return yield* failOwn(delivery, failure.code, failure.detail)
        }
      })

      const work = Effect.fn("Deliveries.work")(function* (delivery: ClaimedDelivery, found: ContextOrBroken) {
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
          boundary: (yield* secureRandom.uuidV4()).replaceAll("-", "").slice(0, 16),
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

      /** Keeps the lease while the work goes on; a lost one interrupts it. */
      const renewal = (delivery: ClaimedDelivery) =>
        controlPlane.renew(delivery).pipe(
          Effect.catchTag("ControlPlaneUnavailable", (failure) =>
            Effect.logWarning(`lease not renewed: ${failure.detail}; an expired lease that nobody took is still good`)
          ),
          Effect.schedule(Schedule.spaced(Duration.millis(Duration.toMillis(config.deliveryLease) / 3))),
          Effect.andThen(Effect.never)
        )

      const describeEnd = (end: Ended) => {
        const message = `delivery ${end.outcome}${end.error === null ? "" : `: ${end.error}`}`
        return end.outcome === "dead"
          ? Effect.logError(message)
          : end.error === null
            ? Effect.logInfo(message)
            : Effect.logWarning(message)
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
        const end = yield* Effect.raceFirst(Effect.scoped(work(delivery, found)), renewal(delivery)).pipe(
          Effect.catchIf(isControlPlaneFailure, (failure) => onControlPlaneFailure(delivery, failure)),
          Effect.catchCauseIf(
            (cause) => Cause.hasDies(cause) && !Cause.hasInterrupts(cause),
            (cause) =>
              Effect.logError("a delivery died of a defect", cause).pipe(
                Effect.andThen(guard.inconclusive),
                Effect.andThen(failOwn(delivery, "Defect", Cause.pretty(cause)))
              )
          ),
          Effect.catchIf(isControlPlaneFailure, (failure) =>
            Effect.succeed(
              failure._tag === "LeaseLost"
                ? ended("lease_lost", "LeaseLost")
                : ended("released", `the outcome could not be written (${failure._tag}): the lease will expire`)
            )
          ),
          Effect.onInterrupt(() =>
            controlPlane.release(delivery).pipe(
              Effect.timeout(RELEASE_TIMEOUT),
              Effect.matchCauseEffect({
                onSuccess: () => Effect.logInfo("delivery given back"),
                onFailure: (cause) => Effect.logWarning("delivery not given back: its lease will expire", cause)
              }),
              Effect.andThen(guard.inconclusive)
            )
          ),
          Effect.onExit((exit) =>
            Effect.gen(function* () {
              // A probe that never came to a turn (skipped, spent, broken) must not hold the breaker half open for ever.
              yield* guard.inconclusive
              const end = exit._tag === "Success" ? exit.value : ended("released")
              const now = yield* Clock.currentTimeMillis
              yield* metrics.deliveryEnded({
                ...end,
                type: "context" in found ? found.context.notification.type : "unknown",
                notificationId: delivery.notificationIds[0],
                agent: "context" in found ? found.context.agent.slug : null,
                durationMillis: now - startedAt
              })
            })
          )
        )
        const endedAt = yield* Clock.currentTimeMillis
        yield* describeEnd(end).pipe(Effect.annotateLogs({ durationMillis: endedAt - startedAt }))
      })

      return Deliveries.of({
        deliver: (delivery, found) =>
          deliver(delivery, found).pipe(
            Effect.annotateLogs({
              notification: delivery.notificationIds[0],
              attempt: delivery.attempt,
              ...("context" in found ? { agent: found.context.agent.slug, type: found.context.notification.type } : {})
            }),
            Effect.catchCause((cause) =>
              Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.logError("a delivery ended unexplained", cause)
            )
          )
      })
    })
  )
}
