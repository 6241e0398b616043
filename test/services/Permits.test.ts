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

  it.effect("count down with each taken and up with each given back, never below none nor above all", () =>
    Effect.gen(function* () {
      const permits = yield* Permits
      yield* permits.take
      assert.strictEqual(yield* permits.free, 1)
      yield* permits.take
      yield* permits.take
      assert.strictEqual(yield* permits.free, 0)
      yield* permits.giveBack
      assert.strictEqual(yield* permits.free, 0)
      yield* permits.giveBack
      yield* permits.giveBack
      yield* permits.giveBack
      assert.strictEqual(yield* permits.free, 2)
    }).pipe(Effect.provide(twoPermits))
  )

  it.effect("are idle at first, and again only when the last is given back", () =>
    Effect.gen(function* () {
      const permits = yield* Permits
      yield* permits.idle
      yield* permits.take
      yield* permits.take
      const idle = yield* Effect.forkChild(permits.idle, { startImmediately: true })
      yield* permits.giveBack
      yield* Effect.yieldNow
      assert.isUndefined(idle.pollUnsafe())
      yield* permits.giveBack
      yield* Fiber.join(idle)
    }).pipe(Effect.provide(twoPermits))
  )

  it.effect("are given to patient work only while another one stays free", () =>
    Effect.gen(function* () {
      const permits = yield* Permits
      const work = permits.withSpare(permits.free)
      assert.strictEqual(yield* work, 1)
      assert.strictEqual(yield* permits.free, 2)
      yield* permits.take
      const waiting = yield* Effect.forkChild(work, { startImmediately: true })
      const other = yield* Effect.forkChild(work, { startImmediately: true })
      yield* Effect.yieldNow
      assert.isUndefined(waiting.pollUnsafe())
      yield* permits.giveBack
      // One after the other: the second finds the last one free only when the first is done.
      assert.strictEqual(yield* Fiber.join(waiting), 1)
      assert.strictEqual(yield* Fiber.join(other), 1)
      assert.strictEqual(yield* permits.free, 2)
    }).pipe(Effect.provide(twoPermits))
  )

  it.effect("are given back by patient work that is interrupted, waiting or working", () =>
    Effect.gen(function* () {
      const permits = yield* Permits
      const working = yield* Effect.forkChild(permits.withSpare(Effect.never), { startImmediately: true })
      const waiting = yield* Effect.forkChild(permits.withSpare(Effect.never), { startImmediately: true })
      assert.strictEqual(yield* permits.free, 1)
      yield* Fiber.interrupt(waiting)
      assert.strictEqual(yield* permits.free, 1)
      yield* Fiber.interrupt(working)
      assert.strictEqual(yield* permits.free, 2)
      yield* permits.idle
    }).pipe(Effect.provide(twoPermits))
  )
})
