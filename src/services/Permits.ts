import { Context, Effect, Latch, Layer, Ref } from "effect"
import { RuntimeConfig } from "../layers/Config.ts"

/** The turns this process may run at once, deliveries and heartbeats together (DELIVERY_MAX_CONCURRENT_SESSIONS). */
export class Permits extends Context.Service<
  Permits,
  {
    readonly total: number
    /** How many turns could begin now. */
    readonly free: Effect.Effect<number>
    /** Takes one, for work that is leased already; whoever took it gives it back. */
    readonly take: Effect.Effect<void>
    readonly giveBack: Effect.Effect<void>
    /** Waits until no turn runs. */
    readonly idle: Effect.Effect<void>
  }
>()("runtime-service/services/Permits") {
  static readonly layer = Layer.effect(
    Permits,
    Effect.gen(function* () {
      const { deliveryMaxConcurrentSessions: total } = yield* RuntimeConfig
      const taken = yield* Ref.make(0)
      const idle = yield* Latch.make(true)
      return Permits.of({
        total,
        free: Effect.map(Ref.get(taken), (count) => Math.max(0, total - count)),
        take: Effect.andThen(
          Ref.update(taken, (count) => count + 1),
          Latch.close(idle)
        ),
        giveBack: Effect.gen(function* () {
          const left = yield* Ref.updateAndGet(taken, (count) => Math.max(0, count - 1))
          if (left === 0) yield* Latch.open(idle)
        }),
        idle: idle.await
      })
    })
  )
}
