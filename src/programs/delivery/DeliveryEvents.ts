/** What the delivery loop reacts to, and where it comes from. The sources own no state. */
import { Effect, Result, Schedule, Stream, SubscriptionRef } from "effect"
import type { Deferred } from "effect"
import type { ControlPlaneFailure } from "../../domain/controlPlane/ControlPlaneFailure.ts"
import type { ClaimReason } from "../../domain/delivery/ClaimPlan.ts"
import type { RunEnd } from "../../domain/delivery/RunEnd.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { ConvexClient } from "../../layers/ConvexClient.ts"
import { ControlPlane } from "../../services/ControlPlane.ts"
import { noteRefusal } from "../../services/ControlPlaneRefusal.ts"
import { Leases } from "../../services/Leases.ts"
import { canClaim, Lifecycle } from "../../services/Lifecycle.ts"

/** Somebody waits for the answer to a claim that was sent after this moment, monotonic milliseconds. */
export interface Awaited {
  readonly _tag: "Awaited"
  readonly since: number
  readonly answered: Deferred.Deferred<void, ControlPlaneFailure>
}

/** What the pulse reports about the queue. */
export interface QueueReport {
  /** Since when the oldest ready notification waits, epoch milliseconds of the control plane; null when none does. */
  readonly oldest: number | null
  /** In how many milliseconds something is due, negative if it is already; null when nothing is. */
  readonly dueInMillis: number | null
}

/** An event of the delivery loop. */
export type DeliveryEvent =
  | { readonly _tag: "Wanted"; readonly reason: ClaimReason }
  | { readonly _tag: "Pulsed"; readonly report: QueueReport }
  | { readonly _tag: "ControlPlaneAnswered" }
  | { readonly _tag: "RunEnded"; readonly end: RunEnd }
  | Awaited

/** A claim is wanted for this reason. */
export const claimWanted = (reason: ClaimReason): DeliveryEvent => ({ _tag: "Wanted", reason })

/**
 * Wakes and recalled leases of the control plane, push that is lost or back with the poll in between, claims allowed
 * again, unnamed leases.
 */
export const eventSources: Stream.Stream<
  DeliveryEvent,
  never,
  ControlPlane | ConvexClient | Leases | Lifecycle | RuntimeConfig
> = Stream.unwrap(
  Effect.gen(function* () {
    const { deliveryInterval } = yield* RuntimeConfig
    const controlPlane = yield* ControlPlane
    const { push } = yield* ConvexClient
    const leases = yield* Leases
    const lifecycle = yield* Lifecycle
    const wakes = controlPlane.wakes.pipe(
      Stream.tap((result) => (Result.isFailure(result) ? noteRefusal(lifecycle, result.failure) : Effect.void)),
      Stream.tap((result) => (Result.isSuccess(result) ? leases.recalled(result.success.recalled) : Effect.void)),
      Stream.filterMap((result) => Result.map(result, ({ count }) => count)),
      Stream.changes,
      Stream.map(() => claimWanted("wake"))
    )
    const polls = Stream.fromSchedule(Schedule.spaced(deliveryInterval)).pipe(
      Stream.tap(() => leases.check),
      Stream.map(() => claimWanted("poll"))
    )
    const pushes = SubscriptionRef.changes(push).pipe(
      Stream.map(({ isConnected }) => isConnected),
      Stream.changes,
      Stream.switchMap((isConnected) =>
        isConnected
          ? Stream.make<[DeliveryEvent, DeliveryEvent]>({ _tag: "ControlPlaneAnswered" }, claimWanted("push"))
          : Stream.concat(Stream.succeed(claimWanted("push")), polls)
      )
    )
    const allowances = lifecycle.changes.pipe(
      Stream.map(canClaim),
      Stream.changes,
      Stream.filter((isAllowed) => isAllowed),
      Stream.map(() => claimWanted("allowed"))
    )
    const unnamed = Stream.map(leases.unnamed, () => claimWanted("unnamed"))
    return Stream.mergeAll([wakes, pushes, allowances, unnamed], { concurrency: "unbounded" })
  })
)
