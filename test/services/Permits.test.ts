import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import { Permits } from "../../src/services/Permits.ts"

const twoPermits = Permits.layer.pipe(Layer.provide(RuntimeConfig.layerTest({ deliveryMaxConcurrentSessions: 2 })))

describe("Permits", () => {
  it.effect("are as many as DELIVERY_MAX_CONCURRENT_SESSIONS", () =>
    Effect.gen(function* () {
      const permits = yield* Permits
      assert.strictEqual(permits.total, 2)
      assert.strictEqual(yield* permits.free, 2)
    }).pipe(Effect.provide(twoPermits))
  )

  it.effect("count down with each taken and up with each released, between zero and all", () =>
    Effect.gen(function* () {
      const permits = yield* Permits
      yield* permits.take
      assert.strictEqual(yield* permits.free, 1)
      yield* permits.take
      yield* permits.take
      assert.strictEqual(yield* permits.free, 0)
      yield* permits.release
      assert.strictEqual(yield* permits.free, 0)
      yield* permits.release
      yield* permits.release
      yield* permits.release
      assert.strictEqual(yield* permits.free, 2)
    }).pipe(Effect.provide(twoPermits))
  )

  it.effect("are idle at first, and again only when the last is released", () =>
    Effect.gen(function* () {
      const permits = yield* Permits
      yield* permits.idle
      yield* permits.take
      yield* permits.take
      const idle = yield* Effect.forkChild(permits.idle, { startImmediately: true })
      yield* permits.release
      yield* Effect.yieldNow
      assert.isUndefined(idle.pollUnsafe())
      yield* permits.release
      yield* Fiber.join(idle)
    }).pipe(Effect.provide(twoPermits))
  )
})
