import { Cause, Clock, Context, Deferred, Duration, Effect, Exit, FiberMap, Layer, Option } from "effect"
import { Queue, Schedule, Scope, Stream } from "effect"
import { describeFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import { backoffBounds, backoffSchedule } from "../../domain/delivery/Backoff.ts"
import type { Claim, ClaimTimes } from "../../domain/delivery/Claim.ts"
import * as ClaimPlan from "../../domain/delivery/ClaimPlan.ts"
import type { ClaimReason, ClaimState } from "../../domain/delivery/ClaimPlan.ts"
import { fenceOf, leaseKey } from "../../domain/delivery/Run.ts"
import type { Run } from "../../domain/delivery/Run.ts"
import type { RunEnd } from "../../domain/delivery/RunEnd.ts"
import { monotonicMillis } from "../../domain/observability/Monotonic.ts"
import { counted } from "../../domain/text/Count.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import type { ConvexClient } from "../../layers/ConvexClient.ts"
import { Metrics } from "../../layers/Metrics.ts"
import { Redactor } from "../../layers/secrets/Redactor.ts"
import { ControlPlane } from "../../services/ControlPlane.ts"
import { noteRefusal } from "../../services/ControlPlaneRefusal.ts"
import { Admission, GatewayGuard } from "../../services/GatewayGuard.ts"
import { Leases } from "../../services/Leases.ts"
import { canClaim, Lifecycle } from "../../services/Lifecycle.ts"
import { Permits } from "../../services/Permits.ts"
import { Supervisor } from "../../services/Supervisor.ts"
import { claimWanted, eventSources } from "./DeliveryEvents.ts"
import type { Awaited, DeliveryEvent, QueueReport } from "./DeliveryEvents.ts"
import { RunExecution } from "./RunExecution.ts"

/** How often the runtime retries a refused token. */
const TOKEN_RETRY = Duration.seconds(30)
/** Time limits at the end of the process: for aborting runs, and for everything up to the answer to the last claim. */
const ABORT_TIMEOUT = Duration.seconds(1)
const HALT_TIMEOUT = Duration.seconds(2)

/**
 * Claims due runs and forks a fiber for each. One fiber owns the state and takes events from one queue: wakes, due
 * times, ended runs, the pulse, and while push is down the poll. A free permit is used at once.
 */
export class DeliveryLoop extends Context.Service<
  DeliveryLoop,
  {
    /** Starts the loop under the supervisor, in the scope. */
    readonly start: Effect.Effect<void>
    /** Stops claiming, aborts all runs and releases them; takes at most 2 s. */
    readonly halt: Effect.Effect<void>
    /** Makes the loop claim as soon as possible. */
    wake(reason: ClaimReason): Effect.Effect<void>
    /** Makes the loop claim, and waits for the answer to a claim sent after this time (monotonic milliseconds). */
    claimedSince(moment: number): Effect.Effect<void, ControlPlaneFailure>
    /** Passes on the pulse's report. */
    pulsed(report: QueueReport): Effect.Effect<void>
    /** The control plane answered another call. A loop in backoff retries, at least a second after its last attempt. */
    readonly controlPlaneAnswered: Effect.Effect<void>
    /** The ends of heartbeats that ran in this process. */
    readonly heartbeatEnds: Effect.Effect<Queue.Dequeue<RunEnd>>
    readonly state: Effect.Effect<Pick<ClaimState, "oldest" | "heartbeatsInFlight" | "heartbeatsWaitSince">>
  }
>()("runtime-service/programs/DeliveryLoop") {
  static readonly layer = Layer.effect(
    DeliveryLoop,
    Effect.suspend(() => make)
  )
}

const runEnd = (run: Run, end: Pick<RunEnd, "outcome" | "isStored" | "error">): RunEnd => ({
  ...end,
  kind: run.kind,
  agent: "context" in run ? run.context.agent.slug : null,
  dueInMillis: null
})

const make = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  const controlPlane = yield* ControlPlane
  const execution = yield* RunExecution
  const guard = yield* GatewayGuard
  const leases = yield* Leases
  const lifecycle = yield* Lifecycle
  const metrics = yield* Metrics
  const permits = yield* Permits
  const redactor = yield* Redactor
  const supervisor = yield* Supervisor
  const scope = yield* Effect.scope
  const services = yield* Effect.context<ControlPlane | ConvexClient | Leases | Lifecycle | RuntimeConfig>()
  // A separate scope, so that the loop can be stopped before the runs.
  const claiming = yield* Scope.fork(scope)

  const events = yield* Queue.unbounded<DeliveryEvent>()
  const heartbeatEnds = yield* Queue.unbounded<RunEnd>()
  // By lease, because a session can be claimed again before the answer to the end of its last run has arrived.
  const running = yield* FiberMap.make<string>()
  const backoff = Schedule.toStep(backoffSchedule(backoffBounds(config)))

  // Only the loop's fiber writes it. It survives a restart of the loop after a defect.
  let state = ClaimPlan.initialState
  let nextDelay = yield* backoff
  let awaited: ReadonlyArray<Awaited> = []

  const post = (event: DeliveryEvent) => Effect.asVoid(Queue.offer(events, event))
  const wake = (reason: ClaimReason) => post(claimWanted(reason))

  const onPulsed = ({ dueInMillis, oldest }: QueueReport, now: number) => {
    state = { ...state, oldest }
    if (dueInMillis !== null) state = ClaimPlan.due(state, now, dueInMillis)
  }

  const onRunEnded = (end: RunEnd, now: number) => {
    state = ClaimPlan.ended(state, now, end)
    if (end.kind === "heartbeat") Queue.offerUnsafe(heartbeatEnds, end)
  }

  const onAwaited = (event: Awaited) => {
    if (state.answeredFrom > event.since) return Deferred.doneUnsafe(event.answered, Exit.void)
    awaited = [...awaited, event]
    state = ClaimPlan.wanted(state, "heartbeat")
  }

  const handle = (event: DeliveryEvent) =>
    Effect.map(monotonicMillis, (now): void => {
      switch (event._tag) {
        case "Wanted":
          return void (state = ClaimPlan.wanted(state, event.reason))
        case "Pulsed":
          return onPulsed(event.report, now)
        case "ControlPlaneAnswered":
          return void (state = ClaimPlan.controlPlaneAnswered(state))
        case "RunEnded":
          return onRunEnded(event.end, now)
        case "Awaited":
          return void onAwaited(event)
      }
    })

  const endAwaited = (sentAt: number, exit: Exit.Exit<void, ControlPlaneFailure>) =>
    Effect.sync(() => {
      for (const { answered, since } of awaited) if (since < sentAt) Deferred.doneUnsafe(answered, exit)
      awaited = awaited.filter(({ since }) => since >= sentAt)
    })

  /** The breaker has opened since the claim, so the turn is not started. */
  const releaseUnbegun = (run: Run) =>
    Effect.match(controlPlane.release(fenceOf(run)), {
      onSuccess: () => runEnd(run, { outcome: "released", isStored: true, error: null }),
      onFailure: ({ _tag }) => runEnd(run, { outcome: "released", isStored: _tag === "LeaseLost", error: _tag })
    })

  /** Forks the execution of a claimed run. Its lease is named until the call that ends it is answered. */
  const begin = Effect.fnUntraced(function* (run: Run, work: Effect.Effect<RunEnd>) {
    yield* permits.take
    yield* leases.hold(run)
    state = ClaimPlan.begun(state, run.kind)
    yield* work.pipe(
      Effect.catchCauseIf(
        (cause) => !Cause.hasInterrupts(cause),
        (cause) =>
          Effect.as(
            Effect.logError(`a ${run.kind} failed with a defect`, cause),
            runEnd(run, { outcome: "abandoned", isStored: false, error: "Defect" })
          )
      ),
      Effect.tap(({ isStored }) => (isStored ? leases.drop(run) : leases.abandon(run))),
      Effect.onInterrupt(() => leases.drop(run)),
      Effect.ensuring(permits.release),
      Effect.flatMap((end) => post({ _tag: "RunEnded", end })),
      (fiber) => FiberMap.run(running, leaseKey(run), fiber)
    )
  })

  const noteSpent = Effect.fnUntraced(function* (id: string) {
    const error = `AttemptsSpent: the budget of ${config.deliveryMaxAttempts} attempts is used up`
    const dead = { kind: "notification", run: id, agent: null, type: "unknown" } as const
    yield* Effect.logError(`delivery dead: ${error}`).pipe(Effect.annotateLogs({ notification: id }))
    yield* metrics.runStarted({ ...dead, sessionKey: null, agentName: null, task: null, attempt: 0, lateMillis: 0 })
    yield* metrics.runEnded({
      ...dead,
      outcome: "dead",
      error,
      isSilence: false,
      isTurnCompleted: false,
      durationMillis: 0
    })
  })

  const onAnswered = Effect.fnUntraced(function* (answer: Claim, sentAt: number, times: ClaimTimes) {
    if (state.failure !== null) nextDelay = yield* backoff
    state = ClaimPlan.answered(state, yield* monotonicMillis, sentAt, answer)
    const { reasons } = yield* lifecycle.state
    if (reasons["control-plane"] !== undefined) yield* Effect.logInfo("the control plane is back")
    yield* lifecycle.setReason("control-plane", null)
    yield* metrics.claimAnswered
    const admitted = yield* guard.admitted(yield* Admission)
    for (const [index, run] of answer.runs.entries()) {
      yield* begin(run, index < admitted ? execution.execute(run, times) : releaseUnbegun(run))
    }
    if (answer.runs.length === 0) yield* guard.inconclusive
    yield* Effect.forEach(answer.spent, noteSpent, { discard: true })
    if (answer.heldBack > 0) {
      yield* metrics.heldBack(answer.heldBack)
      yield* Effect.logWarning(`${counted(answer.heldBack, "run")} held: a budget is used up`)
    }
    yield* endAwaited(sentAt, Exit.void)
  })

  const onFailed = Effect.fnUntraced(function* (failure: ControlPlaneFailure, sentAt: number) {
    yield* guard.inconclusive
    const detail = describeFailure(failure)
    yield* metrics.claimFailed(redactor.error(`${failure._tag}: ${detail}`))
    if (!(yield* noteRefusal(lifecycle, failure))) {
      const { reasons } = yield* lifecycle.state
      if (reasons["control-plane"] === undefined) {
        yield* Effect.logWarning(`the control plane is unavailable, retrying with backoff: ${detail}`)
      }
      yield* lifecycle.setReason("control-plane", detail)
      const [, delay] = yield* Effect.orDie(nextDelay(yield* Clock.currentTimeMillis, undefined))
      state = ClaimPlan.failed(state, yield* monotonicMillis, Duration.toMillis(delay))
    }
    yield* endAwaited(sentAt, Exit.fail(failure))
  })

  const claim = Effect.fn("DeliveryLoop.claim")(function* (
    reason: ClaimReason,
    limits: { readonly limit: number; readonly heartbeatLimit: number }
  ) {
    state = ClaimPlan.sent(state)
    const sentAt = yield* monotonicMillis
    const from = yield* Clock.currentTimeMillis
    const named = yield* leases.named
    const answered = Effect.fnUntraced(function* (answer: Claim) {
      yield* Effect.logDebug(`claimed (${reason}): ${counted(answer.runs.length, "run")}`)
      yield* leases.rescued(named.abandoned)
      const claimed = yield* Clock.currentTimeMillis
      yield* onAnswered(answer, sentAt, { from, claimed, claimedThere: answer.now, runs: answer.runs.length })
    })
    // Runs of this claim report to the breaker under this admission.
    yield* controlPlane
      .claim({ number: state.number, recoverUnnamed: state.recoverUnnamed, ...limits, ...named })
      .pipe(
        Effect.matchEffect({ onSuccess: answered, onFailure: (failure) => onFailed(failure, sentAt) }),
        Effect.provideService(Admission, yield* guard.claimed)
      )
  })

  const plan = Effect.gen(function* () {
    const now = yield* monotonicMillis
    state = ClaimPlan.passed(state, now)
    return ClaimPlan.planClaim(state, {
      now,
      totalPermits: permits.total,
      freePermits: yield* permits.free,
      allowance: yield* guard.allowance,
      opensInMillis: yield* guard.opensIn,
      isAllowed: canClaim(yield* lifecycle.state)
    })
  })

  /** Handles one event; without one sends a possible claim, or waits for the next event. */
  const step = Effect.gen(function* () {
    const event = yield* Queue.poll(events)
    if (Option.isSome(event)) return yield* handle(event.value)
    const next = yield* plan
    if (next._tag === "Claim") return yield* claim(next.reason, next)
    const wait = Queue.peek(events)
    yield* next.millis === null ? wait : Effect.timeoutOption(wait, Duration.millis(next.millis))
  })
  // An event that ended with a defect may have been a reason to claim.
  const loop = Effect.forever(step, { disableYield: true }).pipe(Effect.onError(() => wake("restart")))

  /** A refused token is not tried at each event, but at intervals until it is accepted. */
  const tokenChecks = Effect.gen(function* () {
    const { reasons } = yield* lifecycle.state
    if (reasons.token === undefined) return
    yield* controlPlane.backlog
    yield* lifecycle.setReason("token", null)
    yield* Effect.logInfo("the deployment accepts SERVICE_TOKEN again")
  }).pipe(Effect.ignore, Effect.repeat(Schedule.spaced(TOKEN_RETRY)), Effect.andThen(Effect.never))

  const start = Effect.gen(function* () {
    yield* wake("start")
    yield* supervisor.run("delivery-loop", loop).pipe(Effect.provideService(Scope.Scope, claiming))
    const sources = Stream.runForEach(eventSources, post).pipe(Effect.provideContext(services))
    yield* supervisor.run("delivery-events", Effect.andThen(sources, Effect.never))
    yield* supervisor.run("delivery-token", tokenChecks)
    yield* supervisor.run("gateway-probe", guard.probing(wake("gateway")))
  }).pipe(Effect.provideService(Scope.Scope, scope))

  /** Releases all leases of this boot, including those of a claim whose answer was lost. */
  const lastClaim = Effect.gen(function* () {
    if (state.number === 0) return
    state = ClaimPlan.sent(state)
    const { abandoned } = yield* leases.named
    const last = { limit: 0, heartbeatLimit: 0, held: [], abandoned, recoverUnnamed: true }
    yield* controlPlane.claim({ number: state.number, ...last })
  })

  const halt = Effect.gen(function* () {
    yield* Scope.close(claiming, Exit.void)
    const aborted = yield* FiberMap.size(running)
    yield* Effect.timeoutOption(FiberMap.clear(running), ABORT_TIMEOUT).pipe(
      Effect.andThen(lastClaim),
      Effect.timeout(HALT_TIMEOUT),
      Effect.matchEffect({
        onSuccess: () =>
          aborted === 0 ? Effect.void : Effect.logInfo(`released ${counted(aborted, "run")}: the process is stopping`),
        onFailure: ({ _tag }) =>
          aborted === 0
            ? Effect.logDebug(`the last claim failed: ${_tag}`)
            : Effect.logWarning(`could not release ${counted(aborted, "run")}, the leases will expire: ${_tag}`)
      })
    )
  })

  return DeliveryLoop.of({
    start,
    halt,
    wake,
    claimedSince: Effect.fnUntraced(function* (since: number) {
      const answered = yield* Deferred.make<void, ControlPlaneFailure>()
      yield* post({ _tag: "Awaited", since, answered })
      yield* Deferred.await(answered)
    }),
    pulsed: (report) => post({ _tag: "Pulsed", report }),
    controlPlaneAnswered: post({ _tag: "ControlPlaneAnswered" }),
    heartbeatEnds: Effect.succeed(heartbeatEnds),
    state: Effect.sync(() => state)
  })
})
