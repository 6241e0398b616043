import { Cause, Clock, Context, Effect, Layer, Ref } from "effect"
import { describeFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import type { BootConflict, ControlPlaneFailure, LeaseLost } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import type { ClaimTimes } from "../../domain/delivery/Claim.ts"
import type { NotificationEvent } from "../../domain/delivery/DeliveryContext.ts"
import { controlPlaneFailure, ownFailure } from "../../domain/delivery/Judgement.ts"
import type { Judgement } from "../../domain/delivery/Judgement.ts"
import { contextsOf, fenceOf } from "../../domain/delivery/Run.ts"
import type { Run, SpentUsage } from "../../domain/delivery/Run.ts"
import type { RunEnd } from "../../domain/delivery/RunEnd.ts"
import { noSpendingAt, spentUsage } from "../../domain/usage/Spending.ts"
import type { Gateway } from "../../layers/Gateway.ts"
import { ModelPrices } from "../../layers/gateway/ModelPrices.ts"
import { Metrics } from "../../layers/Metrics.ts"
import type { StartedRun } from "../../layers/Metrics.ts"
import { Redactor } from "../../layers/secrets/Redactor.ts"
import type { ToolInterruption } from "../../services/AgentTools.ts"
import { ControlPlane } from "../../services/ControlPlane.ts"
import { noteRefusal } from "../../services/ControlPlaneRefusal.ts"
import { makeFailureStreaks } from "../../services/FailureStreak.ts"
import type { FailureStreak } from "../../services/FailureStreak.ts"
import { GatewayGuard } from "../../services/GatewayGuard.ts"
import { Leases } from "../../services/Leases.ts"
import { Lifecycle } from "../../services/Lifecycle.ts"
import { attemptEnd, storeJudgement } from "./RunStorage.ts"
import type { AttemptEnd } from "./RunStorage.ts"
import { asAttempt, traceEnd } from "./RunTrace.ts"
import { judgeRun } from "./RunTurn.ts"

export type { RunEnd } from "../../domain/delivery/RunEnd.ts"

/** One attempt of a run from its claim to its end: the turn under its lease, the judgement, and storing it. */
export class RunExecution extends Context.Service<
  RunExecution,
  {
    /**
     * Stores exactly one outcome, or none if it is interrupted or the lease is lost or recalled. The process's last
     * claim releases interrupted runs. The lease stays held until the caller drops it.
     */
    execute(run: Run, times?: ClaimTimes): Effect.Effect<RunEnd>
  }
>()("runtime-service/programs/RunExecution") {
  static readonly layer = Layer.effect(
    RunExecution,
    Effect.suspend(() => make)
  )
}

const isDefect = <E>(cause: Cause.Cause<E>): boolean => Cause.hasDies(cause) && !Cause.hasInterrupts(cause)

/** Judges a failure of the control plane during the turn. A lost lease stays a failure. */
const judgeInterruption = Effect.fnUntraced(function* (
  failure: ToolInterruption
): Effect.fn.Return<Judgement, LeaseLost | BootConflict, Lifecycle> {
  if (failure._tag === "LeaseLost" || failure._tag === "BootConflict") return yield* failure
  yield* noteRefusal(yield* Lifecycle, failure)
  return controlPlaneFailure(failure._tag, failure.detail)
})

/** The end of an attempt whose outcome could not or may not be stored. */
const unstoredEnd = Effect.fnUntraced(function* (
  run: Run,
  failure: ControlPlaneFailure,
  usage: SpentUsage | undefined
) {
  // No other call can report the usage, because the run has ended without this attempt.
  if (usage !== undefined && (failure._tag === "LeaseLost" || failure._tag === "BootConflict")) {
    yield* Effect.ignore((yield* ControlPlane).recordUsage(fenceOf(run), usage))
  }
  // The control plane has ended the run. The next claim does not name the lease, which frees the session.
  if (failure._tag === "LeaseLost" && failure.recalled !== undefined) {
    return attemptEnd(failure.recalled === "stopped" ? "stopped" : "released")
  }
  yield* noteRefusal(yield* Lifecycle, failure)
  const detail = failure._tag === "LeaseLost" ? "another claim holds the session" : describeFailure(failure)
  const error = (yield* Redactor).error(`${failure._tag}: ${detail}`)
  if (failure._tag !== "LeaseLost" && failure._tag !== "BootConflict") {
    return attemptEnd("abandoned", { error, isStored: false })
  }
  return attemptEnd("lease_lost", { error })
})

/** Runs the turn under its lease, then stores its outcome. A lease lost while storing interrupts nothing. */
const judgeAndStore = Effect.fnUntraced(function* (run: Run) {
  const guard = yield* GatewayGuard
  const prices = yield* ModelPrices
  const spending = yield* Ref.make(noSpendingAt(yield* Clock.currentTimeMillis))
  const joined = yield* Ref.make<ReadonlyArray<NotificationEvent>>([])
  const { context, delivery } = contextsOf(run)
  const slug = context?.agent.slug ?? ""
  const isDelta = (delivery?.delta ?? null) !== null
  const spent = Effect.gen(function* () {
    const spent = yield* Ref.get(spending)
    return spentUsage(spent, yield* prices.of(slug, spent.model), isDelta)
  })
  const metrics = yield* Metrics
  const count = Effect.flatMap(spent, (usage) =>
    usage === undefined ? Effect.void : metrics.attemptSpent(slug, usage)
  )
  const judgement = (yield* Leases).during(run, judgeRun(run, { spending, joined })).pipe(
    Effect.catch(judgeInterruption),
    Effect.catchCauseIf(isDefect, (cause) =>
      Effect.as(Effect.logError(`defect in a ${run.kind}`, cause), ownFailure("Defect", Cause.pretty(cause)))
    ),
    // A probe without a turn must not keep the breaker half open.
    Effect.ensuring(guard.inconclusive),
    Effect.ensuring(count)
  )
  return yield* judgement.pipe(
    Effect.flatMap((judgement) =>
      Effect.flatMap(Effect.all([spent, Ref.get(joined)]), ([usage, { length }]) =>
        storeJudgement(run, judgement, usage, length)
      )
    ),
    Effect.catch((failure) => Effect.flatMap(spent, (usage) => unstoredEnd(run, failure, usage))),
    Effect.catchCauseIf(isDefect, (cause) =>
      Effect.as(
        Effect.logError(`the outcome of a ${run.kind} could not be stored`, cause),
        attemptEnd("abandoned", { error: "Defect: the outcome could not be stored", isStored: false })
      )
    )
  )
})

/** Logs only the first of an agent's consecutive failures of a class as a warning. */
const logEnd = (
  { agent, kind }: StartedRun,
  { error, isTurnCompleted, outcome }: AttemptEnd,
  streak: FailureStreak
): Effect.Effect<void> => {
  const [noun, all] = kind === "notification" ? ["delivery", "deliveries"] : ["heartbeat", "heartbeats"]
  const message = `${noun} ${outcome}${error === null ? "" : `: ${error}`}`
  if (outcome === "dead") return Effect.logError(message)
  if (error !== null) return streak.isFirst(error) ? Effect.logWarning(message) : Effect.logDebug(message)
  const isQuiet = outcome === "ok" || outcome === "silent" || outcome === "skipped"
  return Effect.andThen(
    isQuiet ? Effect.logDebug(message) : Effect.logInfo(message),
    isTurnCompleted ? streak.recovered(`${all} of ${agent ?? "an unknown agent"} recovered`) : Effect.void
  )
}

const startOf = (run: Run, now: number): StartedRun => {
  const { context, delivery, heartbeat } = contextsOf(run)
  return {
    kind: run.kind,
    run: run.id,
    sessionKey: context?.sessionKey ?? null,
    agent: context?.agent.slug ?? null,
    agentName: context?.agent.name ?? null,
    task: delivery?.task?.title ?? null,
    type: run.kind === "heartbeat" ? run.kind : (delivery?.notification.type ?? "unknown"),
    attempt: run.attempt,
    lateMillis: Math.max(0, now - (heartbeat?.heartbeat.dueAt ?? run.readyAt))
  }
}

const executeAttempt = Effect.fnUntraced(function* (run: Run, streakOf: (key: string) => FailureStreak) {
  const metrics = yield* Metrics
  const startedAt = yield* Clock.currentTimeMillis
  const start = startOf(run, yield* (yield* ControlPlane).now)
  yield* metrics.runStarted(start)
  const report = Effect.fnUntraced(function* (end: AttemptEnd) {
    const durationMillis = (yield* Clock.currentTimeMillis) - startedAt
    yield* metrics.runEnded({ ...start, ...end, durationMillis })
    yield* traceEnd(end)
    return durationMillis
  })
  const end = yield* Effect.onInterrupt(judgeAndStore(run), () => report(attemptEnd("released")))
  const streak = streakOf(`${run.kind} ${start.agent ?? ""}`)
  yield* Effect.annotateLogs(logEnd(start, end, streak), { durationMillis: yield* report(end) })
  const { dueInMillis, error, isStored, outcome } = end
  return { kind: run.kind, agent: start.agent, outcome, error, isStored, dueInMillis } satisfies RunEnd
})

type Needed = Effect.Services<ReturnType<typeof executeAttempt>> | Gateway

const make = Effect.gen(function* () {
  const services = yield* Effect.context<Needed>()
  const streakOf = makeFailureStreaks()
  return RunExecution.of({
    execute: (run, times) =>
      // The run's own annotations, such as its admission, come first.
      Effect.updateContext(asAttempt(run, times, executeAttempt(run, streakOf)), (own: Context.Context<never>) =>
        Context.merge(services, own)
      )
  })
})
