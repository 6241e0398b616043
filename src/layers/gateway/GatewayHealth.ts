import { Effect, Option, SubscriptionRef } from "effect"
import type { Stream } from "effect"

/**
 * Health of the gateway. Only `ready` accepts turns, and has a detail if something is wrong nevertheless. `faulty` needs
 * a person, and after `spent` it is not restarted.
 */
export interface GatewayHealth {
  readonly status: "starting" | "ready" | "not-ready" | "faulty" | "spent"
  readonly detail: string
}

/** The health as it is published to the rest of the program. */
export interface GatewayHealthRef {
  readonly get: Effect.Effect<GatewayHealth>
  /** The current health and each change. */
  readonly changes: Stream.Stream<GatewayHealth>
  publish(status: GatewayHealth["status"], detail: string): Effect.Effect<void>
  /** Publishes a fault and logs `line`, unless the same fault is already published. */
  publishFault(detail: string, line?: string): Effect.Effect<void>
}

export const makeGatewayHealth: Effect.Effect<GatewayHealthRef> = Effect.gen(function* () {
  const ref = yield* SubscriptionRef.make<GatewayHealth>({ status: "starting", detail: "not started yet" })
  const publish = (status: GatewayHealth["status"], detail: string) =>
    SubscriptionRef.updateSome(ref, (before) =>
      before.status === status && before.detail === detail ? Option.none() : Option.some({ status, detail })
    )
  return {
    get: SubscriptionRef.get(ref),
    changes: SubscriptionRef.changes(ref),
    publish,
    publishFault: Effect.fnUntraced(function* (detail, line = detail) {
      if ((yield* SubscriptionRef.get(ref)).detail !== detail) yield* Effect.logError(line)
      yield* publish("faulty", detail)
    })
  }
})
