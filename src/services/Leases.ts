import { Clock, Context, Deferred, Duration, Effect, Fiber, Layer, Schedule } from "effect"
import type { ControlPlaneFailure } from "../domain/ControlPlaneFailure.ts"
import type { Fence } from "../domain/Delivery.ts"
import { monotonicMillis } from "../domain/Monotonic.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { ControlPlane } from "./ControlPlane.ts"
import { makeFailureStreak } from "./FailureStreak.ts"

/** So many overdue leases are renewed at a time; after a sleep of the machine all of them are. */
const RENEWALS_AT_ONCE = 16

/** How a lease that is held stands. */
interface Held {
  /** Before the call that leased it, or renewed it last, by both clocks: a machine that sleeps stops the monotonic one. */
  renewedAt: number
  renewedAtTimeOfDay: number
  /** The last renewal did not come through. */
  isMissed: boolean
  /** Fails when somebody else than its own run hears that the lease is lost. */
  readonly lost: Deferred.Deferred<never, ControlPlaneFailure>
}

/** The leases that this process holds, from their claim until what became of their runs is written. */
export class Leases extends Context.Service<
  Leases,
  {
    /** Counts the lease as held; `since` is in monotonic milliseconds, before the call that leased it. */
    hold(fence: Fence, since: number): Effect.Effect<void>
    /** It was given back, or its run has ended. */
    drop(fence: Fence): Effect.Effect<void>
    /**
     * Does the work and renews its lease beside it, every third of DELIVERY_LEASE_MS, until the work has ended; a lease
     * that is lost interrupts the work and is the failure. One that merely cannot be renewed is good until it is taken.
     * It stays held afterwards, until it is dropped.
     */
    during<A, E, R>(fence: Fence, work: Effect.Effect<A, E, R>): Effect.Effect<A, E | ControlPlaneFailure, R>
    /**
     * Renews the leases whose last renewal did not come through or lies back more than half of their time, be it that
     * their context is late, a renewal hangs, or the process or its machine was stopped for a while. Before this has gone
     * well a claim might take them, and the work would be done twice. Who asks while it is under way waits for the same.
     */
    readonly renewOverdue: Effect.Effect<void, ControlPlaneFailure>
  }
>()("runtime-service/services/Leases") {
  static readonly layer = Layer.effect(
    Leases,
    Effect.gen(function* () {
      const { deliveryLease } = yield* RuntimeConfig
      const controlPlane = yield* ControlPlane
      const scope = yield* Effect.scope
      const leaseMillis = Duration.toMillis(deliveryLease)
      const held = new Map<Fence, Held>()
      const unrenewed = makeFailureStreak()

      const hold = Effect.fnUntraced(function* (fence: Fence, since: number) {
        const ago = (yield* monotonicMillis) - since
        const renewedAtTimeOfDay = (yield* Clock.currentTimeMillis) - ago
        const lost = yield* Deferred.make<never, ControlPlaneFailure>()
        const lease: Held = { renewedAt: since, renewedAtTimeOfDay, isMissed: false, lost }
        held.set(fence, lease)
        return lease
      })
      const drop = (fence: Fence) => Effect.sync(() => void held.delete(fence))

      const renew = Effect.fnUntraced(function* (fence: Fence) {
        const at = yield* monotonicMillis
        const atTimeOfDay = yield* Clock.currentTimeMillis
        yield* controlPlane.renew(fence)
        const lease = held.get(fence)
        // One that was asked for later may have been answered before.
        if (lease === undefined || lease.renewedAt > at) return
        lease.renewedAt = at
        lease.renewedAtTimeOfDay = atTimeOfDay
        lease.isMissed = false
      })

      const renewOnce = (fence: Fence) =>
        renew(fence).pipe(
          // A refused token is told by whoever claims; the turn need not end for it, since its lease may outlast that.
          Effect.matchEffect({
            onSuccess: () => unrenewed.recovered("leases are renewed again"),
            onFailure: (failure) => {
              if (failure._tag !== "ControlPlaneUnavailable" && failure._tag !== "TokenRefused")
                return Effect.fail(failure)
              const lease = held.get(fence)
              if (lease !== undefined) lease.isMissed = true
              const message = `lease not renewed: ${failure.detail}; an expired lease that nobody took is still good`
              return unrenewed.isFirst(failure._tag) ? Effect.logWarning(message) : Effect.logDebug(message)
            }
          })
        )

      /** Renews for ever, first when a third of the time has passed since the lease began. */
      const renewing = Effect.fnUntraced(function* (fence: Fence, { renewedAt }: Held) {
        const age = (yield* monotonicMillis) - renewedAt
        yield* Effect.sleep(Duration.millis(Math.max(0, leaseMillis / 3 - age)))
        yield* Effect.repeat(renewOnce(fence), Schedule.spaced(Duration.millis(leaseMillis / 3)))
        return yield* Effect.never
      })

      const overdue = Effect.gen(function* () {
        const now = yield* monotonicMillis
        const timeOfDay = yield* Clock.currentTimeMillis
        return [...held].filter(([, lease]) => {
          const age = Math.max(now - lease.renewedAt, timeOfDay - lease.renewedAtTimeOfDay)
          return lease.isMissed || age > leaseMillis / 2
        })
      })

      /** Its own run hears of a lost lease at once: the session may be claimed next, and must not have two turns. */
      const renewOverdueOne = ([fence, { lost }]: readonly [Fence, Held]) => {
        const lose = (failure: ControlPlaneFailure) => Effect.andThen(Deferred.fail(lost, failure), drop(fence))
        return Effect.catchTags(renew(fence), { LeaseLost: lose, ControlPlaneRefused: lose })
      }

      // A second round for those that became overdue in the first, and no third: short leases of a slow control plane
      // always are.
      const renewAllOverdue = Effect.gen(function* () {
        const leases = yield* overdue
        yield* Effect.forEach(leases, renewOverdueOne, { concurrency: RENEWALS_AT_ONCE, discard: true })
      }).pipe(Effect.repeat({ times: 1 }))

      // In the scope of all: whoever asked first may leave.
      let underway: Fiber.Fiber<void, ControlPlaneFailure> | null = null
      const renewOverdue = Effect.gen(function* () {
        if ((yield* overdue).length === 0) return
        const isOver = Effect.sync(() => (underway = null))
        underway ??= yield* Effect.forkIn(Effect.ensuring(renewAllOverdue, isOver), scope)
        yield* Fiber.join(underway)
      })

      return Leases.of({
        hold: (fence, since) => Effect.asVoid(hold(fence, since)),
        drop,
        during: (fence, work) =>
          Effect.gen(function* () {
            const lease = held.get(fence) ?? (yield* hold(fence, yield* monotonicMillis))
            const lost = Effect.raceFirst(renewing(fence, lease), Deferred.await(lease.lost))
            return yield* Effect.raceFirst(work, lost)
          }).pipe(
            // An outcome that was written shows as well that the control plane is back; few turns outlast a renewal.
            Effect.tap(() => unrenewed.recovered("leases can be renewed again"))
          ),
        renewOverdue
      })
    })
  )
}
