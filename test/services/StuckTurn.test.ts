import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Logger } from "effect"
import { TestClock } from "effect/testing"
import { turnStarted } from "../../src/domain/observability/LiveTurn.ts"
import { offEvents } from "../../src/layers/gateway/GatewayEvents.ts"
import { Metrics } from "../../src/layers/Metrics.ts"
import { watchStuckTurn } from "../../src/services/StuckTurn.ts"
import { sampleObservation } from "../layers/sampleObservation.ts"

const sessionKey = "agent:engineer:testaccount1"
const run = "notification_1"

/** A running turn that is watched. `isIdle` is what the gateway answers. */
const watched = Effect.fnUntraced(function* (isIdle: boolean | null) {
  const metrics = yield* Metrics
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel}: ${String(message)}`))
  let asked = 0
  let lastEventAt: number | null = null
  const events: typeof offEvents = {
    ...offEvents,
    isIdle: () =>
      Effect.sync(() => {
        asked += 1
        return isIdle
      }),
    current: Effect.sync(() => new Map([[sessionKey, { ...turnStarted(sessionKey, 0), lastEventAt }]]))
  }
  yield* metrics.runStarted({
    kind: "notification",
    sessionKey,
    run,
    agent: "engineer",
    agentName: "Engineer",
    task: "Fix it",
    type: "assignment",
    attempt: 1,
    lateMillis: 0
  })
  const fiber = yield* Effect.forkScoped(
    Effect.provide(watchStuckTurn({ events, metrics }, { run, sessionKey }), Logger.layer([logger]))
  )
  return {
    metrics,
    lines,
    fiber,
    asked: () => asked,
    /** An event arrives that changes no tool. */
    event: Effect.map(Clock.currentTimeMillis, (now) => void (lastEventAt = now)),
    isStuck: Effect.map(metrics.activity, ({ running }) => running[0]?.isStuck)
  }
})

describe("a turn without events for three minutes", () => {
  it.effect("seems stuck if the gateway does nothing in its session, which is logged once", () =>
    Effect.gen(function* () {
      const { asked, event, isStuck, lines, metrics } = yield* watched(true)
      yield* TestClock.adjust("179 seconds")
      assert.strictEqual(asked(), 0)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(asked(), 1)
      assert.isTrue(yield* isStuck)
      yield* metrics.observe(sampleObservation)
      assert.include(yield* metrics.prometheus, "mission_control_stuck_turns 1")
      // It is not asked about again while it stays stuck.
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(asked(), 1)
      yield* event
      yield* TestClock.adjust("10 seconds")
      assert.isFalse(yield* isStuck)
      yield* TestClock.adjust("4 minutes")
      assert.isTrue(yield* isStuck)
      assert.lengthOf(lines, 1)
      assert.match(lines[0] ?? "", /^Warn: the turn seems stuck: no event for 3m/)
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("is no longer stuck with its next step", () =>
    Effect.gen(function* () {
      const { isStuck, metrics } = yield* watched(true)
      yield* TestClock.adjust("3 minutes")
      assert.isTrue(yield* isStuck)
      yield* metrics.toolSeen("exec", run)
      assert.isFalse(yield* isStuck)
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("is only quiet if the gateway works on it, and is asked about every three minutes", () =>
    Effect.gen(function* () {
      const { asked, isStuck, lines } = yield* watched(false)
      yield* TestClock.adjust("9 minutes")
      assert.strictEqual(asked(), 3)
      assert.isFalse(yield* isStuck)
      assert.deepStrictEqual(lines, [])
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("is not called stuck if the gateway cannot be asked, and never ends the watch", () =>
    Effect.gen(function* () {
      const { fiber, isStuck, lines } = yield* watched(null)
      yield* TestClock.adjust("1 hour")
      assert.isFalse(yield* isStuck)
      assert.deepStrictEqual(lines, [])
      assert.isUndefined(fiber.pollUnsafe())
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("is not asked about while the runtime executes its tool", () =>
    Effect.gen(function* () {
      const { asked, isStuck, metrics } = yield* watched(true)
      yield* metrics.toolStarted("task_get", run)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(asked(), 0)
      assert.isFalse(yield* isStuck)
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("is not asked about while events arrive", () =>
    Effect.gen(function* () {
      const { asked, event } = yield* watched(true)
      for (let minute = 0; minute < 10; minute += 1) {
        yield* TestClock.adjust("1 minute")
        yield* event
      }
      assert.strictEqual(asked(), 0)
    }).pipe(Effect.provide(Metrics.layer))
  )
})
