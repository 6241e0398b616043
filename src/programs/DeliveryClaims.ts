import { Cause, Clock, Effect, FiberMap, FiberSet, Ref, Semaphore } from "effect"
import type { Scope } from "effect"
import { SecureRandom } from "effect/crypto/SecureRandom"
import type { ControlPlaneFailure } from "../domain/ControlPlaneFailure.ts"
import { leaseOf } from "../domain/Delivery.ts"
import type { ClaimedDelivery } from "../domain/Delivery.ts"
import { monotonicMillis } from "../domain/Monotonic.ts"
import { ControlPlane } from "../services/ControlPlane.ts"
import type { ContextOrBroken } from "../services/ControlPlane.ts"
import { Admission, GatewayGuard } from "../services/GatewayGuard.ts"
import { Leases } from "../services/Leases.ts"
import { canClaim, Lifecycle } from "../services/Lifecycle.ts"
import { Permits } from "../services/Permits.ts"
import { RELEASE_TIMEOUT } from "../services/Runs.ts"
import type { ClaimTimes } from "../services/Runs.ts"
import { Deliveries } from "./Deliveries.ts"

/** So many claims are at work at once: while the contexts of one come from far away, the next one is made. */
const CLAIMS_AT_ONCE = 2

/** What a claim leased: what there is room for, its permits taken, and what lies beyond. */
interface ClaimedWork {
  readonly begins: ReadonlyArray<ClaimedDelivery>
  readonly beyond: ReadonlyArray<ClaimedDelivery>
  readonly admission: typeof Admission.Service
  readonly times: Omit<ClaimTimes, "known">
}

/** What a claim says of the next one. */
export interface ClaimAnswer {
  /** As much came as was asked for: there may be more. */
  readonly isFull: boolean
  /** Work that must run alone waits for this process to be idle. */
  readonly isBlocked: boolean
  /** In how many milliseconds something is due; null when nothing is. */
  readonly dueIn: number | null
}

/** What the delivery loop claims, from the claim to the fiber that delivers it. */
export interface DeliveryClaims {
  /** Claims what may run, and begins it when its contexts have come, after the answer; null when nothing may run. */
  readonly next: Effect.Effect<ClaimAnswer | null, ControlPlaneFailure>
  /** Waits until what was claimed has begun; fails, as the next claim would, if the contexts of some did not come. */
  readonly begun: Effect.Effect<void, ControlPlaneFailure>
  /** After `stopClaiming`, aborts what still runs and gives all of it back; returns when that is done, or after 2 s. */
  halt(stopClaiming: Effect.Effect<void>): Effect.Effect<void>
}

/** Lets what waits for the control plane be interrupted, and nothing else of a claim. */
type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const several = (count: number, one: Effect.Effect<void>) =>
  Effect.forEach(Array.from({ length: count }), () => one, { discard: true })

/** Claims and deliveries that live as long as the scope; `wake` is told of each end, since there may be room again. */
export const makeDeliveryClaims = (
  wake: Effect.Effect<void>
): Effect.Effect<
  DeliveryClaims,
  never,
  ControlPlane | Deliveries | GatewayGuard | Lifecycle | Leases | Permits | SecureRandom | Scope.Scope
> =>
  Effect.gen(function* () {
    const controlPlane = yield* ControlPlane
    const deliveries = yield* Deliveries
    const guard = yield* GatewayGuard
    const leases = yield* Leases
    const lifecycle = yield* Lifecycle
    const permits = yield* Permits
    const secureRandom = yield* SecureRandom

    // By lease: a session is free for its next claim before the answer that says so has come.
    const running = yield* FiberMap.make<string>()
    /** Claimed work whose contexts are on their way. */
    const preparing = yield* FiberSet.make()
    /** Why claimed work did not begin, until the loop has heard of it. */
    const notBegun = yield* Ref.make<Cause.Cause<ControlPlaneFailure> | null>(null)
    const claims = yield* Semaphore.make(CLAIMS_AT_ONCE)
    const isAloneRunning = yield* Ref.make(false)
    // An answer that was lost may have leased sessions: the same request is repeated until it is answered.
    // It leases what it does at its first arrival; `askedAt` is monotonic milliseconds.
    const openRequest = yield* Ref.make<{
      readonly requestId: string
      readonly permits: number
      readonly askedAt: number
    } | null>(null)

    /** Leased work that does not run is given back, or it would wait for its lease's end and lose its attempt. */
    const giveBack = (unbegun: ReadonlyArray<ClaimedDelivery>, why: string) =>
      Effect.gen(function* () {
        if (unbegun.length === 0) return
        yield* Effect.logWarning(`claimed work given back (${unbegun.length}): ${why}`)
        const release = (delivery: ClaimedDelivery) => Effect.ignoreCause(controlPlane.release(delivery))
        yield* Effect.forEach(unbegun, release, { concurrency: "unbounded", discard: true })
      }).pipe(Effect.timeoutOption(RELEASE_TIMEOUT), Effect.asVoid)

    /** Lease and permit of claimed work, and the process if that had it alone, are free again. */
    const leave = (delivery: ClaimedDelivery) =>
      permits.giveBack.pipe(
        Effect.andThen(leases.drop(delivery)),
        Effect.andThen(delivery.alone ? Ref.set(isAloneRunning, false) : Effect.void)
      )

    /** Begins a delivery whose permit is taken already, and gives that back at its end. */
    const begin = (delivery: ClaimedDelivery, context: ContextOrBroken | undefined, times: ClaimTimes) =>
      deliveries
        .deliver(delivery, context ?? { broken: "notification_missing" }, times)
        .pipe(Effect.ensuring(Effect.andThen(leave(delivery), wake)), (work) =>
          FiberMap.run(running, leaseOf(delivery), work)
        )

    /** Claims what may run and takes its permits; those that it does not fill are given back. */
    const claim = (free: number, restore: Restore) =>
      Effect.gen(function* () {
        const open = (yield* Ref.get(openRequest)) ?? {
          requestId: yield* secureRandom.uuidV4(),
          permits: free,
          askedAt: yield* monotonicMillis
        }
        yield* Ref.set(openRequest, open)
        const { askedAt, ...request } = open
        // From here on they are taken: no heartbeat begins with a permit, or as the breaker's probe, that this claim may
        // fill, and a drain waits for what it leases.
        let held = Math.min(request.permits, free)
        yield* several(held, permits.take)
        const admission = yield* guard.claimed
        return yield* Effect.gen(function* () {
          const from = yield* Clock.currentTimeMillis
          const { deliveries, isBlocked, nextDueAt, now } = yield* restore(
            controlPlane.claim({ ...request, parkedAgents: yield* guard.parkedAgents })
          )
          const claimed = yield* Clock.currentTimeMillis
          yield* Ref.set(openRequest, null)
          // A request that is repeated asks for the room of its first time; meanwhile heartbeats may have begun, or the
          // breaker may have opened.
          const room = Math.min(held, yield* guard.admitted(admission))
          const begins = deliveries.slice(0, room)
          if (begins.some(({ alone }) => alone)) yield* Ref.set(isAloneRunning, true)
          yield* several(held - begins.length, permits.giveBack)
          held = 0
          yield* Effect.forEach(begins, (delivery) => leases.hold(delivery, askedAt), { discard: true })
          return {
            begins,
            beyond: deliveries.slice(room),
            admission,
            times: { from, claimed, claimedThere: now, deliveries: deliveries.length },
            answer: {
              isFull: deliveries.length === request.permits,
              isBlocked,
              dueIn: nextDueAt === null ? null : Math.max(0, nextDueAt - now)
            }
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
     * with its permits: when there is no room, when the contexts do not come, or when the process halts.
     */
    const beginAll = ({ admission, begins, beyond, times }: ClaimedWork) =>
      Effect.uninterruptibleMask((restore) => {
        let unbegun = begins
        return Effect.gen(function* () {
          if (begins.length === 0) return
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
            Effect.gen(function* () {
              const left = unbegun
              yield* Effect.all(
                [giveBack(left, "its context did not come"), giveBack(beyond, "there is no room for it")],
                { concurrency: 2, discard: true }
              )
              yield* Effect.forEach(left, leave, { discard: true })
              if (left.length === begins.length) yield* guard.inconclusive
              if (beyond.length > 0) yield* wake
            })
          ),
          Effect.provideService(Admission, admission)
        )
      })

    /** In a fiber of its own: what goes wrong, a bug included, is kept for the loop, which is woken for it. */
    const beginBeside = (work: ClaimedWork) =>
      beginAll(work).pipe(
        Effect.catchCause((cause) =>
          Effect.andThen(Cause.hasInterruptsOnly(cause) ? Effect.void : Ref.set(notBegun, cause), wake)
        ),
        Effect.ensuring(claims.release(1)),
        (beginning) => FiberSet.run(preparing, beginning)
      )

    const failIfNotBegun = Effect.gen(function* () {
      const cause = yield* Ref.getAndSet(notBegun, null)
      if (cause !== null) return yield* Effect.failCause(cause)
    })
    const begun = Effect.andThen(FiberSet.awaitEmpty(preparing), failIfNotBegun)

    const next = Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        yield* restore(claims.take(1))
        let isHandedOver = false
        return yield* Effect.gen(function* () {
          yield* failIfNotBegun
          yield* restore(leases.renewOverdue)
          const isOpen = canClaim(yield* lifecycle.state) && !(yield* Ref.get(isAloneRunning))
          const free = Math.min(yield* permits.free, yield* guard.allowance)
          if (!isOpen || free < 1) return null
          const { answer, ...work } = yield* claim(free, restore)
          if (work.begins.length > 0 || work.beyond.length > 0) {
            isHandedOver = true
            yield* beginBeside(work)
          }
          return answer
        }).pipe(Effect.ensuring(Effect.suspend(() => (isHandedOver ? Effect.void : claims.release(1)))))
      })
    )

    /** A claim whose answer did not come may have leased sessions all the same: asked again, it says which. */
    const giveBackUnanswered = Effect.gen(function* () {
      const request = yield* Ref.getAndSet(openRequest, null)
      if (request === null) return
      // One that never arrived leases now; it need not be much.
      const { requestId } = request
      const { deliveries } = yield* controlPlane.claim({
        requestId,
        permits: 1,
        parkedAgents: yield* guard.parkedAgents
      })
      yield* giveBack(deliveries, "the process ends")
    }).pipe(
      Effect.timeout(RELEASE_TIMEOUT),
      Effect.catch((failure) =>
        Effect.logWarning(`what the last claim leased is not given back, its leases will expire: ${failure._tag}`)
      )
    )

    return {
      next,
      begun,
      // What was begun while claiming was being stopped ends with the second round.
      halt: (stopClaiming) =>
        Effect.all(
          [
            stopClaiming.pipe(
              Effect.andThen(
                Effect.all([FiberSet.clear(preparing), giveBackUnanswered], { concurrency: 2, discard: true })
              )
            ),
            FiberMap.clear(running)
          ],
          { concurrency: 2, discard: true }
        ).pipe(Effect.andThen(FiberMap.clear(running)))
    }
  })
