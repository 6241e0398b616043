import { Context, Duration, Effect, Layer, Schedule } from "effect"
import type { ControlPlaneFailure } from "../domain/ControlPlaneFailure.ts"
import type { Fence } from "../domain/Delivery.ts"
import { monotonicMillis } from "../domain/Monotonic.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { ControlPlane } from "./ControlPlane.ts"
import { makeFailureStreak } from "./FailureStreak.ts"

/** How a lease that is held stands. */
interface Held {
  /** Monotonic milliseconds before the call that leased it, or renewed it last. */
  renewedAt: number
  /** The last renewal did not come through. */
  isMissed: boolean
}

/** The leases that this process holds, from their claim to the end of their runs. */
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
     */
    during<A, E, R>(fence: Fence, work: Effect.Effect<A, E, R>): Effect.Effect<A, E | ControlPlaneFailure, R>
    /**
     * Renews the leases whose last renewal did not come through or lies back more than half of their time, be it that
     * their context is late, a renewal hangs, or the process was stopped for a while. Before this has gone well a claim
     * might take them, and the work would be done twice.
     */
    readonly renewOverdue: Effect.Effect<void, ControlPlaneFailure>
  }
>()("runtime-service/services/Leases") {
  static readonly layer = Layer.effect(
    Leases,
    Effect.gen(function* () {
      const { deliveryLease } = yield* RuntimeConfig
      const controlPlane = yield* ControlPlane
      const leaseMillis = Duration.toMillis(deliveryLease)
      const held = new Map<Fence, Held>()
      const unrenewed = makeFailureStreak()

      const hold = (fence: Fence, since: number) =>
        Effect.sync(() => void held.set(fence, { renewedAt: since, isMissed: false }))
      const drop = (fence: Fence) => Effect.sync(() => void held.delete(fence))

      const renew = Effect.fnUntraced(function* (fence: Fence) {
        const at = yield* monotonicMillis
        yield* controlPlane.renew(fence)
        // A renewal that was asked for later may have been answered before.
        const lease = held.get(fence)
        if (lease !== undefined) yield* hold(fence, Math.max(lease.renewedAt, at))
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
      const renewing = Effect.fnUntraced(function* (fence: Fence) {
        const now = yield* monotonicMillis
        const age = now - (held.get(fence)?.renewedAt ?? now)
        yield* Effect.sleep(Duration.millis(Math.max(0, leaseMillis / 3 - age)))
        yield* Effect.repeat(renewOnce(fence), Schedule.spaced(Duration.millis(leaseMillis / 3)))
        return yield* Effect.never
      })

      return Leases.of({
        hold,
        drop,
        during: (fence, work) =>
          Effect.gen(function* () {
            if (!held.has(fence)) yield* hold(fence, yield* monotonicMillis)
            return yield* Effect.raceFirst(work, renewing(fence))
          }).pipe(
            // An outcome that was written shows as well that the control plane is back; few turns outlast a renewal.
            Effect.tap(() => unrenewed.recovered("leases can be renewed again")),
            Effect.ensuring(drop(fence))
          ),
        renewOverdue: Effect.gen(function* () {
          const now = yield* monotonicMillis
          const overdue = [...held].filter(([, lease]) => lease.isMissed || now - lease.renewedAt > leaseMillis / 2)
          // Of a lease that is lost its own work hears at its next renewal.
          const renewed = ([fence]: readonly [Fence, Held]) =>
            Effect.catchTags(renew(fence), { LeaseLost: () => drop(fence), ControlPlaneRefused: () => drop(fence) })
          yield* Effect.forEach(overdue, renewed, { concurrency: "unbounded", discard: true })
        })
      })
    })
  )
}
