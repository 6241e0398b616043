import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Layer, Logger, Option, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import { ConvexClient } from "../../../src/layers/ConvexClient.ts"
import { Systemd } from "../../../src/layers/host/Systemd.ts"
import { Metrics } from "../../../src/layers/Metrics.ts"
import { statusLine, SystemdNotices } from "../../../src/programs/supervision/SystemdNotices.ts"
import { Lifecycle, StopSignal } from "../../../src/services/Lifecycle.ts"
import { RuntimeHealth } from "../../../src/services/RuntimeHealth.ts"
import { Supervisor } from "../../../src/services/Supervisor.ts"

/** Lets every fiber run until all wait for something. */
const settle = TestClock.adjust(0).pipe(Effect.andThen(Effect.yieldNow), Effect.repeat({ times: 30 }))

/** The notices beside a life that the test leads; `isWhole` is the supervisor's word. */
const setUp = (options: { readonly isListening?: boolean } = {}) =>
  Effect.gen(function* () {
    const said: Array<string> = []
    const signal = yield* Deferred.make<void>()
    let isWhole = true
    const push = yield* SubscriptionRef.make({ isConnected: true, lastMessageAt: null as number | null })
    const services = yield* Layer.build(
      SystemdNotices.layer.pipe(
        Layer.provide(
          Layer.effect(
            Supervisor,
            Effect.map(Supervisor, (real) => ({ ...real, isWhole: Effect.sync(() => isWhole) }))
          ).pipe(Layer.provide(Supervisor.layer))
        ),
        Layer.provide(RuntimeHealth.layer),
        Layer.provideMerge(Lifecycle.layerTest),
        Layer.provide([
          Layer.mock(ConvexClient, { push }),
          Metrics.layer,
          Layer.succeed(Systemd, {
            isListening: options.isListening ?? true,
            watchdog: Option.some(Duration.seconds(60)),
            notify: (assignments) => Effect.sync(() => void said.push(assignments.join("|")))
          }),
          RuntimeConfig.layerTest({ drainTimeout: Duration.seconds(25) }),
          Logger.layer([])
        ])
      )
    ).pipe(Effect.provideService(StopSignal, Deferred.await(signal)))
    const { lifecycle, notices } = yield* Effect.provideContext(
      Effect.all({ lifecycle: Lifecycle, notices: SystemdNotices }),
      services
    )
    yield* notices.start
    yield* settle
    return {
      lifecycle,
      notices,
      signal: Deferred.succeed(signal, undefined),
      setWhole: (whole: boolean) => {
        isWhole = whole
      },
      /** What was said since the last time this was asked. */
      heard: Effect.andThen(
        settle,
        Effect.sync(() => said.splice(0))
      )
    }
  })

describe("the reports to systemd", () => {
  it.effect("are READY once, with the status, and each different status", () =>
    Effect.gen(function* () {
      const { heard, lifecycle } = yield* setUp()
      assert.includeMembers(yield* heard, ["STATUS=booting"])
      yield* lifecycle.enter("ready")
      assert.deepStrictEqual(yield* heard, ["READY=1|STATUS=online"])
      yield* lifecycle.setPaused(true)
      assert.deepStrictEqual(yield* heard, ["STATUS=paused"])
      yield* lifecycle.setPaused(true)
      assert.deepStrictEqual(yield* heard, [])
      yield* lifecycle.setPaused(false)
      assert.deepStrictEqual(yield* heard, ["STATUS=online"])
    })
  )

  it.effect("are requests for more time while the start waits, and none after it", () =>
    Effect.gen(function* () {
      const { heard, lifecycle } = yield* setUp()
      const wishes = (lines: ReadonlyArray<string>) =>
        lines.filter((line) => line === "EXTEND_TIMEOUT_USEC=60000000").length
      assert.strictEqual(wishes(yield* heard), 1)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(wishes(yield* heard), 30)
      yield* lifecycle.enter("ready")
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(wishes(yield* heard), 0)
    })
  )

  it.effect("are WATCHDOG every half of its time, and not while a supervised loop is missing", () =>
    Effect.gen(function* () {
      const { heard, setWhole } = yield* setUp()
      const signs = Effect.map(heard, (lines) => lines.filter((line) => line === "WATCHDOG=1").length)
      assert.strictEqual(yield* signs, 1)
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(yield* signs, 10)
      setWhole(false)
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(yield* signs, 0)
    })
  )

  it.effect("are STOPPING at a signal, once, with the time that a drain takes", () =>
    Effect.gen(function* () {
      const { heard, notices, signal } = yield* setUp()
      yield* heard
      yield* signal
      assert.deepStrictEqual(yield* heard, ["STOPPING=1|EXTEND_TIMEOUT_USEC=43000000"])
      yield* notices.stopping
      assert.deepStrictEqual(yield* heard, [])
    })
  )

  it.effect("are STOPPING after the drain of a restart, and not during it", () =>
    Effect.gen(function* () {
      const { heard, lifecycle, notices } = yield* setUp()
      yield* lifecycle.enter("ready")
      yield* heard
      yield* lifecycle.requestStop("restart")
      yield* lifecycle.enter("draining")
      assert.deepStrictEqual(yield* heard, ["STATUS=draining"])
      yield* notices.stopping
      assert.deepStrictEqual(yield* heard, ["STOPPING=1|EXTEND_TIMEOUT_USEC=43000000"])
    })
  )

  it.effect("are not sent without systemd", () =>
    Effect.gen(function* () {
      const { heard, lifecycle, notices, signal } = yield* setUp({ isListening: false })
      yield* lifecycle.enter("ready")
      yield* signal
      yield* notices.stopping
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(yield* heard, [])
    })
  )
})

describe("the line that systemctl shows", () => {
  it("has the reasons on one line of at most 300 characters", () => {
    const reasons = ["paused", "gateway: not\nready", `breaker: ${"x".repeat(500)}`]
    const line = statusLine({ status: "degraded", reasons })
    assert.match(line, /^STATUS=degraded: paused; gateway: not ready; breaker: x+…$/)
    assert.lengthOf(line, 300)
  })
})
