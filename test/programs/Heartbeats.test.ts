import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, Layer, Logger, Ref, Scope } from "effect"
import { TestClock } from "effect/testing"
import { BootConflict, ControlPlaneUnavailable } from "../../src/domain/ControlPlaneFailure.ts"
import type { BeatAnswer } from "../../src/domain/Heartbeat.ts"
import { GatewayUnreachable } from "../../src/domain/TurnFailure.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import type { Settings } from "../../src/layers/Config.ts"
import { Gateway } from "../../src/layers/Gateway.ts"
import { Metrics } from "../../src/layers/Metrics.ts"
import { Beats } from "../../src/programs/Beats.ts"
import { DeliveryLoop } from "../../src/programs/DeliveryLoop.ts"
import { Heartbeats } from "../../src/programs/Heartbeats.ts"
import { ControlPlane } from "../../src/services/ControlPlane.ts"
import { GatewayGuard } from "../../src/services/GatewayGuard.ts"
import { Leases } from "../../src/services/Leases.ts"
import { Lifecycle } from "../../src/services/Lifecycle.ts"
import { Permits } from "../../src/services/Permits.ts"
import { Roster } from "../../src/services/Roster.ts"
import { Supervisor } from "../../src/services/Supervisor.ts"
import { agentOf, BeatPlane, rosterOf } from "./beatPlane.ts"

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
const away = new ControlPlaneUnavailable({ function: "service/sessions:claimBeat", detail: "ECONNREFUSED" })

/** A runtime's heartbeats over a control plane in memory; a beat's turn takes `turnMillis`. */
const runtime = (
  plane: BeatPlane,
  options: {
    readonly settings?: Partial<Settings>
    readonly turnMillis?: number
    readonly lines?: Array<string>
    /** So much the control plane's clock is ahead of what the runtime knows of it. */
    readonly behindMillis?: number
    readonly renewOverdue?: Effect.Effect<void, ControlPlaneUnavailable>
    /** Its answers tell it the time. */
    readonly isTold?: boolean
  } = {}
) =>
  Effect.gen(function* () {
    const running = yield* Ref.make(0)
    const most = yield* Ref.make(0)
    const wakes = yield* Ref.make(0)
    const begun: Array<{ readonly id: string; readonly at: number }> = []
    const scope = yield* Scope.fork(yield* Effect.scope)
    const heldSince: Array<number> = []
    let behind = options.behindMillis ?? 0
    const beats = Layer.mock(Beats, {
      run: Effect.fnUntraced(function* (beat) {
        begun.push({ id: beat.heartbeatId, at: yield* Clock.currentTimeMillis })
        const now = yield* Ref.updateAndGet(running, (count) => count + 1)
        yield* Ref.update(most, (count) => Math.max(count, now))
        return yield* Effect.sleep(options.turnMillis ?? 1_000).pipe(
          Effect.andThen(Effect.orDie(plane.updateAgentHeartbeat(beat, { status: "idle", currentTaskId: null }))),
          Effect.map(({ dueAt, hasWork, now }) => ({
            outcome: "ok" as const,
            error: null,
            nextInMillis: dueAt - now,
            hasWork
          })),
          Effect.onInterrupt(() => Effect.ignore(plane.release(beat))),
          Effect.ensuring(Ref.update(running, (count) => count - 1))
        )
      })
    })
    const logger = Logger.map(Logger.formatStructured, ({ level, message }) => {
      options.lines?.push(`${level} ${String(message)}`)
    })
    const layer = Heartbeats.layer.pipe(
      Layer.provideMerge(Layer.mergeAll(GatewayGuard.layer, Supervisor.layer, Permits.layer)),
      Layer.provideMerge(Layer.mergeAll(Lifecycle.layerTest, Roster.layer)),
      Layer.provide([
        beats,
        Layer.mock(ControlPlane, {
          bootId: "boot",
          now: Effect.map(Clock.currentTimeMillis, (now) => now - behind),
          claimBeat: (request) =>
            Effect.tap(plane.claimBeat(request), () =>
              Effect.sync(() => {
                if (options.isTold === true) behind = 0
              })
            ),
          release: plane.release
        }),
        Layer.mock(DeliveryLoop, {
          wake: Ref.update(wakes, (count) => count + 1),
          beatEnded: (hasWork) => (hasWork ? Ref.update(wakes, (count) => count + 1) : Effect.void)
        }),
        Layer.mock(Gateway, {}),
        Layer.mock(Leases, {
          hold: (_, since) => Effect.sync(() => void heldSince.push(since)),
          renewOverdue: options.renewOverdue ?? Effect.void
        }),
        Metrics.layer,
        RuntimeConfig.layerTest(options.settings),
        NodeCrypto.layerSecureRandom
      ]),
      Layer.provideMerge(Logger.layer([logger]))
    )
    const services = yield* Layer.build(layer).pipe(Scope.provide(scope))
    const { guard, heartbeats, lifecycle, permits, roster } = yield* Effect.provideContext(
      Effect.all({
        guard: GatewayGuard,
        heartbeats: Heartbeats,
        lifecycle: Lifecycle,
        permits: Permits,
        roster: Roster
      }),
      services
    )
    return {
      begun,
      close: Scope.close(scope, Exit.void),
      guard,
      heartbeats,
      /** Since when the leases of the beats were counted as held, monotonic milliseconds. */
      heldSince,
      lifecycle,
      /** How many beats ran at once at most. */
      most,
      permits,
      roster,
      running,
      wakes,
      start: Effect.provideContext(Effect.andThen(lifecycle.enter("ready"), heartbeats.start), services)
    }
  })

/** Lets every fiber run until all wait for something. */
const settle = TestClock.adjust(0).pipe(Effect.andThen(Effect.yieldNow), Effect.repeat({ times: 30 }))

/** Gives plane and runtimes the same agents. */
const publish = (
  plane: BeatPlane,
  houses: ReadonlyArray<{ readonly roster: Roster["Service"] }>,
  roster: ReturnType<typeof rosterOf>
) =>
  Effect.gen(function* () {
    plane.setRoster(roster)
    for (const house of houses) yield* house.roster.accept(roster)
    yield* settle
  })

const agents = (count: number, heartbeat: number | string = 15) =>
  Array.from({ length: count }, (_, index) => agentOf(`a${index}`, { heartbeat }))

describe("heartbeats", () => {
  it.effect("of 50 agents over a day: 96 each, first ones spread over two minutes, none too early, no drift", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      const house = yield* runtime(plane, { turnMillis: 1_500 })
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(50)))
      const from = yield* Clock.currentTimeMillis
      yield* TestClock.adjust(DAY - 1)
      const perAgent = Map.groupBy(house.begun, ({ id }) => id.split(":")[0]!)
      assert.strictEqual(perAgent.size, 50)
      const firsts: Array<number> = []
      for (const [agent, own] of perAgent) {
        assert.strictEqual(own.length, 96, agent)
        const dueAts = own.map(({ id }) => Number(id.split(":")[1]))
        const [first = 0] = dueAts
        firsts.push(first - from)
        // Every beat is due exactly a whole number of intervals after the first, however late the last one ran.
        assert.deepStrictEqual(
          dueAts,
          dueAts.map((_, index) => first + index * 15 * MINUTE)
        )
        for (const [index, { at }] of own.entries()) {
          assert.isAtLeast(at, dueAts[index]!)
          assert.isBelow(at, dueAts[index]! + MINUTE)
        }
      }
      assert.isAtLeast(Math.min(...firsts), 0)
      assert.isAtMost(Math.max(...firsts), 2 * MINUTE)
      assert.isAbove(new Set(firsts).size, 40)
      assert.isAtMost(yield* Ref.get(house.most), 2)
      assert.deepStrictEqual(
        [...plane.counts.values()],
        Array.from({ length: 50 * 96 }, () => 1)
      )
      // One question to learn the moment, then one a beat, and one more when a beat of its session was in the way.
      assert.isAtMost(plane.asked.length, 50 * 97)
      assert.deepInclude(yield* house.heartbeats.state, { agents: 50, inFlight: 0, outcomes: { ok: 50 * 96 } })
    })
  )

  it.effect("of two runtimes on one account: each beat once, whichever runs it", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      const houses = [yield* runtime(plane), yield* runtime(plane)]
      for (const house of houses) yield* house.start
      yield* publish(plane, houses, rosterOf(1, agents(10)))
      yield* TestClock.adjust(6 * 60 * MINUTE - 1)
      assert.deepStrictEqual(
        [...plane.counts.values()],
        Array.from({ length: 10 * 24 }, () => 1)
      )
      assert.strictEqual(
        houses.reduce((sum, { begun }) => sum + begun.length, 0),
        10 * 24
      )
    })
  )

  it.effect("of an agent that comes begin at once, and there is one chain however often the roster is told", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      const house = yield* runtime(plane)
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(1)))
      const before = plane.asked.length
      yield* publish(plane, [house], rosterOf(2, agents(2)))
      assert.deepStrictEqual(
        plane.asked.slice(before).map(({ agentId }) => agentId),
        ["a1"]
      )
      for (let revision = 3; revision < 20; revision++) {
        yield* publish(
          plane,
          [house],
          rosterOf(
            revision,
            agents(2).map((agent) => ({ ...agent, role: `r${revision}` }))
          )
        )
      }
      assert.strictEqual(plane.asked.length, before + 1)
      yield* TestClock.adjust(62 * MINUTE)
      assert.strictEqual((yield* house.heartbeats.state).agents, 2)
      assert.deepStrictEqual(
        [...plane.counts.values()],
        Array.from({ length: plane.counts.size }, () => 1)
      )
      assert.strictEqual(plane.finished.length, 10)
    })
  )

  it.effect("follow a changed interval at once", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      const house = yield* runtime(plane)
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, [agentOf("a0", { heartbeat: 1_440 })]))
      yield* TestClock.adjust(10 * MINUTE)
      assert.lengthOf(house.begun, 1)
      yield* publish(plane, [house], rosterOf(2, [agentOf("a0", { heartbeat: 1 })]))
      yield* TestClock.adjust(10 * MINUTE)
      assert.isAtLeast(house.begun.length, 10)
      yield* publish(plane, [house], rosterOf(3, [agentOf("a0", { heartbeat: 60 })]))
      const sofar = house.begun.length
      yield* TestClock.adjust(30 * MINUTE)
      assert.isAtMost(house.begun.length, sofar + 1)
    })
  )

  it.effect("of an agent that is removed in mid-beat: the beat ends well, and no other follows", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      const house = yield* runtime(plane, { turnMillis: 30_000 })
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(2)))
      yield* TestClock.adjust(2_000)
      assert.strictEqual(yield* Ref.get(house.running), 1)
      const asked = () => plane.asked.filter(({ agentId }) => agentId === "a0").length
      const before = asked()
      yield* publish(plane, [house], rosterOf(2, [agentOf("a1")]))
      assert.strictEqual(yield* Ref.get(house.running), 1)
      assert.strictEqual((yield* house.heartbeats.state).agents, 1)
      yield* TestClock.adjust(DAY)
      assert.deepStrictEqual(
        [...plane.counts].filter(([id]) => id.startsWith("a0:")).map(([, count]) => count),
        [1]
      )
      assert.strictEqual(asked(), before)
      assert.strictEqual([...plane.counts].filter(([id]) => id.startsWith("a1:")).length, 96)
      assert.deepStrictEqual(plane.givenBack, [])
    })
  )

  it.effect("never take the last free permit, and a quarter of all at most", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      const house = yield* runtime(plane, { settings: { deliveryMaxConcurrentSessions: 8 }, turnMillis: 60_000 })
      yield* house.start
      for (let index = 0; index < 7; index++) yield* house.permits.take
      yield* publish(plane, [house], rosterOf(1, agents(20)))
      yield* TestClock.adjust(5 * MINUTE)
      assert.lengthOf(house.begun, 0)
      assert.strictEqual(yield* house.permits.free, 1)
      yield* house.permits.giveBack
      yield* TestClock.adjust(3 * MINUTE)
      assert.strictEqual(yield* Ref.get(house.most), 1)
      assert.isAtLeast(yield* house.permits.free, 1)
      for (let index = 0; index < 6; index++) yield* house.permits.giveBack
      yield* TestClock.adjust(10 * MINUTE)
      assert.strictEqual(yield* Ref.get(house.most), 2)
      const before = yield* Ref.get(house.wakes)
      plane.hasWork = true
      const begun = house.begun.length
      yield* TestClock.adjust(20 * MINUTE)
      assert.isAbove(house.begun.length, begun)
      assert.isAtLeast((yield* Ref.get(house.wakes)) - before, house.begun.length - begun - 2)
    })
  )

  it.effect("of an account with nothing to deliver do not make the delivery loop claim", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      const house = yield* runtime(plane)
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(3)))
      yield* TestClock.adjust(DAY)
      assert.isAtLeast(house.begun.length, 3 * 96)
      assert.strictEqual(yield* Ref.get(house.wakes), 0)
    })
  )

  it.effect("make the delivery loop look when one of them was the breaker's probe", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      const house = yield* runtime(plane)
      yield* Effect.repeat(house.guard.sharedFailure(new GatewayUnreachable({ detail: "refused" }), "agent"), {
        times: 4
      })
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(1)))
      yield* TestClock.adjust(10 * MINUTE)
      assert.lengthOf(house.begun, 1)
      assert.strictEqual(yield* Ref.get(house.wakes), 1)
    })
  )

  it.effect("are not asked for while paused, draining, or without control plane, and go on afterwards", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      const house = yield* runtime(plane)
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(5)))
      yield* TestClock.adjust(20 * MINUTE)
      const standsStill = Effect.fnUntraced(function* (change: Effect.Effect<void>, back: Effect.Effect<void>) {
        yield* change
        yield* settle
        yield* TestClock.adjust(MINUTE)
        const before = plane.asked.length
        yield* TestClock.adjust(3 * 60 * MINUTE)
        assert.isAtMost(plane.asked.length, before)
        yield* back
        yield* TestClock.adjust(20 * MINUTE)
        assert.isAbove(plane.asked.length, before)
      })
      const { lifecycle } = house
      yield* standsStill(lifecycle.setPaused(true), lifecycle.setPaused(false))
      yield* standsStill(lifecycle.setReason("control-plane", "away"), lifecycle.setReason("control-plane", null))
      yield* standsStill(lifecycle.enter("draining"), lifecycle.enter("ready"))
    })
  )

  it.effect("wait while the breaker is open", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      const house = yield* runtime(plane)
      yield* house.start
      for (let index = 0; index < 5; index++) {
        yield* house.guard.sharedFailure(new GatewayUnreachable({ detail: "refused" }), "a0")
      }
      yield* publish(plane, [house], rosterOf(1, agents(3)))
      yield* TestClock.adjust(29_000)
      assert.lengthOf(plane.asked, 0)
      yield* TestClock.adjust(3 * MINUTE)
      assert.isAbove(plane.asked.length, 0)
    })
  )

  it.effect("are not asked for before the leases are renewed that may have expired", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      let isAway = true
      const house = yield* runtime(plane, {
        renewOverdue: Effect.suspend(() => (isAway ? Effect.fail(away) : Effect.void))
      })
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(1)))
      yield* TestClock.adjust(20 * MINUTE)
      assert.lengthOf(plane.asked, 0)
      isAway = false
      yield* TestClock.adjust(10 * MINUTE)
      assert.isNotEmpty(house.begun)
    })
  )

  it.effect("ask again with the same request when an answer was lost, with backoff", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      plane.claimFailures.push(away, away, away)
      const house = yield* runtime(plane)
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(1)))
      yield* TestClock.adjust(5 * MINUTE)
      assert.isAtLeast(plane.asked.length, 4)
      const first = plane.asked.slice(0, 4)
      assert.strictEqual(new Set(first.map(({ requestId }) => requestId)).size, 1)
      assert.notStrictEqual(plane.asked[4]?.requestId, first[0]?.requestId)
      assert.isAbove(first[3]!.at, first[0]!.at)
      assert.strictEqual(plane.finished.length, 1)
    })
  )

  it.effect("count their lease as held since they were first asked for", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      const house = yield* runtime(plane)
      yield* house.start
      plane.claimFailures.push(away, away)
      yield* publish(plane, [house], rosterOf(1, agents(1)))
      yield* TestClock.adjust(5 * MINUTE)
      const [first, second] = plane.asked
      assert.strictEqual(second?.requestId, first?.requestId)
      assert.deepStrictEqual(house.heldSince, [first?.at])
    })
  )

  it.effect("of a cron expression come at its moments in UTC", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.parse("2026-01-05T08:30:00Z"))
      const plane = new BeatPlane()
      const house = yield* runtime(plane)
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(1, "0 9,18 * * 1-5")))
      yield* TestClock.adjust(7 * DAY)
      const moments = house.begun.map(({ at }) => new Date(at).toISOString().slice(0, 16))
      const days = ["05", "06", "07", "08", "09"]
      assert.deepStrictEqual(
        moments,
        days.flatMap((day) => [`2026-01-${day}T09:00`, `2026-01-${day}T18:00`])
      )
    })
  )

  it.effect("by cron that had to wait for a permit say the moment that follows the wait", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      const house = yield* runtime(plane, { settings: { deliveryMaxConcurrentSessions: 4 } })
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(1, "*/2 * * * *")))
      for (let index = 0; index < 4; index++) yield* house.permits.take
      yield* TestClock.adjust(11 * MINUTE)
      assert.lengthOf(house.begun, 0)
      for (let index = 0; index < 4; index++) yield* house.permits.giveBack
      yield* TestClock.adjust(10 * MINUTE)
      assert.isAtLeast(house.begun.length, 5)
      for (const { at, nextDueAt } of plane.reckoned) assert.isAbove(nextDueAt ?? 0, at)
    })
  )

  it.effect(
    "by cron do not take the moment that is due for the following one when their clock is a little behind Convex's",
    () =>
      Effect.gen(function* () {
        const plane = new BeatPlane()
        const house = yield* runtime(plane, { behindMillis: 40 })
        yield* house.start
        yield* publish(plane, [house], rosterOf(1, agents(1, "*/2 * * * *")))
        yield* TestClock.adjust(11 * MINUTE)
        assert.isAtLeast(plane.reckoned.length, 5)
        for (const { at, nextDueAt } of plane.reckoned) assert.isAbove(nextDueAt ?? 0, at)
      })
  )

  it.effect("by cron come although the clock was minutes behind, and are not asked for over and over", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      const house = yield* runtime(plane, { behindMillis: 5 * MINUTE, isTold: true })
      yield* TestClock.adjust(10 * MINUTE)
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(1, "*/2 * * * *")))
      yield* TestClock.adjust(11 * MINUTE)
      assert.isAtLeast(house.begun.length, 5)
      assert.isAtMost(plane.asked.length, house.begun.length + 2)
    })
  )

  it.effect("of what is no cron expression are none, said once, until it is changed", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const plane = new BeatPlane()
      const house = yield* runtime(plane, { lines })
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(1, "a b c d e")))
      yield* TestClock.adjust(DAY)
      assert.lengthOf(plane.asked, 0)
      const said = lines.filter((line) => line.includes("no cron expression"))
      assert.lengthOf(said, 1)
      yield* publish(plane, [house], rosterOf(2, agents(1, 15)))
      yield* TestClock.adjust(20 * MINUTE)
      assert.isAtLeast(house.begun.length, 1)
    })
  )

  it.effect("say at the start that one permit leaves none for them", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const plane = new BeatPlane()
      const house = yield* runtime(plane, { settings: { deliveryMaxConcurrentSessions: 1 }, lines })
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(1)))
      yield* TestClock.adjust(DAY)
      assert.lengthOf(house.begun, 0)
      assert.isTrue(lines.some((line) => line.includes("DELIVERY_MAX_CONCURRENT_SESSIONS is 1")))
    })
  )

  it.effect("that run are given back when the process halts, and no further ones begin", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      const house = yield* runtime(plane, { turnMillis: 10 * MINUTE })
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(3)))
      yield* TestClock.adjust(2 * MINUTE)
      const live = yield* Ref.get(house.running)
      assert.isAbove(live, 0)
      yield* house.heartbeats.halt
      assert.lengthOf(plane.givenBack, live)
      assert.strictEqual(yield* house.permits.free, 8)
      const asked = plane.asked.length
      yield* TestClock.adjust(DAY)
      assert.strictEqual(plane.asked.length, asked)
    })
  )

  it.effect("that were claimed are given back when the process halts before the answer has come", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      const claimBeat = plane.claimBeat
      const answers = new Map<string, BeatAnswer>()
      // What was leased is answered again to the same request.
      plane.claimBeat = (options) =>
        Effect.suspend(() => {
          const known = answers.get(options.requestId)
          return known === undefined ? claimBeat(options) : Effect.succeed(known)
        }).pipe(
          Effect.tap((answer) => Effect.sync(() => answers.set(options.requestId, answer))),
          Effect.tap((answer) => ("claimed" in answer ? Effect.sleep(1_000) : Effect.void))
        )
      const house = yield* runtime(plane)
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(1)))
      while (plane.rows.get("a0")?.lease == null) yield* TestClock.adjust(500)
      const halting = yield* Effect.forkChild(house.heartbeats.halt)
      yield* TestClock.adjust(2_000)
      yield* Fiber.join(halting)
      assert.lengthOf(house.begun, 0)
      assert.lengthOf(plane.givenBack, 1)
      assert.isNull(plane.rows.get("a0")?.lease)
      assert.strictEqual(yield* house.permits.free, 8)
    })
  )

  it.effect("end the process when a later boot of the same name runs", () =>
    Effect.gen(function* () {
      const plane = new BeatPlane()
      plane.claimFailures.push(new BootConflict({ detail: "a later boot" }))
      const house = yield* runtime(plane)
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(1)))
      assert.deepStrictEqual(yield* house.lifecycle.aborted, { exitCode: 78, message: "a later boot" })
    })
  )

  it.effect("outlive a bug in one agent's fiber: it is logged, and the others and itself go on", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const plane = new BeatPlane()
      const claimBeat = plane.claimBeat
      let isBroken = true
      plane.claimBeat = (options) =>
        Effect.suspend(() => {
          if (!isBroken || options.agentId !== "a0") return claimBeat(options)
          isBroken = false
          return Effect.die(new Error("a bug"))
        })
      const house = yield* runtime(plane, { lines })
      yield* house.start
      yield* publish(plane, [house], rosterOf(1, agents(2)))
      yield* TestClock.adjust(30 * MINUTE)
      const whose = new Set(house.begun.map(({ id }) => id.split(":")[0]))
      assert.deepStrictEqual([...whose].toSorted(), ["a0", "a1"])
      assert.isTrue(lines.some((line) => line.startsWith("ERROR a heartbeat's fiber died")))
    })
  )
})
