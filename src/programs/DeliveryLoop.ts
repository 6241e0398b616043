import {
  Clock,
  Context,
  Duration,
  Effect,
  Exit,
  FiberMap,
  FiberSet,
  Layer,
  Queue,
  Random,
  Ref,
  Result,
  Schedule,
  Scope,
  Semaphore,
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
/** So many claims are at work at once: while the contexts of one come from far away, the next one is made. */
const CLAIMS_AT_ONCE = 2
/** A refused token is tried again this often. */
const TOKEN_RETRY = Duration.seconds(30)

/** What the loop knows of the work that waits. */
export interface DeliveryLoopState {
  /** Since when the oldest ready notification waits, epoch milliseconds of the control plane; null when none does. */
  readonly oldestWaiting: number | null
}

/** What a claim leased and has room for: its permits are taken. */
interface ClaimedWork {
  readonly begins: ReadonlyArray<ClaimedDelivery>
  readonly admission: typeof Admission.Service
  readonly times: Omit<ClaimTimes, "known">
}

/** Lets what waits for the control plane be interrupted, and nothing else of a claim. */
type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

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
      const deliveries = yield* Deliveries
      const guard = yield* GatewayGuard
      const lifecycle = yield* Lifecycle
      const permits = yield* Permits
      const runs = yield* Runs
      const supervisor = yield* Supervisor
      const secureRandom = yield* SecureRandom
      const scope = yield* Effect.scope

      const running = yield* FiberMap.make<string>()
      /** Claimed work whose contexts are on their way. */
      const preparing = yield* FiberSet.make()
      const overlaps = yield* Semaphore.make(CLAIMS_AT_ONCE)
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
      const giveBack = (unbegun: ReadonlyArray<ClaimedDelivery>, why: string) =>
        unbegun.length === 0
          ? Effect.void
          : Effect.logWarning(`claimed work given back (${unbegun.length}): ${why}`).pipe(
              Effect.andThen(
                Effect.forEach(unbegun, (delivery) => Effect.ignore(controlPlane.release(delivery)), {
                  concurrency: "unbounded",
                  discard: true
                })
              ),
              Effect.timeoutOption(RELEASE_TIMEOUT),
              Effect.asVoid
            )

      /** A permit of claimed work, and the process if that had it alone, are free again. */
      const leave = (delivery: ClaimedDelivery) =>
        permits.giveBack.pipe(Effect.andThen(delivery.alone ? Ref.set(isAloneRunning, false) : Effect.void))

      /** Begins a delivery whose permit is taken already, and gives that back at its end. */
      const begin = (delivery: ClaimedDelivery, context: ContextOrBroken | undefined, times: ClaimTimes) =>
        deliveries
          .deliver(delivery, context ?? { broken: "notification_missing" }, times)
          .pipe(Effect.ensuring(Effect.andThen(leave(delivery), wake)), (work) =>
            FiberMap.run(running, leaseOf(delivery), work)
          )

      /**
       * Claims what may run and takes its permits. What the claim leased beyond the room that is left is given back, and so
       * are the permits of a claim that fails.
       */
      const claimOnce = (free: number, restore: Restore) =>
        Effect.gen(function* () {
          const request = (yield* Ref.get(openRequest)) ?? { requestId: yield* secureRandom.uuidV4(), permits: free }
          yield* Ref.set(openRequest, request)
          // From here on they are taken: no heartbeat begins with a permit, or as the breaker's probe, that this claim
          // may fill, and a drain waits for what it leases.
          let held = Math.min(request.permits, free)
          yield* several(held, permits.take)
          const admission = yield* guard.claimed
          return yield* Effect.gen(function* () {
            const from = yield* Clock.currentTimeMillis
            const claim = yield* restore(controlPlane.claim({ ...request, parkedAgents: yield* guard.parkedAgents }))
            const claimed = yield* Clock.currentTimeMillis
            yield* Ref.set(openRequest, null)
            yield* Ref.set(isHeldBack, claim.isBlocked)
            const now = yield* monotonicMillis
            yield* Ref.set(dueAt, claim.nextDueAt === null ? null : now + Math.max(0, claim.nextDueAt - claim.now))
            // A request that is repeated asks for the room of its first time; meanwhile heartbeats may have begun, or
            // the breaker may have opened.
            const room = Math.min(held, yield* guard.admitted(admission))
            const begins = claim.deliveries.slice(0, room)
            const beyond = claim.deliveries.slice(room)
            if (begins.some(({ alone }) => alone)) yield* Ref.set(isAloneRunning, true)
            yield* several(held - begins.length, permits.giveBack)
            held = 0
            yield* giveBack(beyond, "there is no room for it")
            return {
              begins,
              admission,
              times: { from, claimed, claimedThere: claim.now, deliveries: claim.deliveries.length },
              isFull: claim.deliveries.length === request.permits || beyond.length > 0
            }
          }).pipe(
            Effect.onExit((exit) =>
              Effect.gen(function* () {
                yield* several(held, permits.giveBack)
                if (exit._tag === "Failure" || exit.value.begins.length === 0) yield* guard.inconclusive
              })
            ),
            Effect.provideService(Admission, admission)
          )
        })

      /**
       * Begins what was claimed as soon as its contexts have come. However this ends, what does not begin is given back,
       * with its permits: when the contexts do not come, or the process halts.
       */
      const beginAll = ({ admission, begins, times }: ClaimedWork, restore: Restore) =>
        Effect.suspend(() => {
          let unbegun = begins
          return Effect.gen(function* () {
            const unspent = begins.filter(({ spent }) => !spent)
            const contexts = yield* restore(
              controlPlane.context(
                unspent.map(({ notificationIds }) => notificationIds[0]),
                unspent.map(({ epoch }) => epoch)
              )
            )
            const known = yield* Clock.currentTimeMillis
            for (const delivery of begins) {
              unbegun = unbegun.slice(1)
              yield* begin(delivery, contexts.get(delivery.notificationIds[0]), { ...times, known })
            }
          }).pipe(
            Effect.ensuring(
              Effect.suspend(() => {
                const left = unbegun
                return giveBack(left, "its context did not come").pipe(
                  Effect.andThen(Effect.forEach(left, leave, { discard: true })),
                  Effect.andThen(left.length < begins.length ? Effect.void : guard.inconclusive)
                )
              })
            ),
            Effect.provideService(Admission, admission)
          )
        })

      /** Contexts that did not come while the loop went on: its next cycle fails with this and backs off. */
      const contextFailure = yield* Ref.make<ControlPlaneFailure | null>(null)

      const beginBeside = (work: ClaimedWork) =>
        Effect.uninterruptibleMask((restore) => beginAll(work, restore)).pipe(
          Effect.catch((failure) => Effect.andThen(Ref.set(contextFailure, failure), wake)),
          Effect.catchDefect((cause) =>
            Effect.andThen(Effect.logError("claimed work did not begin because of a bug", cause), wake)
          ),
          Effect.ensuring(overlaps.release(1)),
          (beginning) => FiberSet.run(preparing, beginning)
        )

      /**
       * Claims and begins what may run: with `isOverlapping` the next claim need not wait for the contexts of this one.
       * Null when nothing may run.
       */
      const claimAndBegin = (isOverlapping: boolean) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.gen(function* () {
            yield* restore(overlaps.take(1))
            let isHandedOver = false
            return yield* Effect.gen(function* () {
              const isOpen = canClaim(yield* lifecycle.state) && !(yield* Ref.get(isAloneRunning))
              const free = Math.min(yield* permits.free, yield* guard.allowance)
              if (!isOpen || free < 1) return null
              const work = yield* claimOnce(free, restore)
              if (work.begins.length > 0 && isOverlapping) {
                isHandedOver = true
                yield* beginBeside(work)
              } else if (work.begins.length > 0) {
                yield* beginAll(work, restore)
              }
              return work
            }).pipe(Effect.ensuring(Effect.suspend(() => (isHandedOver ? Effect.void : overlaps.release(1)))))
          })
        )

      /** A claim whose answer did not come may have leased sessions all the same: asked again, it says which. */
      const giveBackUnanswered = Effect.gen(function* () {
        const request = yield* Ref.getAndSet(openRequest, null)
        if (request === null) return
        // One that never arrived leases now; it need not be much.
        const claim = yield* controlPlane.claim({ ...request, permits: 1, parkedAgents: yield* guard.parkedAgents })
        yield* giveBack(claim.deliveries, "the process ends")
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

      /** Claims until nothing more may run. */
      const cycle = Effect.fn("DeliveryLoop.cycle")(function* (isOverlapping: boolean) {
        const failure = yield* Ref.getAndSet(contextFailure, null)
        if (failure !== null) return yield* failure
        let isFull = true
        let isAnswered = false
        while (isFull) {
          yield* runs.renewMissed
          const claimed = yield* claimAndBegin(isOverlapping)
          isAnswered ||= claimed !== null
          isFull = claimed?.isFull ?? false
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
          yield* Queue.clear(signs)
          // After a failure each step waits for the one before, so that only a whole claim ends the backing off.
          const isWell = yield* cycle(failures === 0).pipe(
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
          [
            Scope.close(claiming, Exit.void).pipe(
              Effect.andThen(FiberSet.clear(preparing)),
              Effect.andThen(giveBackUnanswered)
            ),
            FiberMap.clear(running)
          ],
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
        state: Effect.map(Ref.get(backlog), ({ oldest }) => ({ oldestWaiting: oldest }))
      })
    })
  )
}

/** A session is free for its next claim before the answer that says so has come: the two may overlap. */
const leaseOf = ({ epoch, session }: Fence): string => `${session} ${epoch}`

const describe = (failure: ControlPlaneFailure): string =>
  failure._tag === "LeaseLost" ? failure._tag : failure.detail
