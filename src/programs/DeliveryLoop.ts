import {
  Context,
  Duration,
  Effect,
  Exit,
  Layer,
  Queue,
  Random,
  Ref,
  Result,
  Schedule,
  Scope,
  Stream,
  SubscriptionRef
} from "effect"
import { backoffBounds, backoffMillis } from "../domain/Backoff.ts"
import type { ControlPlaneFailure } from "../domain/ControlPlaneFailure.ts"
import type { Backlog } from "../domain/Delivery.ts"
import { monotonicMillis } from "../domain/Monotonic.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { ConvexClient } from "../layers/ConvexClient.ts"
import { ControlPlane } from "../services/ControlPlane.ts"
import { GatewayGuard } from "../services/GatewayGuard.ts"
import { canClaim, Lifecycle } from "../services/Lifecycle.ts"
import { Supervisor } from "../services/Supervisor.ts"
import { makeDeliveryClaims } from "./DeliveryClaims.ts"

/** So long at least a claim that failed is not tried again, whatever happens meanwhile. */
const LEAST_RETRY = Duration.seconds(1)
/** A refused token is tried again this often. */
const TOKEN_RETRY = Duration.seconds(30)

/** What the loop knows of the work that waits. */
export interface DeliveryLoopState {
  /** Since when the oldest ready notification waits, epoch milliseconds of the control plane; null when none does. */
  readonly oldestWaiting: number | null
}

/**
 * Claims whatever may run and forks a fiber for each delivery. Woken by the push, by its own deliveries' ends, by the
 * earliest due moment and by the pulse; while push is down it polls. A permit freed is a permit used: no barrier.
 */
export class DeliveryLoop extends Context.Service<
  DeliveryLoop,
  {
    /** Starts the loop under the supervisor, within the scope. */
    readonly start: Effect.Effect<void>
    /** Claims nothing more, aborts what still runs and gives all of it back; returns when that is done, or after 2 s. */
    readonly halt: Effect.Effect<void>
    /** Makes the loop look for work now. */
    readonly wake: Effect.Effect<void>
    /** The control plane has answered somebody: a loop that waits for its return tries again, a second after the last time. */
    readonly controlPlaneAnswered: Effect.Effect<void>
    /**
     * A heartbeat gave its session back; the loop looks for work when it left some there (`hasWork`), or when work that
     * must run alone waits for the process to be idle. An idle account's beats cost no claims.
     */
    beatEnded(hasWork: boolean): Effect.Effect<void>
    /** Tells the loop the earliest moment of due work that the pulse reported, in milliseconds from now. */
    dueIn(millis: number): Effect.Effect<void>
    readonly state: Effect.Effect<DeliveryLoopState>
  }
>()("runtime-service/programs/DeliveryLoop") {
  static readonly layer = Layer.effect(
    DeliveryLoop,
    Effect.gen(function* () {
      const config = yield* RuntimeConfig
      const controlPlane = yield* ControlPlane
      const { push } = yield* ConvexClient
      const guard = yield* GatewayGuard
      const lifecycle = yield* Lifecycle
      const supervisor = yield* Supervisor
      const scope = yield* Effect.scope

      const wakeups = yield* Queue.sliding<void>(1)
      const mustLook = yield* Ref.make(false)
      const wake = Effect.andThen(Ref.set(mustLook, true), Effect.asVoid(Queue.offer(wakeups, undefined)))
      const claims = yield* makeDeliveryClaims(wake)
      // The loop's own, so that it can be stopped before what it began.
      const claiming = yield* Scope.fork(scope)
      /** The control plane may be back. */
      const signs = yield* Queue.sliding<void>(1)
      const controlPlaneAnswered = Effect.asVoid(Queue.offer(signs, undefined))
      // Monotonic milliseconds of the next moment at which a claim could find something.
      const dueAt = yield* Ref.make<number | null>(null)
      /** Work that must run alone waits for this process to be idle, said the last claim. */
      const isHeldBack = yield* Ref.make(false)
      const backlog = yield* Ref.make<Backlog>({ oldest: null, newest: null, newestId: null })

      const dueIn = Effect.fnUntraced(function* (millis: number) {
        const at = (yield* monotonicMillis) + Math.max(0, millis)
        const known = yield* Ref.get(dueAt)
        if (known !== null && known <= at) return
        yield* Ref.set(dueAt, at)
        // The wait is reckoned anew; nothing is claimed before that moment.
        yield* Queue.offer(wakeups, undefined)
      })

      const onAnswer = Effect.gen(function* () {
        const { reasons } = yield* lifecycle.state
        if (reasons["control-plane"] !== undefined) yield* Effect.logInfo("the control plane is back")
        yield* lifecycle.setReason("control-plane", null)
      })

      /** Claims until nothing more may run. */
      const cycle = Effect.fn("DeliveryLoop.cycle")(function* (isOverlapping: boolean) {
        let isFull = true
        let isAnswered = false
        while (isFull) {
          const answer = yield* claims.next
          if (answer === null) break
          isAnswered = true
          isFull = answer.isFull
          const { dueIn, isBlocked } = answer
          yield* Ref.set(isHeldBack, isBlocked)
          yield* Ref.set(dueAt, dueIn === null ? null : (yield* monotonicMillis) + dueIn)
          if (!isOverlapping) yield* claims.begun
        }
        // A cycle that asked nothing knows nothing of the control plane.
        if (isAnswered) yield* onAnswer
      })

      const onFailure = Effect.fnUntraced(function* (failure: ControlPlaneFailure) {
        switch (failure._tag) {
          case "TokenRefused":
            return yield* lifecycle.setReason("token", `the deployment refuses SERVICE_TOKEN: ${failure.detail}`)
          case "BootConflict":
            return yield* lifecycle.abort({ exitCode: 78, message: failure.detail })
          default: {
            const state = yield* lifecycle.state
            if (state.reasons["control-plane"] === undefined) {
              yield* Effect.logWarning(`the control plane is away, trying again with backoff: ${describe(failure)}`)
            }
            return yield* lifecycle.setReason("control-plane", describe(failure))
          }
        }
      })

      const bounds = backoffBounds(config)

      /** Cycles until one goes well, with backoff; a sign that the control plane is back ends the wait, since nothing is claimed in it. */
      const patientCycle = Effect.gen(function* () {
        let failures = 0
        const attempt = Effect.gen(function* () {
          // What is on its way still belongs to the failure that was counted.
          if (failures > 0) yield* Effect.ignore(claims.begun)
          yield* Queue.clear(signs)
          const { reasons } = yield* lifecycle.state
          // After a failure each step waits for the one before, so that only a whole claim ends the backing off.
          const isOverlapping = failures === 0 && reasons["control-plane"] === undefined
          const isWell = yield* cycle(isOverlapping).pipe(
            Effect.as(true),
            Effect.catch((failure) => Effect.as(onFailure(failure), false))
          )
          if (isWell) return true
          failures += 1
          const wait = Duration.millis(backoffMillis(bounds, failures, yield* Random.next))
          yield* Queue.take(signs).pipe(Effect.delay(LEAST_RETRY), Effect.timeoutOption(wait))
          return false
        })
        yield* Effect.repeat(attempt, { until: (isWell) => isWell })
      })

      /** Until the next reason to look: a wake-up, due work, a probe of the breaker, or the poll while push is down. */
      const waitForWork: Effect.Effect<void> = Effect.gen(function* () {
        const now = yield* monotonicMillis
        const due = yield* Ref.get(dueAt)
        const { isConnected } = yield* SubscriptionRef.get(push)
        const opensIn = yield* guard.opensIn
        const waits = [
          ...(due === null ? [] : [Math.max(0, due - now)]),
          ...(opensIn === null ? [] : [opensIn]),
          ...(isConnected ? [] : [Duration.toMillis(config.deliveryInterval)])
        ]
        const signal = Effect.as(Queue.take(wakeups), true)
        const isSignal = yield* waits.length === 0
          ? signal
          : Effect.raceFirst(signal, Effect.as(Effect.sleep(Duration.millis(Math.min(...waits))), false))
        if (isSignal && !(yield* Ref.get(mustLook))) return yield* waitForWork
        yield* Ref.set(mustLook, false)
        // A moment that has passed is used up: whatever stands against a claim now wakes the loop when it goes.
        const then = yield* monotonicMillis
        yield* Ref.update(dueAt, (at) => (at !== null && at <= then ? null : at))
      })

      // What woke it is used up when a bug ends it.
      const loop = Effect.forever(Effect.andThen(waitForWork, patientCycle)).pipe(Effect.onError(() => wake))

      /** The push wakes the loop when something new became ready, not when something left. */
      const followBacklog = Stream.runForEach(
        controlPlane.backlog,
        Effect.fnUntraced(function* (result) {
          if (Result.isFailure(result)) {
            if (result.failure._tag === "TokenRefused") yield* onFailure(result.failure)
            return
          }
          const before = yield* Ref.getAndSet(backlog, result.success)
          const { newest, newestId } = result.success
          if (newest === null) return
          const isNew =
            before.newest === null ||
            newest > before.newest ||
            (newest === before.newest && newestId !== before.newestId)
          if (isNew) yield* wake
        })
      ).pipe(Effect.andThen(Effect.never))

      /** A push that is lost is polled for from now on, and what it did not tell meanwhile is claimed when it is back. */
      const followPush = SubscriptionRef.changes(push).pipe(
        Stream.map(({ isConnected }) => isConnected),
        Stream.changes,
        Stream.runForEach((isConnected) => (isConnected ? Effect.andThen(controlPlaneAnswered, wake) : wake)),
        Effect.andThen(Effect.never)
      )

      const followLifecycle = Stream.runForEach(lifecycle.changes, (state) =>
        canClaim(state) ? wake : Effect.void
      ).pipe(Effect.andThen(Effect.never))

      /** A refused token is not asked about at each wake-up, but every 30 s until it is accepted again. */
      const retryToken = Effect.gen(function* () {
        const { reasons } = yield* lifecycle.state
        if (reasons.token === undefined) return
        yield* controlPlane.context([])
        yield* lifecycle.setReason("token", null)
        yield* Effect.logInfo("the deployment accepts SERVICE_TOKEN again")
      }).pipe(Effect.ignore, Effect.repeat(Schedule.spaced(TOKEN_RETRY)), Effect.andThen(Effect.never))

      const start = Effect.gen(function* () {
        yield* supervisor.run("delivery-loop", loop).pipe(Effect.provideService(Scope.Scope, claiming))
        yield* supervisor.run("delivery-backlog", followBacklog)
        yield* supervisor.run("delivery-push", followPush)
        yield* supervisor.run("delivery-lifecycle", followLifecycle)
        yield* supervisor.run("delivery-token", retryToken)
        yield* supervisor.run("gateway-probe", guard.probing(wake))
        yield* wake
      }).pipe(Effect.provideService(Scope.Scope, scope))

      return DeliveryLoop.of({
        start,
        halt: claims.halt(Scope.close(claiming, Exit.void)),
        wake,
        controlPlaneAnswered,
        beatEnded: Effect.fnUntraced(function* (hasWork: boolean) {
          if (hasWork || (yield* Ref.get(isHeldBack))) yield* wake
        }),
        dueIn,
        state: Effect.map(Ref.get(backlog), ({ oldest }) => ({ oldestWaiting: oldest }))
      })
    })
  )
}

const describe = (failure: ControlPlaneFailure): string =>
  failure._tag === "LeaseLost" ? failure._tag : failure.detail
