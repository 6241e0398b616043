import {
  Clock,
  Context,
  Duration,
  Effect,
  Exit,
  FiberMap,
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
import { SecureRandom } from "effect/crypto/SecureRandom"
import { backoffBounds, backoffMillis } from "../domain/Backoff.ts"
import type { ControlPlaneFailure } from "../domain/ControlPlaneFailure.ts"
import type { Backlog, ClaimedDelivery, Fence } from "../domain/Delivery.ts"
import { monotonicMillis } from "../domain/Monotonic.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { ConvexClient } from "../layers/ConvexClient.ts"
import { ControlPlane } from "../services/ControlPlane.ts"
import type { ContextOrBroken } from "../services/ControlPlane.ts"
import { Admission, GatewayGuard } from "../services/GatewayGuard.ts"
import { canClaim, Lifecycle } from "../services/Lifecycle.ts"
import { Permits } from "../services/Permits.ts"
import { RELEASE_TIMEOUT, Runs } from "../services/Runs.ts"
import type { ClaimTimes } from "../services/Runs.ts"
import { Supervisor } from "../services/Supervisor.ts"
import { Deliveries } from "./Deliveries.ts"

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
    /** The delivery cycle once, for tests and for the loop: claims until nothing more may run, says how many began. */
    readonly cycle: Effect.Effect<number, ControlPlaneFailure>
  }
>()("runtime-service/programs/DeliveryLoop") {
  static readonly layer = Layer.effect(
    DeliveryLoop,
    Effect.gen(function* () {
      const config = yield* RuntimeConfig
      const controlPlane = yield* ControlPlane
      const { push } = yield* ConvexClient
      const deliveries = yield* Deliveries
      const guard = yield* GatewayGuard
      const lifecycle = yield* Lifecycle
      const permits = yield* Permits
      const runs = yield* Runs
      const supervisor = yield* Supervisor
      const secureRandom = yield* SecureRandom
      const scope = yield* Effect.scope

      const running = yield* FiberMap.make<string>()
      // The loop's own, so that it can be stopped before what it began.
      const claiming = yield* Scope.fork(scope)
      const wakeups = yield* Queue.sliding<void>(1)
      const mustLook = yield* Ref.make(false)
      const wake = Effect.andThen(Ref.set(mustLook, true), Effect.asVoid(Queue.offer(wakeups, undefined)))
      /** The control plane may be back. */
      const signs = yield* Queue.sliding<void>(1)
      const controlPlaneAnswered = Effect.asVoid(Queue.offer(signs, undefined))
      // Monotonic milliseconds of the next moment at which a claim could find something.
      const dueAt = yield* Ref.make<number | null>(null)
      const isAloneRunning = yield* Ref.make(false)
      /** Work that must run alone waits for this process to be idle, said the last claim. */
      const isHeldBack = yield* Ref.make(false)
      // An answer that was lost may have leased sessions: the same request is repeated until it is answered.
      const openRequest = yield* Ref.make<{ readonly requestId: string; readonly permits: number } | null>(null)
      const backlog = yield* Ref.make<Backlog>({ oldest: null, newest: null, newestId: null })

      const dueIn = Effect.fnUntraced(function* (millis: number) {
        const at = (yield* monotonicMillis) + Math.max(0, millis)
        const known = yield* Ref.get(dueAt)
        if (known !== null && known <= at) return
        yield* Ref.set(dueAt, at)
        // The wait is reckoned anew; nothing is claimed before that moment.
        yield* Queue.offer(wakeups, undefined)
      })

      const several = (count: number, one: Effect.Effect<void>) =>
        Effect.forEach(Array.from({ length: count }), () => one, { discard: true })

      /** Leased work that does not run is given back, or it would wait for its lease's end and lose its attempt. */
      const giveBack = (unbegun: ReadonlyArray<ClaimedDelivery>) =>
        Effect.forEach(unbegun, (delivery) => Effect.ignore(controlPlane.release(delivery)), {
          concurrency: "unbounded",
          discard: true
        }).pipe(Effect.timeoutOption(RELEASE_TIMEOUT), Effect.asVoid)

      /** Begins a delivery whose permit is taken already, and gives that back at its end. */
      const begin = Effect.fnUntraced(function* (
        delivery: ClaimedDelivery,
        context: ContextOrBroken | undefined,
        times: ClaimTimes
      ) {
        if (delivery.alone) yield* Ref.set(isAloneRunning, true)
        yield* deliveries
          .deliver(delivery, context ?? { broken: "notification_missing" }, times)
          .pipe(
            Effect.ensuring(
              permits.giveBack.pipe(
                Effect.andThen(delivery.alone ? Ref.set(isAloneRunning, false) : Effect.void),
                Effect.andThen(wake)
              )
            ),
            (work) => FiberMap.run(running, leaseOf(delivery), work)
          )
      })

      /**
       * Claims and begins what may run. Whatever else the claim leased is given back, however this ends: more than there
       * is room for by now, or all of it when its context does not come or the process halts.
       */
      const claimOnce = (free: number) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.gen(function* () {
            const request = (yield* Ref.get(openRequest)) ?? { requestId: yield* secureRandom.uuidV4(), permits: free }
            yield* Ref.set(openRequest, request)
            // From here on they are taken: no heartbeat begins with a permit, or as the breaker's probe, that this claim
            // may fill, and a drain waits for what it leases.
            let held = Math.min(request.permits, free)
            yield* several(held, permits.take)
            const admission = yield* guard.claimed
            let unbegun: ReadonlyArray<ClaimedDelivery> = []
            let begun = 0

            const claimAndBegin = Effect.gen(function* () {
              const from = yield* Clock.currentTimeMillis
              const claim = yield* restore(controlPlane.claim({ ...request, parkedAgents: yield* guard.parkedAgents }))
              unbegun = claim.deliveries
              yield* Ref.set(openRequest, null)
              yield* Ref.set(isHeldBack, claim.isBlocked)
              const now = yield* monotonicMillis
              yield* Ref.set(dueAt, claim.nextDueAt === null ? null : now + Math.max(0, claim.nextDueAt - claim.now))
              // A request that is repeated asks for the room of its first time; meanwhile heartbeats may have begun, or
              // the breaker may have opened.
              const room = Math.min(held, yield* guard.admitted(admission))
              const begins = claim.deliveries.slice(0, room)
              yield* several(held - begins.length, permits.giveBack)
              held = begins.length
              if (begins.length > 0) {
                const claimed = yield* Clock.currentTimeMillis
                const unspent = begins.filter(({ spent }) => !spent)
                const contexts = yield* restore(
                  controlPlane.context(
                    unspent.map(({ notificationIds }) => notificationIds[0]),
                    unspent.map(({ epoch }) => epoch)
                  )
                )
                const times: ClaimTimes = {
                  from,
                  claimed,
                  claimedThere: claim.now,
                  known: yield* Clock.currentTimeMillis,
                  deliveries: claim.deliveries.length
                }
                for (const delivery of begins) {
                  unbegun = unbegun.slice(1)
                  held -= 1
                  begun += 1
                  yield* begin(delivery, contexts.get(delivery.notificationIds[0]), times)
                }
              }
              return { count: begun, isFull: claim.deliveries.length === request.permits || unbegun.length > 0 }
            })

            return yield* claimAndBegin.pipe(
              Effect.onExit((exit) =>
                Effect.gen(function* () {
                  if (unbegun.length > 0) {
                    const why = exit._tag === "Success" ? "there is no room for it" : "its context did not come"
                    yield* Effect.logWarning(`claimed work given back (${unbegun.length}): ${why}`)
                    yield* giveBack(unbegun)
                  }
                  yield* several(held, permits.giveBack)
                  if (begun === 0) yield* guard.inconclusive
                })
              ),
              Effect.provideService(Admission, admission)
            )
          })
        )

      /** A claim whose answer did not come may have leased sessions all the same: asked again, it says which. */
      const giveBackUnanswered = Effect.gen(function* () {
        const request = yield* Ref.getAndSet(openRequest, null)
        if (request === null) return
        // One that never arrived leases now; it need not be much.
        const claim = yield* controlPlane.claim({ ...request, permits: 1, parkedAgents: yield* guard.parkedAgents })
        yield* giveBack(claim.deliveries)
      }).pipe(
        Effect.timeout(RELEASE_TIMEOUT),
        Effect.catch((failure) =>
          Effect.logWarning(`what the last claim leased is not given back, its leases will expire: ${failure._tag}`)
        )
      )

      const onAnswer = Effect.gen(function* () {
        const { reasons } = yield* lifecycle.state
        if (reasons["control-plane"] !== undefined) yield* Effect.logInfo("the control plane is back")
        yield* lifecycle.setReason("control-plane", null)
      })

      const cycle = Effect.gen(function* () {
        let begun = 0
        let isFull = true
        let isAnswered = false
        while (isFull) {
          yield* runs.renewMissed
          const isOpen = canClaim(yield* lifecycle.state) && !(yield* Ref.get(isAloneRunning))
          const free = Math.min(yield* permits.free, yield* guard.allowance)
          if (!isOpen || free < 1) break
          const claimed = yield* claimOnce(free)
          isAnswered = true
          begun += claimed.count
          isFull = claimed.isFull
        }
        // A cycle that asked nothing knows nothing of the control plane.
        if (isAnswered) yield* onAnswer
        return begun
      }).pipe(Effect.withSpan("DeliveryLoop.cycle"))

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
          yield* Queue.clear(signs)
          const isWell = yield* cycle.pipe(
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

      const loop = Effect.forever(Effect.andThen(waitForWork, patientCycle))

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
        // What was begun while the loop was being stopped ends with the second round.
        halt: Effect.all(
          [Effect.andThen(Scope.close(claiming, Exit.void), giveBackUnanswered), FiberMap.clear(running)],
          {
            concurrency: 2,
            discard: true
          }
        ).pipe(Effect.andThen(FiberMap.clear(running))),
        wake,
        controlPlaneAnswered,
        beatEnded: Effect.fnUntraced(function* (hasWork: boolean) {
          if (hasWork || (yield* Ref.get(isHeldBack))) yield* wake
        }),
        dueIn,
        state: Effect.map(Ref.get(backlog), ({ oldest }) => ({ oldestWaiting: oldest })),
        cycle
      })
    })
  )
}

/** A session is free for its next claim before the answer that says so has come: the two may overlap. */
const leaseOf = ({ epoch, session }: Fence): string => `${session} ${epoch}`

const describe = (failure: ControlPlaneFailure): string =>
  failure._tag === "LeaseLost" ? failure._tag : failure.detail
