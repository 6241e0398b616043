import { Clock, Context, Effect, Layer, Stream, SubscriptionRef } from "effect"
import { judgeHealth } from "../domain/observability/Health.ts"
import type { Health } from "../domain/observability/Health.ts"
import { ConvexClient } from "../layers/ConvexClient.ts"
import { Metrics } from "../layers/Metrics.ts"
import { Lifecycle, notReadyBecause } from "./Lifecycle.ts"

/** The runtime's health, as all displays show it. */
export class RuntimeHealth extends Context.Service<
  RuntimeHealth,
  {
    readonly current: Effect.Effect<Health>
    /** The current health, and the new one when its status, a reason of the process or the set of failing agents changes. */
    readonly changes: Stream.Stream<Health>
  }
>()("runtime-service/services/RuntimeHealth") {
  static readonly layer = Layer.effect(
    RuntimeHealth,
    Effect.gen(function* () {
      const { push } = yield* ConvexClient
      const lifecycle = yield* Lifecycle
      const metrics = yield* Metrics

      const current = Effect.gen(function* () {
        const state = yield* lifecycle.state
        const { attempts, failures } = yield* metrics.activity
        return judgeHealth({
          phase: state.phase,
          isPaused: state.isPaused,
          notReady: notReadyBecause(state),
          isPushConnected: (yield* SubscriptionRef.get(push)).isConnected,
          failures,
          attempts,
          now: yield* Clock.currentTimeMillis
        })
      })

      // An agent's last error changes with each failure; that alone is not a change of health.
      const keyOf = ({ failing, ownReasons, status }: Health): string =>
        JSON.stringify([status, ownReasons, failing.map(({ agent, kind }) => `${kind} ${agent}`).toSorted()])
      const causes = Stream.mergeAll(
        [
          Stream.map(lifecycle.changes, () => undefined),
          Stream.map(SubscriptionRef.changes(push), () => undefined),
          Stream.map(metrics.activityChanges, () => undefined)
        ],
        { concurrency: "unbounded" }
      )
      // The first element precedes the subscriptions, so that an early change is a second element.
      const changes = Stream.concat(
        Stream.fromEffect(current),
        Stream.mapEffect(causes, () => current)
      ).pipe(Stream.changesWith((before, after) => keyOf(before) === keyOf(after)))
      return RuntimeHealth.of({ current, changes })
    })
  )
}
