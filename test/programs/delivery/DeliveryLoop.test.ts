import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Logger, Queue, Result, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import {
  BootConflict,
  ControlPlaneUnavailable,
  ProtocolRefused,
  TokenRefused
} from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { RunEnd } from "../../../src/domain/delivery/RunEnd.ts"
import { GatewayUnreachable, ProviderFailed } from "../../../src/domain/delivery/TurnFailure.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import type { Settings } from "../../../src/layers/Config.ts"
import { ConvexClient } from "../../../src/layers/ConvexClient.ts"
import type { PushState } from "../../../src/layers/ConvexClient.ts"
import { Gateway } from "../../../src/layers/Gateway.ts"
import { GatewayProcess } from "../../../src/layers/gateway/GatewayProcess.ts"
import type { GatewayHealth } from "../../../src/layers/gateway/GatewayProcess.ts"
import { Metrics } from "../../../src/layers/Metrics.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"
import { DeliveryLoop } from "../../../src/programs/delivery/DeliveryLoop.ts"
import { RunExecution } from "../../../src/programs/delivery/RunExecution.ts"
import { GatewayGuard } from "../../../src/services/GatewayGuard.ts"
import { Leases } from "../../../src/services/Leases.ts"
import { Lifecycle } from "../../../src/services/Lifecycle.ts"
import { Permits } from "../../../src/services/Permits.ts"
import { Roster } from "../../../src/services/Roster.ts"
import { Supervisor } from "../../../src/services/Supervisor.ts"
import { heartbeat, notification, QueuePlane } from "./queuePlane.ts"

const unavailable = new ControlPlaneUnavailable({ function: "service/notifications:claim", detail: "ECONNREFUSED" })
const unreachable = new GatewayUnreachable({ detail: "refused" })

interface Ending {
  /** What its run reports about the gateway. */
  readonly report: Effect.Effect<void>
  /** Null if the run continues. */
  readonly end: Partial<RunEnd> | null
}

/** The loop with real leases, permits, lifecycle, guard and supervisor; the test ends the runs. */
const setUp = (settings: Partial<Settings> = {}) =>
  Effect.gen(function* () {
    const plane = new QueuePlane()
    const begun: Array<string> = []
    const interrupted: Array<string> = []
    const lines: Array<string> = []
    const ends = new Map<string, Queue.Queue<Ending>>()
    const push = yield* SubscriptionRef.make<PushState>({ isConnected: true, lastMessageAt: null })
    const health = yield* SubscriptionRef.make<GatewayHealth>({ status: "ready", detail: "" })
    const execution = Layer.mock(RunExecution, {
      execute: Effect.fnUntraced(function* (run) {
        const endings = yield* Queue.unbounded<Ending>()
        ends.set(run.id, endings)
        begun.push(run.id)
        let end: Ending["end"] = null
        while (end === null) {
          const next = yield* Effect.onInterrupt(Queue.take(endings), () =>
            Effect.sync(() => void interrupted.push(run.id))
          )
          yield* next.report
          end = next.end
        }
        if (end.isStored !== false) yield* plane.end(run)
        return {
          kind: run.kind,
          agent: "context" in run ? run.context.agent.slug : null,
          outcome: "acted",
          error: null,
          isStored: true,
          dueInMillis: null,
          ...end
        } satisfies RunEnd
      })
    })
    const logger = Logger.map(Logger.formatStructured, ({ level, message }) => {
      if (level !== "DEBUG") lines.push(`${level} ${String(message)}`)
    })
    const services = yield* Layer.build(
      DeliveryLoop.layer.pipe(
        Layer.provideMerge(Layer.mergeAll(GatewayGuard.layer, Leases.layer, Permits.layer)),
        Layer.provideMerge(Supervisor.layer),
        Layer.provideMerge(Layer.mergeAll(Lifecycle.layerTest, Redactor.layer, Roster.layer, Metrics.layer)),
        Layer.provide([
          plane.layer,
          execution,
          Layer.mock(ConvexClient, { push }),
          Layer.mock(Gateway, {}),
          Layer.mock(GatewayProcess, { isSupervised: false, changes: SubscriptionRef.changes(health) }),
          RuntimeConfig.layerTest(settings)
        ]),
        Layer.provideMerge(Logger.layer([logger]))
      )
    )
    const { guard, leases, lifecycle, loop, metrics, permits } = yield* Effect.provideContext(
      Effect.all({
        guard: GatewayGuard,
        leases: Leases,
        lifecycle: Lifecycle,
        loop: DeliveryLoop,
        metrics: Metrics,
        permits: Permits
      }),
      services
    )
    const within = <A, E>(effect: Effect.Effect<A, E>) => Effect.provideContext(effect, services)
    return {
      guard,
      interrupted,
      leases,
      lifecycle,
      lines,
      loop: { ...loop, halt: within(loop.halt) },
      metrics,
      permits,
      plane,
      /** The runs that began since the last call. */
      begun: Effect.andThen(
        settle,
        Effect.sync(() => begun.splice(0))
      ),
      setReadiness: (status: GatewayHealth["status"]) =>
        Effect.andThen(SubscriptionRef.set(health, { status, detail: "" }), settle),
      setPush: (isConnected: boolean) =>
        Effect.andThen(SubscriptionRef.set(push, { isConnected, lastMessageAt: null }), settle),
      /** Makes something due and has the push tell of it. */
      insert: Effect.fnUntraced(function* (...runs: ReadonlyArray<ReturnType<typeof notification>>) {
        plane.due.push(...runs)
        yield* Queue.offer(plane.wakes, Result.succeed({ count: (wakes += 1), recalled: [], news: [] }))
        yield* settle
      }),
      /** Ends the run with its last report about the gateway; with null the run only reports. */
      end: (id: string, end: Ending["end"] = {}, report: Effect.Effect<void> = Effect.void) =>
        Effect.suspend(() => {
          const endings = ends.get(id)
          return endings === undefined ? Effect.die(`${id} has not begun`) : Queue.offer(endings, { end, report })
        }).pipe(Effect.andThen(settle)),
      /** Ready, and the claims of the start made. */
      start: within(
        Effect.gen(function* () {
          yield* lifecycle.enter("ready")
          yield* loop.start
          yield* settle
          plane.calls.splice(0)
          plane.log.splice(0)
        })
      ),
      startUnready: within(Effect.andThen(loop.start, settle))
    }
  })
let wakes = 0

/** Lets every fiber run until all wait for something. */
const settle = TestClock.adjust(0).pipe(Effect.andThen(Effect.yieldNow), Effect.repeat({ times: 30 }))
const leaseOf = (id: string, epoch = 1) => ({ session: `session_${id}`, epoch })
const ids = (...names: ReadonlyArray<string>) => names.map((id) => notification(id))

describe("a claim", () => {
  it.effect("requests as many runs as permits are free, and starts each run of its answer", () =>
    Effect.gen(function* () {
      const { begun, insert, permits, plane, start } = yield* setUp({ deliveryMaxConcurrentSessions: 8 })
      yield* start
      yield* insert(...ids("a", "b"))
      assert.deepStrictEqual(yield* begun, ["a", "b"])
      const [claim, ...others] = yield* plane.claims
      assert.deepInclude(claim, { limit: 8, heartbeatLimit: 2, held: [], abandoned: [] })
      assert.deepStrictEqual(others, [])
      assert.strictEqual(yield* permits.free, 6)
    })
  )

  it.effect("has the next number after any end of the last one", () =>
    Effect.gen(function* () {
      const { loop, plane, start } = yield* setUp()
      yield* start
      plane.failures = [unavailable]
      yield* loop.wake("wake")
      yield* TestClock.adjust("1 minute")
      yield* loop.wake("wake")
      yield* settle
      const numbers = (yield* plane.claims).map(({ number }) => number)
      assert.lengthOf(numbers, 3)
      assert.deepStrictEqual(numbers, [numbers[0]!, numbers[0]! + 1, numbers[0]! + 2])
    })
  )

  it.effect("names each lease until the call that ends its run is answered", () =>
    Effect.gen(function* () {
      const { end, insert, plane, start } = yield* setUp()
      yield* start
      yield* insert(...ids("a", "b"))
      yield* insert()
      assert.deepStrictEqual((yield* plane.claims).at(-1)?.held, [leaseOf("a"), leaseOf("b")])
      yield* end("a")
      yield* insert()
      assert.deepStrictEqual((yield* plane.claims).at(-1)?.held, [leaseOf("b")])
    })
  )

  it.effect("is sent at once when the process is ready, and not before", () =>
    Effect.gen(function* () {
      const { begun, lifecycle, plane, startUnready } = yield* setUp()
      plane.due = ids("a")
      yield* startUnready
      assert.deepStrictEqual(yield* plane.claims, [])
      yield* lifecycle.enter("ready")
      assert.deepStrictEqual(yield* begun, ["a"])
    })
  )

  it.effect("for one lone delivery is one of two calls, the other one stores its end", () =>
    Effect.gen(function* () {
      const { end, insert, plane, start } = yield* setUp()
      yield* start
      yield* insert(notification("a"))
      yield* end("a")
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(plane.log, ["claim", "end"])
    })
  )

  it.effect("is not sent without a reason: not for a day, not for the same wake again, not for an ended run", () =>
    Effect.gen(function* () {
      const { end, insert, lifecycle, plane, start } = yield* setUp()
      yield* start
      yield* TestClock.adjust("24 hours")
      yield* lifecycle.setReason("gateway", "not reachable")
      yield* lifecycle.setReason("gateway", null)
      yield* settle
      assert.deepStrictEqual(yield* plane.claims, [])
      yield* insert(notification("a"))
      assert.lengthOf(yield* plane.claims, 1)
      yield* Queue.offer(plane.wakes, Result.succeed({ count: wakes, recalled: [], news: [] }))
      yield* end("a")
      assert.deepStrictEqual(yield* plane.claims, [])
    })
  )

  it.effect("passes on recalled leases, and frees the session of a stopped run with its next claim", () =>
    Effect.gen(function* () {
      const { end, insert, leases, plane, start } = yield* setUp()
      yield* start
      yield* insert(notification("a"))
      const [held] = (yield* leases.named).held
      if (held === undefined) return assert.fail("nothing is held")
      const work = yield* Effect.forkChild(Effect.flip(leases.during(held, Effect.never)))
      yield* plane.claims
      yield* Queue.offer(
        plane.wakes,
        Result.succeed({ count: wakes, recalled: [{ ...held, recalled: "stopped" }], news: [] })
      )
      assert.strictEqual((yield* Fiber.join(work)).recalled, "stopped")
      assert.deepStrictEqual(yield* plane.claims, [])
      yield* end("a", { outcome: "stopped" })
      assert.deepStrictEqual(
        (yield* plane.claims).map(({ held }) => held),
        [[]]
      )
    })
  )

  it.effect("looks for recalled leases at each poll while push is down", () =>
    Effect.gen(function* () {
      const { insert, plane, setPush, start } = yield* setUp({ deliveryInterval: Duration.seconds(15) })
      yield* start
      yield* insert(notification("a"))
      const renewals = () => plane.log.filter((call) => call === "renew").length
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(renewals(), 0)
      yield* setPush(false)
      yield* TestClock.adjust("16 seconds")
      assert.strictEqual(renewals(), 1)
    })
  )

  it.effect("follows a wake also after the subscription has failed", () =>
    Effect.gen(function* () {
      const { begun, insert, plane, start } = yield* setUp()
      yield* start
      yield* Queue.offer(plane.wakes, Result.fail(unavailable))
      yield* insert(notification("a"))
      assert.deepStrictEqual(yield* begun, ["a"])
    })
  )

  it.effect("follows each interval while push is down, and its return", () =>
    Effect.gen(function* () {
      const { plane, setPush, start } = yield* setUp({ deliveryInterval: Duration.seconds(15) })
      yield* start
      yield* TestClock.adjust("1 hour")
      yield* setPush(false)
      assert.lengthOf(yield* plane.claims, 1)
      yield* TestClock.adjust("60 seconds")
      assert.lengthOf(yield* plane.claims, 4)
      yield* setPush(true)
      assert.lengthOf(yield* plane.claims, 1)
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* plane.claims, [])
    })
  )

  it.effect("reports spent notifications as dead letters", () =>
    Effect.gen(function* () {
      const { lines, loop, metrics, plane, start } = yield* setUp({ deliveryMaxAttempts: 3 })
      yield* start
      plane.changes = { spent: ["n1", "n2"] }
      yield* loop.wake("wake")
      yield* settle
      const error = "AttemptsSpent: the budget of 3 attempts is used up"
      assert.deepStrictEqual(lines, [`ERROR delivery dead: ${error}`, `ERROR delivery dead: ${error}`])
      const summary = yield* metrics.deliverySummary
      assert.deepInclude(summary, { deadLetters: 2, failureCount: 2, inFlight: 0, lastErrorMessage: error })
    })
  )

  it.effect("reports since when the oldest notification has been waiting, and so does the pulse", () =>
    Effect.gen(function* () {
      const { loop, plane, start } = yield* setUp()
      yield* start
      plane.changes = { oldest: 500 }
      yield* loop.wake("wake")
      yield* settle
      assert.strictEqual((yield* loop.state).oldest, 500)
      yield* plane.claims
      yield* loop.pulsed({ oldest: 600, dueInMillis: null })
      yield* settle
      assert.strictEqual((yield* loop.state).oldest, 600)
      assert.deepStrictEqual(yield* plane.claims, [])
      yield* loop.pulsed({ oldest: null, dueInMillis: null })
      yield* settle
      assert.isNull((yield* loop.state).oldest)
    })
  )
})

describe("permits", () => {
  it.effect("are never exceeded, and a free one is used while the other runs hang", () =>
    Effect.gen(function* () {
      const { begun, end, insert, permits, start } = yield* setUp({ deliveryMaxConcurrentSessions: 2 })
      yield* start
      yield* insert(...ids("hung", "a", "b", "c"))
      assert.deepStrictEqual(yield* begun, ["hung", "a"])
      assert.strictEqual(yield* permits.free, 0)
      yield* insert()
      assert.deepStrictEqual(yield* begun, [])
      for (const [ended, next] of [
        ["a", "b"],
        ["b", "c"]
      ] as const) {
        yield* end(ended)
        assert.deepStrictEqual(yield* begun, [next])
      }
      yield* end("c")
      assert.strictEqual(yield* permits.free, 1)
    })
  )

  it.effect("that are free after a claim that reached its limit are used at once", () =>
    Effect.gen(function* () {
      const { begun, loop, plane, start } = yield* setUp()
      yield* start
      plane.due = ids("a")
      plane.changes = { hasMore: true }
      plane.claimDelay = 100
      yield* loop.wake("wake")
      yield* settle
      plane.due = ids("b")
      yield* TestClock.adjust(100)
      plane.changes = {}
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(yield* begun, ["a", "b"])
      assert.lengthOf(yield* plane.claims, 2)
    })
  )

  it.effect("cause no further claim after one that left work and took none", () =>
    Effect.gen(function* () {
      const { loop, plane, start } = yield* setUp()
      yield* start
      plane.changes = { hasMore: true }
      yield* loop.wake("wake")
      yield* TestClock.adjust("10 seconds")
      assert.lengthOf(yield* plane.claims, 1)
    })
  )

  it.effect("that are all taken let due work wait without any claim, until one is free", () =>
    Effect.gen(function* () {
      const { begun, end, insert, plane, start } = yield* setUp({ deliveryMaxConcurrentSessions: 1 })
      yield* start
      plane.nextDueIn = 1_000
      yield* insert(notification("hung"))
      assert.deepStrictEqual(yield* begun, ["hung"])
      yield* plane.claims
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* plane.claims, [])
      plane.nextDueIn = null
      plane.due = ids("next")
      yield* end("hung")
      assert.deepStrictEqual(yield* begun, ["next"])
    })
  )

  it.effect("are used by the next run of a session whose last end is stored, before the answer to that has come", () =>
    Effect.gen(function* () {
      const { begun, insert, interrupted, loop, permits, plane, start } = yield* setUp()
      yield* start
      yield* insert(notification("stored", { session: "session", epoch: 1 }))
      plane.leased.clear()
      yield* insert(notification("next", { session: "session", epoch: 2 }))
      assert.deepStrictEqual(yield* begun, ["stored", "next"])
      assert.deepStrictEqual(interrupted, [])
      assert.strictEqual(yield* permits.free, permits.total - 2)
      yield* loop.halt
      assert.sameMembers(interrupted, ["stored", "next"])
      assert.strictEqual(yield* permits.free, permits.total)
    })
  )
})

describe("heartbeats", () => {
  const slugs = (count: number) => Array.from({ length: count }, (_, index) => heartbeat(`a${index}`))

  it.effect("take a quarter of the permits at most, and the next one begins when one ends", () =>
    Effect.gen(function* () {
      const { begun, end, insert, loop, plane, start } = yield* setUp({ deliveryMaxConcurrentSessions: 8 })
      yield* start
      yield* insert(...slugs(4), notification("n"))
      assert.deepStrictEqual(yield* begun, ["n", "a0:1", "a1:1"])
      assert.strictEqual((yield* loop.state).heartbeatsInFlight, 2)
      yield* plane.claims
      yield* end("n")
      assert.deepStrictEqual(yield* plane.claims, [])
      yield* end("a0:1")
      assert.deepStrictEqual(yield* begun, ["a2:1"])
      assert.deepStrictEqual(
        (yield* plane.claims).map(({ heartbeatLimit }) => heartbeatLimit),
        [1]
      )
      const ended = yield* Queue.clear(yield* loop.heartbeatEnds)
      assert.deepStrictEqual(
        ended.map(({ agent }) => agent),
        ["a0"]
      )
    })
  )

  it.effect("never take the last free permit, and begin when another one is free", () =>
    Effect.gen(function* () {
      const { begun, end, insert, loop, start } = yield* setUp({ deliveryMaxConcurrentSessions: 2 })
      yield* start
      yield* insert(notification("n"))
      yield* insert(heartbeat("qa"))
      assert.deepStrictEqual(yield* begun, ["n"])
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* loop.state).heartbeatsWaitSince, 0)
      yield* end("n")
      assert.deepStrictEqual(yield* begun, ["qa:1"])
      assert.isNull((yield* loop.state).heartbeatsWaitSince)
    })
  )

  it.effect("take turns with deliveries if there is a single permit", () =>
    Effect.gen(function* () {
      const { begun, end, insert, start } = yield* setUp({ deliveryMaxConcurrentSessions: 1 })
      yield* start
      yield* insert(heartbeat("qa"))
      assert.deepStrictEqual(yield* begun, ["qa:1"])
      yield* insert(notification("n"))
      assert.deepStrictEqual(yield* begun, [])
      yield* end("qa:1")
      assert.deepStrictEqual(yield* begun, ["n"])
    })
  )
})

describe("leases", () => {
  it.effect("of a claim whose answer is lost are offered again under a new epoch, and run once", () =>
    Effect.gen(function* () {
      const { begun, insert, plane, start } = yield* setUp()
      yield* start
      plane.failures = [unavailable]
      plane.isAnswerLost = true
      yield* insert(notification("a"))
      assert.deepStrictEqual(yield* begun, [])
      assert.deepStrictEqual([...plane.leased.keys()], ["session_a 1"])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* begun, ["a"])
      assert.deepStrictEqual([...plane.leased.keys()], ["session_a 2"])
      for (const { held } of yield* plane.claims) assert.deepStrictEqual(held, [])
    })
  )

  it.effect("of a claim whose answer is lost are asked for, once, also while another run works", () =>
    Effect.gen(function* () {
      const { begun, insert, plane, start } = yield* setUp()
      yield* start
      yield* insert(notification("busy"))
      assert.deepStrictEqual(yield* begun, ["busy"])
      plane.failures = [unavailable]
      plane.isAnswerLost = true
      yield* insert(notification("a"))
      assert.deepStrictEqual(yield* begun, [])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* begun, ["a"])
      yield* insert(notification("b"))
      assert.deepStrictEqual(yield* begun, ["b"])
      const asked = (yield* plane.claims).map(({ recoverUnnamed }) => recoverUnnamed)
      assert.deepStrictEqual(asked, [false, false, true, false])
    })
  )

  it.effect("that a renewal finds unnamed are claimed", () =>
    Effect.gen(function* () {
      const { begun, insert, plane, start } = yield* setUp({ deliveryLease: Duration.seconds(90) })
      yield* start
      yield* insert(notification("a"))
      assert.deepStrictEqual(yield* begun, ["a"])
      const late = notification("late")
      plane.leased.set("session_late 1", late)
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* begun, ["late"])
      yield* TestClock.adjust("10 minutes")
      assert.lengthOf(yield* plane.claims, 2)
    })
  )

  it.effect("of runs whose outcome could not be stored are named as abandoned until such a claim is answered", () =>
    Effect.gen(function* () {
      const { end, insert, leases, plane, start } = yield* setUp()
      yield* start
      yield* insert(notification("a"))
      yield* plane.claims
      plane.failures = [unavailable]
      yield* end("a", { isStored: false, outcome: "abandoned" })
      yield* TestClock.adjust("1 minute")
      const claims = yield* plane.claims
      assert.deepStrictEqual(
        claims.map(({ abandoned, held }) => ({ abandoned, held })),
        [
          { held: [], abandoned: [leaseOf("a")] },
          { held: [], abandoned: [leaseOf("a")] }
        ]
      )
      assert.deepStrictEqual(plane.rescued, ["a"])
      assert.deepStrictEqual(yield* leases.named, { held: [], abandoned: [] })
    })
  )

  it.effect("of a run that ends with a defect are abandoned, and its permit is free", () =>
    Effect.gen(function* () {
      const { end, insert, lines, permits, plane, start } = yield* setUp()
      yield* start
      yield* insert(notification("a"))
      yield* end("a", {}, Effect.die(new TypeError("a bug")))
      assert.deepStrictEqual(plane.rescued, ["a"])
      assert.strictEqual(yield* permits.free, permits.total)
      assert.deepStrictEqual(lines, ["ERROR a notification failed with a defect"])
    })
  )
})

describe("a due time", () => {
  it.effect("of a claim's answer causes a claim when it arrives, and not before", () =>
    Effect.gen(function* () {
      const { begun, loop, plane, start } = yield* setUp()
      yield* start
      plane.nextDueIn = 30_000
      yield* loop.wake("wake")
      yield* settle
      plane.nextDueIn = null
      plane.due = ids("a")
      yield* plane.claims
      yield* TestClock.adjust("29999 millis")
      assert.deepStrictEqual(yield* plane.claims, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* begun, ["a"])
    })
  )

  it.effect("of the pulse or of a run that is retried counts if it is the earlier one", () =>
    Effect.gen(function* () {
      const { end, insert, loop, plane, start } = yield* setUp()
      yield* start
      plane.nextDueIn = 60_000
      yield* insert(notification("a"))
      plane.nextDueIn = null
      yield* plane.claims
      yield* loop.pulsed({ oldest: null, dueInMillis: 40_000 })
      yield* loop.pulsed({ oldest: null, dueInMillis: 90_000 })
      yield* end("a", { outcome: "retrying", dueInMillis: 10_000 })
      yield* TestClock.adjust("9999 millis")
      assert.lengthOf(yield* plane.claims, 0)
      yield* TestClock.adjust("1 millis")
      assert.lengthOf(yield* plane.claims, 1)
      yield* loop.pulsed({ oldest: null, dueInMillis: -5_000 })
      yield* settle
      assert.lengthOf(yield* plane.claims, 1)
      yield* loop.pulsed({ oldest: 0, dueInMillis: 0 })
      yield* settle
      assert.lengthOf(yield* plane.claims, 1)
      yield* TestClock.adjust("1 hour")
      assert.lengthOf(yield* plane.claims, 0)
    })
  )

  it.effect("is no reason for programs that wait for a claim already sent", () =>
    Effect.gen(function* () {
      const { loop, plane, start } = yield* setUp()
      yield* start
      yield* TestClock.adjust("1 second")
      const answered = yield* Effect.forkChild(loop.claimedSince(0))
      yield* settle
      yield* Fiber.join(answered)
      assert.lengthOf(yield* plane.claims, 1)
      yield* loop.claimedSince(500)
      assert.lengthOf(yield* plane.claims, 0)
      yield* TestClock.adjust("1 second")
      plane.failures = [unavailable]
      const failed = yield* Effect.forkChild(Effect.flip(loop.claimedSince(1_500)))
      yield* settle
      assert.deepStrictEqual(yield* Fiber.join(failed), unavailable)
    })
  )
})

describe("while the control plane is unavailable", () => {
  const forever = Array.from({ length: 10_000 }, () => unavailable)

  it.effect("claims are retried with backoff, the state says why, and the recovery clears it", () =>
    Effect.gen(function* () {
      const { lifecycle, lines, loop, plane, start } = yield* setUp()
      yield* start
      plane.failures = [...forever]
      yield* loop.wake("wake")
      yield* settle
      assert.strictEqual((yield* lifecycle.state).reasons["control-plane"], "ECONNREFUSED")
      yield* TestClock.adjust("1 hour")
      const tries = (yield* plane.claims).length
      // The mean wait at the cap of 5 minutes is 2.5 minutes.
      assert.isAbove(tries, 10)
      assert.isBelow(tries, 120)
      plane.failures = []
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual((yield* lifecycle.state).reasons, {})
      assert.deepStrictEqual(
        lines.map((line) => line.split(" ")[0]),
        ["WARN", "INFO"]
      )
      // The backoff begins again.
      yield* plane.claims
      plane.failures = [...forever]
      yield* loop.wake("wake")
      yield* TestClock.adjust("20 seconds")
      assert.isAtLeast((yield* plane.claims).length, 2)
    })
  )

  it.effect("an answer to another call causes a retry within a second, and not more often", () =>
    Effect.gen(function* () {
      const { begun, loop, plane, setPush, start } = yield* setUp()
      yield* start
      for (const back of [setPush(true), loop.controlPlaneAnswered]) {
        plane.failures = [...forever]
        yield* setPush(false)
        yield* TestClock.adjust("20 minutes")
        yield* plane.claims
        for (let flap = 0; flap < 50; flap++) {
          yield* setPush(true)
          yield* setPush(false)
          yield* loop.controlPlaneAnswered
          yield* TestClock.adjust("100 millis")
        }
        const tries = (yield* plane.claims).length
        assert.isAtLeast(tries, 4)
        assert.isAtMost(tries, 7)
        yield* TestClock.adjust("20 minutes")
        plane.failures = []
        plane.due = ids("a")
        yield* back
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* begun, ["a"])
      }
    })
  )

  it.effect("failed claims count in the state of delivery, until one is answered", () =>
    Effect.gen(function* () {
      const { begun, end, insert, metrics, plane, start } = yield* setUp()
      yield* start
      plane.failures = [unavailable, unavailable]
      yield* insert(...ids("a"))
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(yield* begun, ["a"])
      const summary = yield* metrics.deliverySummary
      assert.deepInclude(summary, { failureCount: 2, consecutiveFailures: 0, deliveredCount: 0 })
      assert.strictEqual(summary.lastErrorMessage, "ControlPlaneUnavailable: ECONNREFUSED")
      assert.isNotNull(summary.lastErrorAt)

      yield* end("a")
      plane.failures = Array.from({ length: 100 }, () => unavailable)
      yield* insert(...ids("b"))
      yield* TestClock.adjust("2 minutes")
      assert.isAtLeast((yield* metrics.deliverySummary).consecutiveFailures, 3)
    })
  )

  it.effect("it counts as unavailable until a claim is answered", () =>
    Effect.gen(function* () {
      const { lifecycle, loop, plane, start } = yield* setUp()
      yield* start
      plane.failures = [unavailable]
      yield* loop.wake("wake")
      yield* settle
      yield* lifecycle.setPaused(true)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* lifecycle.state).reasons["control-plane"], "ECONNREFUSED")
      yield* lifecycle.setPaused(false)
      yield* settle
      assert.deepStrictEqual((yield* lifecycle.state).reasons, {})
    })
  )
})

describe("nothing is claimed", () => {
  it.effect("while paused or draining, and a pause that ends is a reason to claim", () =>
    Effect.gen(function* () {
      const { begun, insert, lifecycle, plane, start } = yield* setUp()
      yield* start
      yield* lifecycle.setPaused(true)
      yield* insert(notification("a"))
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* plane.claims, [])
      yield* lifecycle.setPaused(false)
      assert.deepStrictEqual(yield* begun, ["a"])
      yield* lifecycle.enter("draining")
      yield* plane.claims
      yield* insert(notification("b"))
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* plane.claims, [])
    })
  )

  it.effect("with a refused token, which is tried every 30 s until it is accepted", () =>
    Effect.gen(function* () {
      const { begun, insert, lifecycle, plane, start } = yield* setUp()
      const refused = new TokenRefused({ function: "service/notifications:claim", detail: "revoked" })
      yield* start
      plane.failures = [refused, refused, refused]
      yield* insert(notification("a"))
      assert.include((yield* lifecycle.state).reasons.token ?? "", "revoked")
      yield* plane.claims
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual(yield* plane.claims, [])
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* begun, ["a"])
      assert.deepStrictEqual((yield* lifecycle.state).reasons, {})
    })
  )

  it.effect("from a deployment that does not serve the runtime's protocol, until that reason is gone", () =>
    Effect.gen(function* () {
      const { begun, insert, lifecycle, plane, start } = yield* setUp()
      yield* start
      plane.failures = [new ProtocolRefused({ function: "claim", detail: "upgrade the runtime" })]
      yield* insert(notification("a"))
      assert.deepStrictEqual((yield* lifecycle.state).reasons, { protocol: "upgrade the runtime" })
      yield* plane.claims
      yield* insert(notification("b"))
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* plane.claims, [])
      yield* lifecycle.setReason("protocol", null)
      assert.deepStrictEqual(yield* begun, ["a", "b"])
    })
  )

  it.effect("by a boot that another one has superseded: the process ends with 78", () =>
    Effect.gen(function* () {
      const { lifecycle, loop, plane, start } = yield* setUp()
      yield* start
      plane.failures = [new BootConflict({ detail: "a later boot of this runtime claims" })]
      yield* loop.wake("wake")
      assert.deepStrictEqual(yield* lifecycle.aborted, {
        exitCode: 78,
        message: "a later boot of this runtime claims"
      })
    })
  )
})

describe("the breaker", () => {
  const open = (guard: GatewayGuard["Service"]) =>
    Effect.repeat(guard.sharedFailure(unreachable, "agent"), { times: 4 })

  it.effect("lets one run be claimed as its probe, and only its own rounds decide", () =>
    Effect.gen(function* () {
      const { begun, end, guard, insert, plane, start } = yield* setUp()
      yield* start
      const failure = new ProviderFailed({ detail: "502", status: 502 })
      yield* insert(notification("early"))
      yield* open(guard)
      yield* plane.claims
      yield* insert(...ids("probe", "other"))
      yield* TestClock.adjust("29 seconds")
      assert.deepStrictEqual(yield* plane.claims, [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* begun, ["early", "probe"])
      assert.deepStrictEqual(
        (yield* plane.claims).map(({ limit }) => limit),
        [1]
      )
      yield* end("early", {}, guard.sharedFailure(failure, "agent"))
      yield* TestClock.adjust("59 seconds")
      assert.deepStrictEqual(yield* begun, [])
      yield* end("probe", {}, guard.completed("agent"))
      assert.deepStrictEqual(yield* begun, ["other"])
    })
  )

  it.effect("lets one more run be claimed each minute while a probe takes ten minutes for its first round", () =>
    Effect.gen(function* () {
      const { begun, end, guard, insert, start } = yield* setUp()
      yield* start
      yield* open(guard)
      yield* insert(...ids("long", "second", "third", "fourth"))
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* begun, ["long"])
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual(yield* begun, ["second"])
      yield* end("second", {}, guard.completed("agent"))
      assert.deepStrictEqual(yield* begun, ["third", "fourth"])
    })
  )

  it.effect("lets waiting work be claimed as soon as the probe's first round is answered", () =>
    Effect.gen(function* () {
      const { begun, end, guard, insert, start } = yield* setUp()
      yield* start
      yield* open(guard)
      yield* insert(...ids("long", "second", "third"))
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* begun, ["long"])
      yield* end("long", null, guard.completed("agent"))
      assert.deepStrictEqual(yield* begun, ["second", "third"])
    })
  )

  it.effect("lets work be claimed as soon as the gateway is ready again after an outage of 270 s", () =>
    Effect.gen(function* () {
      const { begun, end, guard, insert, setReadiness, start } = yield* setUp()
      yield* start
      yield* open(guard)
      yield* setReadiness("not-ready")
      yield* insert(...ids("a", "b", "c", "d", "e"))
      for (let second = 0; second < 270; second += 1) {
        yield* TestClock.adjust("1 second")
        for (const id of yield* begun) yield* end(id, {}, guard.sharedFailure(unreachable, "agent"))
      }
      assert.strictEqual(yield* guard.opensIn, 180_000)
      yield* setReadiness("ready")
      assert.deepStrictEqual(yield* begun, ["d"])
      yield* end("d", {}, guard.completed("agent"))
      assert.deepStrictEqual(yield* begun, ["e"])
    })
  )

  it.effect("makes no claim for a readiness that no work is waiting for", () =>
    Effect.gen(function* () {
      const { plane, setReadiness, start } = yield* setUp()
      yield* start
      yield* setReadiness("not-ready")
      yield* setReadiness("ready")
      assert.deepStrictEqual(yield* plane.claims, [])
    })
  )

  it.effect("uses a heartbeat as its probe too", () =>
    Effect.gen(function* () {
      const { begun, guard, insert, start } = yield* setUp()
      yield* start
      yield* open(guard)
      yield* insert(heartbeat("a"), heartbeat("b"))
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* begun, ["a:1"])
    })
  )

  it.effect("that lets a probe through is no reason to claim, and an empty claim is no probe", () =>
    Effect.gen(function* () {
      const { guard, loop, plane, start } = yield* setUp()
      yield* start
      yield* open(guard)
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(yield* plane.claims, [])
      for (const failures of [[], [unavailable]]) {
        plane.failures = failures
        yield* loop.wake("wake")
        yield* settle
        assert.lengthOf(yield* plane.claims, 1)
        assert.strictEqual(yield* guard.allowance, 1)
      }
    })
  )

  it.effect(
    "that opens during a claim lets none of its runs start: they are released, and claimed as the probe allows",
    () =>
      Effect.gen(function* () {
        const { begun, guard, insert, permits, plane, start } = yield* setUp()
        yield* start
        plane.claimDelay = 1_000
        yield* insert(...ids("a", "b"))
        yield* open(guard)
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* begun, [])
        assert.deepStrictEqual(plane.released, ["a", "b"])
        assert.strictEqual(yield* permits.free, permits.total)
        plane.due = ids("a", "b")
        yield* TestClock.adjust("31 seconds")
        assert.deepStrictEqual(yield* begun, ["a"])
      })
  )
})

describe("a defect", () => {
  it.effect("in a claim restarts the loop, which names running leases and claims for the same reason", () =>
    Effect.gen(function* () {
      const { begun, insert, lines, plane, start } = yield* setUp()
      yield* start
      yield* insert(notification("a"))
      plane.bug = new TypeError("a bug")
      yield* insert(notification("b"))
      plane.bug = null
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* begun, ["a", "b"])
      assert.deepStrictEqual((yield* plane.claims).at(-1)?.held, [leaseOf("a")])
      assert.isTrue(lines.some((line) => line.startsWith("ERROR delivery-loop died")))
    })
  )
})

describe("halting", () => {
  it.effect("aborts running turns and releases them by one last claim that names nothing", () =>
    Effect.gen(function* () {
      const { begun, insert, interrupted, lines, loop, permits, plane, start } = yield* setUp()
      yield* start
      yield* insert(...ids("a", "b"))
      const [{ number = 0 } = {}] = yield* plane.claims
      yield* begun
      yield* loop.halt
      assert.sameMembers(interrupted, ["a", "b"])
      assert.sameMembers(plane.released, ["a", "b"])
      assert.deepStrictEqual(yield* plane.claims, [
        { number: number + 1, limit: 0, heartbeatLimit: 0, held: [], abandoned: [], recoverUnnamed: true }
      ])
      assert.strictEqual(yield* permits.free, permits.total)
      assert.deepStrictEqual(lines, ["INFO released 2 runs: the process is stopping"])
      yield* insert(notification("c"))
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* plane.claims, [])
    })
  )

  it.effect("releases the leases of a claim that is not answered yet", () =>
    Effect.gen(function* () {
      const { begun, insert, loop, plane, start } = yield* setUp()
      yield* start
      plane.claimDelay = "1 hour"
      yield* insert(...ids("a", "b"))
      plane.claimDelay = 0
      yield* loop.halt
      assert.sameMembers(plane.released, ["a", "b"])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* begun, [])
    })
  )

  it.effect("takes two seconds at most, and logs if runs are not released", () =>
    Effect.gen(function* () {
      const { insert, lines, loop, plane, start } = yield* setUp()
      yield* start
      yield* insert(notification("a"))
      plane.claimDelay = "1 hour"
      const halting = yield* Effect.forkChild(loop.halt)
      yield* TestClock.adjust("1999 millis")
      assert.isUndefined(halting.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(halting)
      assert.deepStrictEqual(lines, ["WARN could not release 1 run, the leases will expire: TimeoutError"])
    })
  )

  it.effect("makes no claim in a process that has made none", () =>
    Effect.gen(function* () {
      const { loop, plane } = yield* setUp()
      yield* loop.halt
      assert.deepStrictEqual(yield* plane.claims, [])
    })
  )
})
