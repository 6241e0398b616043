import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { ControlPlaneUnavailable, LeaseLost } from "../../src/domain/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../src/domain/ControlPlaneFailure.ts"
import type { Fence } from "../../src/domain/Delivery.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import { ControlPlane } from "../../src/services/ControlPlane.ts"
import { Leases } from "../../src/services/Leases.ts"

const fence: Fence = { session: "session_1", epoch: 7 }
const away = new ControlPlaneUnavailable({ function: "renew", detail: "ECONNREFUSED" })

/** Leases of ninety seconds; the renewals that were asked for, answered as the test has it. */
const house = Effect.gen(function* () {
  const renewals: Array<Fence> = []
  const answers: Array<Effect.Effect<void, ControlPlaneFailure>> = []
  const controlPlane = Layer.mock(ControlPlane, {
    bootId: "boot",
    renew: (fence) =>
      Effect.suspend(() => {
        renewals.push(fence)
        return answers.shift() ?? Effect.void
      })
  })
  const layer = Leases.layer.pipe(
    Layer.provide([controlPlane, RuntimeConfig.layerTest({ deliveryLease: Duration.seconds(90) })])
  )
  const services = yield* Layer.build(layer)
  return { answers, leases: yield* Effect.provideContext(Leases, services), renewals }
})

const quiet = Effect.provide(Logger.layer([]))

describe("a lease", () => {
  it.effect("is overdue once half of its time has passed without a renewal, and not again after one", () =>
    Effect.gen(function* () {
      const { leases, renewals } = yield* house
      yield* leases.hold(fence, 0)
      yield* TestClock.adjust("45 seconds")
      yield* leases.renewOverdue
      assert.deepStrictEqual(renewals, [])
      yield* TestClock.adjust("1 second")
      yield* leases.renewOverdue
      yield* leases.renewOverdue
      assert.deepStrictEqual(renewals, [fence])
      yield* TestClock.adjust("46 seconds")
      yield* leases.drop(fence)
      yield* leases.renewOverdue
      assert.lengthOf(renewals, 1)
    }).pipe(quiet)
  )

  it.effect("whose work began late is renewed when a third of its time has passed, counted from its claim", () =>
    Effect.gen(function* () {
      const { leases, renewals } = yield* house
      yield* leases.hold(fence, 0)
      yield* TestClock.adjust("25 seconds")
      const working = yield* Effect.forkChild(leases.during(fence, Effect.sleep("40 seconds")))
      yield* TestClock.adjust("5 seconds")
      assert.lengthOf(renewals, 1)
      yield* TestClock.adjust("30 seconds")
      assert.lengthOf(renewals, 2)
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(working)
      yield* TestClock.adjust("10 minutes")
      assert.lengthOf(renewals, 2)
      // Its end may still be on its way to the control plane.
      yield* leases.renewOverdue
      assert.lengthOf(renewals, 3)
    }).pipe(quiet)
  )

  it.effect("whose renewal hangs is renewed beside that before something is claimed", () =>
    Effect.gen(function* () {
      const { answers, leases, renewals } = yield* house
      answers.push(Effect.never)
      yield* Effect.forkChild(leases.during(fence, Effect.never))
      yield* TestClock.adjust("46 seconds")
      assert.lengthOf(renewals, 1)
      yield* leases.renewOverdue
      assert.lengthOf(renewals, 2)
    }).pipe(quiet)
  )

  it.effect("that cannot be renewed stays overdue and lets nothing be claimed; one that is lost does not", () =>
    Effect.gen(function* () {
      const { answers, leases, renewals } = yield* house
      yield* leases.hold(fence, 0)
      yield* TestClock.adjust("1 minute")
      answers.push(Effect.fail(away), Effect.fail(new LeaseLost({ function: "renew" })))
      assert.deepStrictEqual(yield* Effect.flip(leases.renewOverdue), away)
      yield* leases.renewOverdue
      yield* leases.renewOverdue
      assert.lengthOf(renewals, 2)
    }).pipe(quiet)
  )

  it.effect("that another renewal finds lost interrupts its work at once", () =>
    Effect.gen(function* () {
      const { answers, leases } = yield* house
      const lost = new LeaseLost({ function: "renew" })
      answers.push(Effect.never, Effect.fail(lost))
      const working = yield* Effect.forkChild(leases.during(fence, Effect.never))
      yield* TestClock.adjust("46 seconds")
      yield* leases.renewOverdue
      assert.deepStrictEqual(yield* Fiber.await(working), Exit.fail(lost))
    }).pipe(quiet)
  )

  it.effect("is renewed once for all who ask meanwhile, also when the first of them leaves", () =>
    Effect.gen(function* () {
      const { answers, leases, renewals } = yield* house
      yield* leases.hold(fence, 0)
      yield* TestClock.adjust("1 minute")
      answers.push(Effect.sleep("10 seconds"))
      const [first, second] = [
        yield* Effect.forkChild(leases.renewOverdue),
        yield* Effect.forkChild(leases.renewOverdue)
      ]
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust("9 seconds")
      yield* Fiber.join(second)
      assert.lengthOf(renewals, 1)
    }).pipe(quiet)
  )

  it.effect("is overdue after a sleep of the machine, which its monotonic clock does not count", () =>
    Effect.gen(function* () {
      const { leases, renewals } = yield* house
      const clock = yield* Clock.Clock
      let asleep = 0
      const timeOfDay = () => clock.currentTimeMillisUnsafe() + asleep
      const clocks = { ...clock, currentTimeMillisUnsafe: timeOfDay, currentTimeMillis: Effect.sync(timeOfDay) }
      yield* Effect.gen(function* () {
        yield* leases.hold(fence, 0)
        yield* leases.renewOverdue
        assert.lengthOf(renewals, 0)
        asleep = 600_000
        yield* leases.renewOverdue
        assert.lengthOf(renewals, 1)
      }).pipe(Effect.provideService(Clock.Clock, clocks))
    }).pipe(quiet)
  )

  it.effect("that is lost interrupts the work and is its failure", () =>
    Effect.gen(function* () {
      const { answers, leases } = yield* house
      const lost = new LeaseLost({ function: "renew" })
      answers.push(Effect.fail(away), Effect.fail(lost))
      let isInterrupted = false
      const work = Effect.onInterrupt(Effect.never, () => Effect.sync(() => (isInterrupted = true)))
      const working = yield* Effect.forkChild(leases.during(fence, work))
      yield* TestClock.adjust("59 seconds")
      assert.isUndefined(working.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.await(working), Exit.fail(lost))
      assert.isTrue(isInterrupted)
    }).pipe(quiet)
  )
})
