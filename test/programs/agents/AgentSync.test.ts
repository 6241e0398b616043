import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Queue, Ref, Result, Stream, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import { ControlPlaneUnavailable } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { Roster as Agents } from "../../../src/domain/tasks/Roster.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import { ConvexClient } from "../../../src/layers/ConvexClient.ts"
import type { PushState } from "../../../src/layers/ConvexClient.ts"
import { Metrics } from "../../../src/layers/Metrics.ts"
import { AgentSync } from "../../../src/programs/agents/AgentSync.ts"
import { ControlPlane } from "../../../src/services/ControlPlane.ts"
import { Lifecycle } from "../../../src/services/Lifecycle.ts"
import { Roster } from "../../../src/services/Roster.ts"
import { Supervisor } from "../../../src/services/Supervisor.ts"
import { agentOf, rosterOf } from "../../domain/tasks/sampleRoster.ts"

const away = new ControlPlaneUnavailable({ function: "service/agents:list", detail: "ECONNREFUSED" })

const setUp = Effect.gen(function* () {
  const pushed = yield* Queue.unbounded<Result.Result<Agents, ControlPlaneFailure>>()
  const answer = yield* Ref.make<Effect.Effect<Agents, ControlPlaneFailure>>(Effect.succeed(rosterOf(1, [])))
  const reads = yield* Ref.make(0)
  const push = yield* SubscriptionRef.make<PushState>({ isConnected: true, lastMessageAt: null })
  const lines: Array<string> = []
  const logger = Logger.map(Logger.formatStructured, ({ level, message }) => {
    lines.push(`${level} ${String(message)}`)
  })
  const services = yield* Layer.build(
    AgentSync.layer.pipe(
      Layer.provideMerge(Layer.mergeAll(Supervisor.layer, Roster.layer)),
      Layer.provideMerge(Lifecycle.layerTest),
      Layer.provide([
        Layer.mock(ControlPlane, {
          bootId: "boot",
          rosters: Stream.fromQueue(pushed),
          readRoster: Effect.andThen(
            Ref.update(reads, (count) => count + 1),
            Effect.flatten(Ref.get(answer))
          )
        }),
        Layer.mock(ConvexClient, { push }),
        Metrics.layer,
        RuntimeConfig.layerTest()
      ]),
      Layer.provideMerge(Logger.layer([logger]))
    )
  )
  const within = <A, E>(effect: Effect.Effect<A, E>) => Effect.provideContext(effect, services)
  const { roster, sync } = yield* Effect.provideContext(Effect.all({ roster: Roster, sync: AgentSync }), services)
  return {
    answer,
    lines,
    onRevision: (revision: number) => within(sync.onRevision(revision)),
    push,
    pushed,
    reads,
    roster,
    start: within(sync.start),
    state: sync.state
  }
})

const settle = TestClock.adjust(0).pipe(Effect.andThen(Effect.yieldNow), Effect.repeat({ times: 20 }))

describe("the roster", () => {
  it.effect("is the last pushed one, and names new and removed agents", () =>
    Effect.gen(function* () {
      const { lines, pushed, reads, roster, start, state } = yield* setUp
      yield* start
      yield* Queue.offer(pushed, Result.succeed(rosterOf(1, [agentOf("a"), agentOf("b")])))
      yield* Queue.offer(pushed, Result.succeed(rosterOf(2, [agentOf("b"), agentOf("c")])))
      yield* settle
      assert.deepStrictEqual(
        (yield* roster.current)?.agents.map(({ id }) => id),
        ["b", "c"]
      )
      assert.isTrue(lines.some((line) => line === "INFO roster: added c; removed a"))
      assert.deepInclude(yield* state, { revision: 2, agents: 2, lastErrorAt: null })
      assert.strictEqual(yield* Ref.get(reads), 0)
    })
  )

  it.effect("is sent to its followers: the present one first, then each different one", () =>
    Effect.gen(function* () {
      const { pushed, roster, start } = yield* setUp
      const seen = yield* Queue.unbounded<number>()
      yield* start
      yield* Queue.offer(pushed, Result.succeed(rosterOf(1, [agentOf("a")])))
      yield* settle
      yield* Effect.forkScoped(Stream.runForEach(roster.changes, ({ revision }) => Queue.offer(seen, revision)))
      yield* settle
      for (const revision of [1, 1, 2]) {
        yield* Queue.offer(pushed, Result.succeed(rosterOf(revision, [agentOf("a")])))
        yield* settle
      }
      assert.deepStrictEqual([...(yield* Queue.clear(seen))], [1, 2])
    }).pipe(Effect.scoped)
  )

  it.effect("is read when the pulse reports another revision, and not for the known one", () =>
    Effect.gen(function* () {
      const { answer, onRevision, reads, roster } = yield* setUp
      yield* Ref.set(answer, Effect.succeed(rosterOf(5, [agentOf("a")])))
      yield* onRevision(5)
      assert.strictEqual((yield* roster.current)?.revision, 5)
      yield* onRevision(5)
      assert.strictEqual(yield* Ref.get(reads), 1)
      // A control plane that was restored from a copy counts from an earlier one.
      yield* Ref.set(answer, Effect.succeed(rosterOf(3, [])))
      yield* onRevision(3)
      assert.strictEqual((yield* roster.current)?.revision, 3)
    })
  )

  it.effect("is not replaced by an older one that arrives late", () =>
    Effect.gen(function* () {
      const { pushed, roster, start } = yield* setUp
      yield* start
      yield* Queue.offer(pushed, Result.succeed(rosterOf(7, [agentOf("new")])))
      yield* Queue.offer(pushed, Result.succeed(rosterOf(6, [agentOf("old")])))
      yield* settle
      assert.deepStrictEqual(
        (yield* roster.current)?.agents.map(({ id }) => id),
        ["new"]
      )
    })
  )

  it.effect("is read every AGENT_SYNC_INTERVAL while push is down, and not while it is up", () =>
    Effect.gen(function* () {
      const { push, reads, start } = yield* setUp
      yield* start
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Ref.get(reads), 0)
      yield* SubscriptionRef.set(push, { isConnected: false, lastMessageAt: null })
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Ref.get(reads), 12)
      yield* SubscriptionRef.set(push, { isConnected: true, lastMessageAt: null })
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Ref.get(reads), 12)
    })
  )

  it.effect("stays in use while the control plane is unavailable, which is logged once and shown", () =>
    Effect.gen(function* () {
      const { answer, lines, onRevision, push, pushed, roster, start, state } = yield* setUp
      yield* start
      yield* Queue.offer(pushed, Result.succeed(rosterOf(1, [agentOf("a")])))
      yield* settle
      yield* TestClock.adjust(1_000)
      yield* Ref.set(answer, Effect.fail(away))
      yield* SubscriptionRef.set(push, { isConnected: false, lastMessageAt: null })
      yield* Queue.offer(pushed, Result.fail(away))
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(
        (yield* roster.current)?.agents.map(({ id }) => id),
        ["a"]
      )
      const { lastErrorAt, lastErrorMessage } = yield* state
      assert.isNotNull(lastErrorAt)
      assert.include(lastErrorMessage ?? "", "ECONNREFUSED")
      assert.lengthOf(
        lines.filter((line) => line.startsWith("WARN")),
        1
      )
      yield* Ref.set(answer, Effect.succeed(rosterOf(2, [agentOf("b")])))
      yield* onRevision(2)
      assert.deepStrictEqual(
        (yield* roster.current)?.agents.map(({ id }) => id),
        ["b"]
      )
      const told = lines.filter((line) => line.includes("the roster "))
      assert.lengthOf(told, 2)
      assert.match(told[1]!, /^INFO the roster can be read again, after ControlPlaneUnavailable [1-9]\d*$/)
    })
  )
})
