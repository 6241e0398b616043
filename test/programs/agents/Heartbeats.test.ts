import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Layer, Logger, Queue, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import { ControlPlaneUnavailable } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { Run } from "../../../src/domain/delivery/Run.ts"
import type { RunEnd } from "../../../src/domain/delivery/RunEnd.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import type { Settings } from "../../../src/layers/Config.ts"
import { ConvexClient } from "../../../src/layers/ConvexClient.ts"
import type { PushState } from "../../../src/layers/ConvexClient.ts"
import { Gateway } from "../../../src/layers/Gateway.ts"
import { GatewayProcess } from "../../../src/layers/gateway/GatewayProcess.ts"
import { Metrics } from "../../../src/layers/Metrics.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"
import { Heartbeats } from "../../../src/programs/agents/Heartbeats.ts"
import { DeliveryLoop } from "../../../src/programs/delivery/DeliveryLoop.ts"
import { RunExecution } from "../../../src/programs/delivery/RunExecution.ts"
import { GatewayGuard } from "../../../src/services/GatewayGuard.ts"
import { Leases } from "../../../src/services/Leases.ts"
import { Lifecycle } from "../../../src/services/Lifecycle.ts"
import { Permits } from "../../../src/services/Permits.ts"
import { Roster } from "../../../src/services/Roster.ts"
import { Supervisor } from "../../../src/services/Supervisor.ts"
import { agentOf, rosterOf } from "../../domain/tasks/sampleRoster.ts"
import { heartbeat, QueuePlane } from "../delivery/queuePlane.ts"

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
const unavailable = new ControlPlaneUnavailable({ function: "service/notifications:claim", detail: "ECONNREFUSED" })

/** Lets every fiber run until all wait for something. */
const settle = TestClock.adjust(0).pipe(Effect.andThen(Effect.yieldNow), Effect.repeat({ times: 30 }))

const heartbeatEnd = (changes: Partial<RunEnd> = {}): RunEnd => ({
  kind: "heartbeat",
  agent: "qa",
  outcome: "ok",
  error: null,
  isStored: true,
  dueInMillis: 15 * MINUTE,
  ...changes
})

/** Heartbeats over a loop whose claims the test answers. */
const setUp = (settings: Partial<Settings> = {}) =>
  Effect.gen(function* () {
    const heartbeatEnds = yield* Queue.unbounded<RunEnd>()
    /** The moments since which claims were asked for, by when. */
    const asked: Array<{ readonly at: number; readonly since: number }> = []
    const failures: Array<ControlPlaneFailure> = []
    const lines: Array<string> = []
    const loop = Layer.mock(DeliveryLoop, {
      heartbeatEnds: Effect.succeed(heartbeatEnds),
      state: Effect.succeed({ oldest: null, heartbeatsInFlight: 1, heartbeatsWaitSince: null }),
      claimedSince: Effect.fnUntraced(function* (since) {
        asked.push({ at: yield* Clock.currentTimeMillis, since })
        const failure = failures.shift()
        if (failure !== undefined) return yield* failure
      })
    })
    const logger = Logger.map(Logger.formatStructured, ({ level, message }) => {
      lines.push(`${level} ${String(message)}`)
    })
    const services = yield* Layer.build(
      Heartbeats.layer.pipe(
        Layer.provideMerge(Layer.mergeAll(Metrics.layer, Permits.layer, Roster.layer, Supervisor.layer)),
        Layer.provide([loop, Lifecycle.layerTest, RuntimeConfig.layerTest(settings)]),
        Layer.provideMerge(Logger.layer([logger]))
      )
    )
    const { heartbeats, metrics, roster } = yield* Effect.provideContext(
      Effect.all({ heartbeats: Heartbeats, metrics: Metrics, roster: Roster }),
      services
    )
    yield* Effect.provideContext(heartbeats.start, services)
    return {
      asked,
      end: (changes: Partial<RunEnd> = {}) => Effect.andThen(Queue.offer(heartbeatEnds, heartbeatEnd(changes)), settle),
      failures,
      heartbeats,
      lines,
      metrics,
      roster
    }
  })

describe("the next heartbeat", () => {
  it.effect("is claimed when it is due, and only once", () =>
    Effect.gen(function* () {
      const { asked, end } = yield* setUp()
      yield* TestClock.adjust(500)
      yield* end({ dueInMillis: 10_000 })
      yield* TestClock.adjust(9_999)
      assert.deepStrictEqual(asked, [])
      yield* TestClock.adjust(1)
      yield* TestClock.adjust("1 day")
      assert.deepStrictEqual(asked, [{ at: 10_500, since: 500 }])
    })
  )

  it.effect("is the earliest known one", () =>
    Effect.gen(function* () {
      const { asked, end } = yield* setUp()
      yield* end({ agent: "a", dueInMillis: 60_000 })
      yield* TestClock.adjust(5_000)
      yield* end({ agent: "b", dueInMillis: 10_000 })
      yield* end({ agent: "c", dueInMillis: 30_000 })
      yield* TestClock.adjust("1 day")
      assert.deepStrictEqual(asked, [{ at: 15_000, since: 5_000 }])
    })
  )

  it.effect("is claimed with backoff while claims fail, and other heartbeats' ends count in the meantime", () =>
    Effect.gen(function* () {
      const { asked, end, failures, heartbeats } = yield* setUp()
      failures.push(...Array.from({ length: 1_000 }, () => unavailable))
      yield* end({ dueInMillis: 1_000 })
      yield* TestClock.adjust("30 minutes")
      assert.isAtLeast(asked.length, 8)
      assert.isAtMost(asked.length, 60)
      yield* end({ dueInMillis: null })
      assert.deepStrictEqual((yield* heartbeats.state).outcomes, { ok: 2 })
      failures.splice(0)
      yield* TestClock.adjust("6 minutes")
      const before = asked.length
      yield* TestClock.adjust("1 day")
      assert.lengthOf(asked, before)
    })
  )
})

describe("the state of heartbeats", () => {
  it.effect("counts ends by outcome and keeps the last heartbeat and the last error", () =>
    Effect.gen(function* () {
      const { end, heartbeats, metrics, roster } = yield* setUp({ deliveryMaxConcurrentSessions: 20 })
      yield* roster.accept(rosterOf(1, [agentOf("qa"), agentOf("engineer")]))
      assert.deepStrictEqual(yield* heartbeats.state, {
        agents: 2,
        inFlight: 1,
        limit: 5,
        outcomes: {},
        lastHeartbeat: null,
        lastErrorAt: null,
        lastErrorMessage: null
      })
      yield* TestClock.adjust(1_000)
      yield* end({ outcome: "retrying", error: "ProviderFailed: 502", dueInMillis: 3_000 })
      yield* TestClock.adjust(1_000)
      yield* end({ outcome: "posted" })
      assert.deepInclude(yield* heartbeats.state, {
        outcomes: { retrying: 1, posted: 1 },
        lastHeartbeat: { agent: "qa", outcome: "posted", at: 2_000 },
        lastErrorAt: 1_000,
        lastErrorMessage: "ProviderFailed: 502"
      })
      const { agents } = yield* metrics.activity
      assert.strictEqual(agents.find(({ slug }) => slug === "qa")?.nextHeartbeatAt, 2_000 + 15 * MINUTE)
    })
  )
})

describe("heartbeats and the delivery loop", () => {
  it.effect(
    "give 50 agents 96 heartbeats a day each, none too early, without drift, with at most one claim for each",
    () =>
      Effect.gen(function* () {
        const plane = new QueuePlane()
        const agents = Array.from({ length: 50 }, (_, index) => ({
          run: heartbeat(`a${index}`),
          firstAt: ((index * 37) % 100) * 1_200,
          dueAt: ((index * 37) % 100) * 1_200,
          count: 0,
          isLeased: false
        }))
        plane.beforeClaim = (now) => {
          for (const agent of agents) {
            if (agent.isLeased || agent.dueAt > now) continue
            agent.isLeased = true
            plane.due.push({ ...agent.run, epoch: agent.count + 1, id: `${agents.indexOf(agent)}:${agent.dueAt}` })
          }
          const next = Math.min(...agents.filter(({ isLeased }) => !isLeased).map(({ dueAt }) => dueAt))
          plane.nextDueIn = Number.isFinite(next) ? next - now : null
        }
        const execute = Effect.fnUntraced(function* (run: Run) {
          const agent = agents[Number(run.id.split(":")[0])]!
          const startedAt = yield* Clock.currentTimeMillis
          assert.isAtLeast(startedAt, agent.dueAt)
          assert.isBelow(startedAt - agent.dueAt, MINUTE)
          yield* Effect.sleep(1_500)
          yield* plane.end(run)
          agent.count += 1
          agent.isLeased = false
          agent.dueAt = agent.firstAt + agent.count * 15 * MINUTE
          return heartbeatEnd({ agent: run.id, dueInMillis: agent.dueAt - (yield* Clock.currentTimeMillis) })
        })
        const push = yield* SubscriptionRef.make<PushState>({ isConnected: true, lastMessageAt: null })
        const services = yield* Layer.build(
          Heartbeats.layer.pipe(
            Layer.provideMerge(DeliveryLoop.layer),
            Layer.provideMerge(Layer.mergeAll(GatewayGuard.layer, Leases.layer, Permits.layer)),
            Layer.provideMerge(Supervisor.layer),
            Layer.provideMerge(Layer.mergeAll(Lifecycle.layerTest, Redactor.layer, Roster.layer, Metrics.layer)),
            Layer.provide([
              plane.layer,
              Layer.mock(RunExecution, { execute }),
              Layer.mock(ConvexClient, { push }),
              Layer.mock(Gateway, {}),
              GatewayProcess.layerTest,
              RuntimeConfig.layerTest({ deliveryMaxConcurrentSessions: 8 })
            ]),
            Layer.provideMerge(Logger.layer([]))
          )
        )
        const { heartbeats, lifecycle, loop } = yield* Effect.provideContext(
          Effect.all({ heartbeats: Heartbeats, lifecycle: Lifecycle, loop: DeliveryLoop }),
          services
        )
        yield* lifecycle.enter("ready")
        yield* Effect.provideContext(Effect.andThen(loop.start, heartbeats.start), services)
        yield* TestClock.adjust(DAY - 1)
        for (const { count } of agents) assert.strictEqual(count, 96)
        assert.isAtMost((yield* plane.claims).length, 50 * 96 * 1.1)
        assert.deepInclude(yield* heartbeats.state, { inFlight: 0, outcomes: { ok: 50 * 96 } })
      })
  )
})
