/** The events of the delivery loop and their sources, which have no state. */
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

/** A program waits for the answer to a claim sent after this time, in monotonic milliseconds. */
export interface Awaited {
  readonly _tag: "Awaited"
  readonly since: number
  readonly answered: Deferred.Deferred<void, ControlPlaneFailure>
}

/** The pulse's report about the queue. */
export interface QueueReport {
  /**
   * Since when the oldest ready notification has been waiting, in epoch milliseconds of the control plane; null if none
   * is.
   */
  readonly oldest: number | null
  /** Milliseconds until the next work is due, negative if it is due already; null if there is none. */
  readonly dueInMillis: number | null
}

/** An event of the delivery loop. */
export type DeliveryEvent =
  | { readonly _tag: "Wanted"; readonly reason: ClaimReason }
  | { readonly _tag: "Pulsed"; readonly report: QueueReport }
  | { readonly _tag: "ControlPlaneAnswered" }
  | { readonly _tag: "RunEnded"; readonly end: RunEnd }
  | Awaited

/** A claim is needed for this reason. */
export const claimWanted = (reason: ClaimReason): DeliveryEvent => ({ _tag: "Wanted", reason })

/**
 * The control plane's wakes (with recalled leases and new messages), lost and restored push with the poll in between,
 * claims that are possible again, and leases that were not named.
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
      Stream.tap((result) => (Result.isSuccess(result) ? leases.pushed(result.success) : Effect.void)),
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
