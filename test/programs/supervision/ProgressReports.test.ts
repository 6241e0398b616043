import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Layer, Logger, Redacted, Ref, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import { ControlPlaneUnavailable } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import { turnStarted } from "../../../src/domain/observability/LiveTurn.ts"
import type { LiveTurn } from "../../../src/domain/observability/LiveTurn.ts"
import type { TurnProgress } from "../../../src/domain/observability/TurnProgress.ts"
import { noSpending } from "../../../src/domain/usage/Spending.ts"
import { GatewayEvents, offEvents } from "../../../src/layers/gateway/GatewayEvents.ts"
import { Metrics } from "../../../src/layers/Metrics.ts"
import { Commands } from "../../../src/programs/supervision/Commands.ts"
import { ProgressReports } from "../../../src/programs/supervision/ProgressReports.ts"
import { ControlPlane } from "../../../src/services/ControlPlane.ts"
import { Lifecycle } from "../../../src/services/Lifecycle.ts"
import { LiveRuns } from "../../../src/services/LiveRuns.ts"
import type { LiveRun } from "../../../src/services/LiveRuns.ts"
import { Supervisor } from "../../../src/services/Supervisor.ts"
import { sampleContext } from "../../domain/delivery/sampleContext.ts"

/** The control plane's clock is ahead of the process's. */
const AHEAD = 1_000_000

/** The reports of a process with `turns` running turns, which record every call. */
const setUp = Effect.fnUntraced(function* (turns: number) {
  const calls: Array<ReadonlyArray<TurnProgress>> = []
  const failure = yield* Ref.make<ControlPlaneFailure | null>(null)
  const live = new Map<string, LiveTurn>()
  const spending = yield* Ref.make(noSpending)
  const runs = Array.from({ length: turns }, (_, index): LiveRun => ({
    context: sampleContext({ sessionKey: `agent:engineer-${index}:testaccount1` }),
    fence: { run: `run_${index}`, session: `session_${index}`, epoch: 7 },
    spending,
    capability: Redacted.make("capability"),
    createdTaskIds: new Set(),
    httpEffects: [],
    within: (effect) => effect,
    end: Effect.void
  }))
  const running = new Set(runs)
  const watched = yield* SubscriptionRef.make({ since: 0, until: 0 })
  const services = yield* Layer.build(
    ProgressReports.layer.pipe(
      Layer.provideMerge(Metrics.layer),
      Layer.provideMerge(Supervisor.layer),
      Layer.provide([
        Lifecycle.layerTest,
        Layer.mock(Commands, { watched: SubscriptionRef.changes(watched) }),
        Layer.mock(ControlPlane, {
          bootId: "boot",
          now: Effect.map(Clock.currentTimeMillis, (now) => now + AHEAD),
          reportProgress: (reported) =>
            Effect.gen(function* () {
              calls.push(reported)
              const failed = yield* Ref.get(failure)
              if (failed !== null) return yield* failed
            })
        }),
        Layer.mock(LiveRuns, { current: Effect.sync(() => [...running]) }),
        Layer.succeed(GatewayEvents, { ...offEvents, current: Effect.succeed(live) })
      ]),
      Layer.provideMerge(Logger.layer([]))
    )
  )
  const { metrics, reports } = yield* Effect.provideContext(
    Effect.all({ metrics: Metrics, reports: ProgressReports }),
    services
  )
  for (const { fence } of runs) {
    yield* metrics.runStarted({
      kind: "notification",
      sessionKey: "agent:engineer:account",
      run: fence.run,
      agent: "engineer",
      agentName: "Engineer",
      task: "Fix it",
      type: "assignment",
      attempt: 1,
      lateMillis: 0
    })
  }
  yield* Effect.provideContext(reports.start, services)
  /** A watch of 60 s from now on, of which the process learns at once. */
  const watch = (since: number) =>
    Effect.gen(function* () {
      const now = (yield* Clock.currentTimeMillis) + AHEAD
      yield* SubscriptionRef.set(watched, { since: since + AHEAD, until: now + 60_000 })
      yield* TestClock.adjust(0)
    })
  /** The turn does something every second for that many seconds. */
  const busy = Effect.fnUntraced(function* (seconds: number) {
    for (let second = 0; second < seconds; second += 1) {
      yield* TestClock.adjust("1 second")
      yield* metrics.toolSeen(second % 2 === 0 ? "exec" : null, "run_0")
    }
  })
  return { busy, calls, failure, live, metrics, running, runs, watch }
})

describe("reports of progress", () => {
  it.effect("make no call while no one watches", () =>
    Effect.gen(function* () {
      const { busy, calls } = yield* setUp(1)
      yield* busy(600)
      assert.lengthOf(calls, 0)
    })
  )

  it.effect("make at most six calls a minute for all turns together while someone watches, and none afterwards", () =>
    Effect.gen(function* () {
      const { busy, calls, watch } = yield* setUp(20)
      yield* watch(0)
      assert.lengthOf(calls, 1)
      assert.lengthOf(calls[0] ?? [], 20)
      yield* busy(59)
      assert.lengthOf(calls, 6)
      yield* watch(0)
      yield* busy(60)
      assert.isAtMost(calls.length, 12)
      // The second watch has ended.
      yield* busy(1)
      const { length } = calls
      yield* busy(600)
      assert.lengthOf(calls, length)
    })
  )

  it.effect(
    "contain session and epoch, tool, since when it runs, the last event and whether the turn seems stuck",
    () =>
      Effect.gen(function* () {
        const { calls, live, metrics, runs, watch } = yield* setUp(1)
        yield* TestClock.adjust("5 seconds")
        yield* metrics.toolStarted("task_get", "run_0")
        live.set(runs[0]!.context.sessionKey, { ...turnStarted("", 0), lastEventAt: 8_000 })
        yield* TestClock.adjust("5 seconds")
        yield* watch(10_000)
        const first = { session: "session_0", epoch: 7, tool: "task_get", stepSince: 5_000, lastActivityAt: 8_000 }
        assert.deepStrictEqual(calls, [[{ ...first, isStuck: false }]])
        yield* metrics.turnStuck("run_0", true)
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(calls[1], [{ ...first, isStuck: true }])
      })
  )

  it.effect("are not repeated while nothing changes, except for the next people who watch", () =>
    Effect.gen(function* () {
      const { calls, watch } = yield* setUp(1)
      yield* watch(0)
      yield* TestClock.adjust("2 minutes")
      assert.lengthOf(calls, 1)
      yield* watch(120_000)
      assert.lengthOf(calls, 2)
      yield* TestClock.adjust("30 seconds")
      yield* watch(120_000)
      yield* TestClock.adjust("30 seconds")
      assert.lengthOf(calls, 2)
    })
  )

  it.effect("make no call without a running turn, and one for the turn that starts", () =>
    Effect.gen(function* () {
      const { calls, running, runs, watch } = yield* setUp(1)
      running.clear()
      yield* watch(0)
      yield* TestClock.adjust("20 seconds")
      assert.lengthOf(calls, 0)
      running.add(runs[0]!)
      yield* TestClock.adjust("10 seconds")
      assert.lengthOf(calls, 1)
    })
  )

  it.effect("are sent again ten seconds after a failure, which affects nothing else", () =>
    Effect.gen(function* () {
      const { calls, failure, watch } = yield* setUp(1)
      const away = new ControlPlaneUnavailable({ function: "service/runs:progress", detail: "ECONNREFUSED" })
      yield* Ref.set(failure, away)
      yield* watch(0)
      yield* TestClock.adjust("10 seconds")
      assert.lengthOf(calls, 2)
      yield* Ref.set(failure, null)
      yield* TestClock.adjust("20 seconds")
      assert.lengthOf(calls, 3)
    })
  )
})
