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
    /** Does the work with a permit that leaves another one free, so that what is urgent never waits for it; waits for it. */
    withSpare<A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R>
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
      const hasSpare = () => total - taken >= 2
      const spare = yield* Latch.make(hasSpare())
      const takeNow = () => {
        taken += 1
        idle.closeUnsafe()
        if (!hasSpare()) spare.closeUnsafe()
      }
      const giveBack = Effect.sync(() => {
        taken = Math.max(0, taken - 1)
        if (taken === 0) idle.openUnsafe()
        if (hasSpare()) spare.openUnsafe()
      })
      return Permits.of({
        total,
        free: Effect.sync(() => Math.max(0, total - taken)),
        // Count and latch change in one step: between two, another fiber could take the last permit given back.
        take: Effect.sync(takeNow),
        giveBack,
        withSpare: (work) =>
          Effect.uninterruptibleMask((restore) => {
            const attempt: typeof work = Effect.suspend(() => {
              // Whoever waited may find it taken by another that waited too.
              if (!hasSpare()) return Effect.andThen(restore(spare.await), attempt)
              takeNow()
              return Effect.ensuring(restore(work), giveBack)
            })
            return attempt
          }),
        idle: idle.await
      })
    })
  )
}
