import { Context, Effect, Latch, Layer } from "effect"
import { RuntimeConfig } from "../layers/Config.ts"

/** Limits concurrent runs, deliveries and heartbeats together (DELIVERY_MAX_CONCURRENT_SESSIONS). */
export class Permits extends Context.Service<
  Permits,
  {
    readonly total: number
    /** How many runs could start now. */
    readonly free: Effect.Effect<number>
    /** Takes a permit for a leased run, even if none is free. */
    readonly take: Effect.Effect<void>
    readonly release: Effect.Effect<void>
    /** Waits until no run is active. */
    readonly idle: Effect.Effect<void>
  }
>()("runtime-service/services/Permits") {
  static readonly layer = Layer.effect(
    Permits,
    Effect.suspend(() => make)
  )
}

const make = Effect.gen(function* () {
  const { deliveryMaxConcurrentSessions: total } = yield* RuntimeConfig
  const idle = yield* Latch.make(true)
  let taken = 0
  return Permits.of({
    total,
    free: Effect.sync(() => Math.max(0, total - taken)),
    take: Effect.sync(() => {
      taken += 1
      idle.closeUnsafe()
    }),
    release: Effect.sync(() => {
      taken = Math.max(0, taken - 1)
      if (taken === 0) idle.openUnsafe()
    }),
    idle: idle.await
  })
})
