import { Context, Effect, Latch, Layer } from "effect"
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
      let taken = 0
      const idle = yield* Latch.make(true)
      return Permits.of({
        total,
        free: Effect.sync(() => Math.max(0, total - taken)),
        // Count and latch change in one step: between two, another fiber could take the last permit given back.
        take: Effect.sync(() => {
          taken += 1
          idle.closeUnsafe()
        }),
        giveBack: Effect.sync(() => {
          taken = Math.max(0, taken - 1)
          if (taken === 0) idle.openUnsafe()
        }),
        idle: idle.await
      })
    })
  )
}
