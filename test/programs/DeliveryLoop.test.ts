import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import {
  Clock,
  Deferred,
  Duration,
  Effect,
  Fiber,
  Layer,
  Logger,
  Queue,
  Ref,
  Result,
  Stream,
  SubscriptionRef
} from "effect"
import { TestClock } from "effect/testing"
import { BootConflict, ControlPlaneUnavailable, TokenRefused } from "../../src/domain/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../src/domain/ControlPlaneFailure.ts"
import type { Backlog, Claim, ClaimedDelivery } from "../../src/domain/Delivery.ts"
import { ProviderFailed } from "../../src/domain/TurnFailure.ts"
import { GatewayUnreachable } from "../../src/domain/TurnFailure.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import type { Settings } from "../../src/layers/Config.ts"
import { ConvexClient } from "../../src/layers/ConvexClient.ts"
import type { PushState } from "../../src/layers/ConvexClient.ts"
import { Gateway } from "../../src/layers/Gateway.ts"
import { Deliveries } from "../../src/programs/Deliveries.ts"
import { DeliveryLoop } from "../../src/programs/DeliveryLoop.ts"
import { ControlPlane } from "../../src/services/ControlPlane.ts"
import type { ContextOrBroken } from "../../src/services/ControlPlane.ts"
import { GatewayGuard } from "../../src/services/GatewayGuard.ts"
import { Leases } from "../../src/services/Leases.ts"
import { Lifecycle } from "../../src/services/Lifecycle.ts"
import { Permits } from "../../src/services/Permits.ts"
import { Roster } from "../../src/services/Roster.ts"
import { Supervisor } from "../../src/services/Supervisor.ts"

interface ClaimCall {
  readonly permits: number
  readonly requestId: string
  readonly parkedAgents: ReadonlyArray<string>
}

const unavailable = new ControlPlaneUnavailable({ function: "service/notifications:claim", detail: "ECONNREFUSED" })

const claimed = (id: string, changes: Partial<ClaimedDelivery> = {}): ClaimedDelivery => ({
  notificationIds: [id],
  session: `session_${id}`,
  epoch: 1,
  expiresAt: 90_000,
  attempt: 1,
  spent: false,
  alone: false,
  failures: 0,
  silences: 0,
  readyAt: 0,
  lane: 0,
  ...changes
})

/** The loop with real permits, lifecycle, guard and supervisor over a control plane and deliveries the test holds. */
const house = (settings: Partial<Settings> = {}) =>
  Effect.gen(function* () {
    const calls = yield* Queue.unbounded<ClaimCall>()
    const begun = yield* Queue.unbounded<string>()
    const released = yield* Ref.make<ReadonlyArray<string>>([])
    const leases = yield* Queue.unbounded<ReadonlyArray<readonly [string, number | undefined]>>()
    const waiting = yield* Ref.make<ReadonlyArray<ClaimedDelivery>>([])
    const claimFailures = yield* Ref.make<ReadonlyArray<ControlPlaneFailure>>([])
    const contextFailures = yield* Ref.make<ReadonlyArray<ControlPlaneFailure>>([])
    const contextDelay = yield* Ref.make(0)
    const isContextBroken = yield* Ref.make(false)
    const isReleaseHung = yield* Ref.make(false)
    const releaseDelay = yield* Ref.make(0)
    const answered = new Map<string, ReadonlyArray<ClaimedDelivery>>()
    const nextDueIn = yield* Ref.make<number | null>(null)
    const backlog = yield* Queue.unbounded<Result.Result<Backlog, ControlPlaneFailure>>()
    const push = yield* SubscriptionRef.make<PushState>({ isConnected: true, lastMessageAt: null })
    const looks = yield* Ref.make(0)
    const interrupted = yield* Ref.make<ReadonlyArray<string>>([])
    const renewal = yield* Ref.make<Effect.Effect<void, ControlPlaneFailure>>(Effect.void)
    const ends = new Map<string, Deferred.Deferred<Effect.Effect<void>>>()
    const isBlocked = yield* Ref.make(false)
    const held = yield* Ref.make<ReadonlyArray<string>>([])
    const claimDelay = yield* Ref.make(0)
    const shift = <A>(ref: Ref.Ref<ReadonlyArray<A>>) =>
      Ref.modify(ref, (items): readonly [A | undefined, ReadonlyArray<A>] => [items[0], items.slice(1)])

    const controlPlane = Layer.mock(ControlPlane, {
      bootId: "boot",
      now: Clock.currentTimeMillis,
      backlog: Stream.fromQueue(backlog),
      commands: Stream.never,
      claim: Effect.fnUntraced(function* (options) {
        const failure = yield* shift(claimFailures)
        yield* Queue.offer(calls, options)
        const deliveries =
          answered.get(options.requestId) ??
          (yield* Ref.modify(waiting, (all) => [all.slice(0, options.permits), all.slice(options.permits)]))
        // What is leased is leased, also when its answer comes late or never.
        answered.set(options.requestId, deliveries)
        yield* Effect.sleep(Duration.millis(yield* Ref.get(claimDelay)))
        if (failure !== undefined) return yield* failure
        const now = yield* Clock.currentTimeMillis
        const dueIn = yield* Ref.get(nextDueIn)
        const nextDueAt = dueIn === null ? null : now + dueIn
        return { deliveries, nextDueAt, now, isBlocked: yield* Ref.get(isBlocked) } satisfies Claim
      }),
      context: Effect.fnUntraced(function* (ids: ReadonlyArray<string>, epochs?: ReadonlyArray<number>) {
        yield* Queue.offer(
          leases,
          ids.map((id, index) => [id, epochs?.[index]])
        )
        const failure = yield* shift(contextFailures)
        yield* Effect.sleep(Duration.millis(yield* Ref.get(contextDelay)))
        if (yield* Ref.get(isContextBroken)) return yield* Effect.die(new TypeError("a bug"))
        if (failure !== undefined) return yield* failure
        return new Map<string, ContextOrBroken>(ids.map((id) => [id, { broken: "damaged" }]))
      }),
      release: Effect.fnUntraced(function* ({ session }, shared) {
        if (yield* Ref.get(isReleaseHung)) return yield* Effect.never
        yield* Effect.sleep(Duration.millis(yield* Ref.get(releaseDelay)))
        // Without a delay and a class: the attempt is given back, and nothing is counted.
        yield* Ref.update(released, (all) => [...all, shared === undefined ? session : `${session} failed`])
        return "ready" as const
      })
    })
    const deliveries = Layer.mock(Deliveries, {
      deliver: Effect.fnUntraced(function* (delivery) {
        const [id] = delivery.notificationIds
        const end = yield* Deferred.make<Effect.Effect<void>>()
        ends.set(id, end)
        yield* Queue.offer(begun, id)
        yield* Effect.flatten(Deferred.await(end)).pipe(
          Effect.onInterrupt(() => Ref.update(interrupted, (all) => [...all, id]))
        )
      })
    })
    const countingPermits = Layer.effect(
      Permits,
      Effect.map(Permits, (permits) =>
        Permits.of({
          ...permits,
          free: Effect.andThen(
            Ref.update(looks, (count) => count + 1),
            permits.free
          )
        })
      )
    ).pipe(Layer.provide(Permits.layer))
    const layer = DeliveryLoop.layer.pipe(
      Layer.provideMerge(Layer.mergeAll(GatewayGuard.layer, Supervisor.layer, countingPermits)),
      Layer.provideMerge(Layer.mergeAll(Lifecycle.layerTest, Roster.layer)),
      Layer.provide([
        controlPlane,
        deliveries,
        Layer.mock(ConvexClient, { push }),
        Layer.mock(Gateway, {}),
        Layer.mock(Leases, {
          hold: ({ session }, since) => Ref.update(held, (all) => [...all, `${session} since ${since}`]),
          drop: ({ session }) => Ref.update(held, (all) => all.filter((each) => !each.startsWith(`${session} `))),
          renewOverdue: Effect.flatten(Ref.get(renewal))
        }),
        RuntimeConfig.layerTest(settings),
        NodeCrypto.layerSecureRandom
      ])
    )
    const services = yield* Layer.build(layer)
    const inside = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideContext(effect, services)
    const { loop, lifecycle, permits, guard } = yield* inside(
      Effect.all({ loop: DeliveryLoop, lifecycle: Lifecycle, permits: Permits, guard: GatewayGuard })
    )
    return {
      backlog,
      begun,
      calls,
      claimFailures,
      contextDelay,
      contextFailures,
      claimDelay,
      guard,
      /** The leases that are counted as held, with the monotonic moment since which. */
      held,
      interrupted,
      isBlocked,
      isContextBroken,
      isReleaseHung,
      /** The contexts asked for, with the epoch of each. */
      leases,
      lifecycle,
      /** How often the loop looked whether it may claim. */
      looks,
      loop,
      nextDueIn,
      permits,
      push,
      released,
      releaseDelay,
      /** What renewing the leases comes to that could not be renewed. */
      renewal,
      waiting,
      /** Ends the delivery of this notification, which says `last` of the gateway. */
      end: (id: string, last: Effect.Effect<void> = Effect.void) =>
        Effect.suspend(() => {
          const end = ends.get(id)
          return end === undefined ? Effect.die(`${id} has not begun`) : Deferred.succeed(end, last)
        }),
      /** Ready, and the claims of the start behind it. */
      start: Effect.gen(function* () {
        yield* lifecycle.enter("ready")
        yield* loop.start
        yield* settle
        yield* Queue.clear(calls)
      })
    }
  })

/** Lets every fiber run until all wait for something. */
const settle = TestClock.adjust(0).pipe(Effect.andThen(Effect.yieldNow), Effect.repeat({ times: 20 }))

const claimsOf = (queue: Queue.Queue<ClaimCall>) => Effect.map(Queue.clear(queue), (calls) => [...calls])

const quiet = Effect.provide(Logger.layer([]))

describe("DeliveryLoop", () => {
  it.effect("claims as many as permits are free and begins a delivery for each", () =>
    Effect.gen(function* () {
      const { begun, calls, permits, start, waiting, loop } = yield* house({ deliveryMaxConcurrentSessions: 4 })
      yield* start
      yield* Ref.set(waiting, [claimed("a"), claimed("b")])
      yield* loop.wake
      assert.deepStrictEqual(yield* Queue.takeN(begun, 2), ["a", "b"])
      assert.strictEqual((yield* Queue.take(calls)).permits, 4)
      assert.strictEqual(yield* permits.free, 2)
    }).pipe(quiet)
  )

  it.effect("asks for the contexts of what it claimed under the epochs of the leases, not of what is spent", () =>
    Effect.gen(function* () {
      const { leases, loop, start, waiting } = yield* house({ deliveryMaxConcurrentSessions: 4 })
      yield* start
      yield* Ref.set(waiting, [claimed("a", { epoch: 4 }), claimed("b", { spent: true }), claimed("c", { epoch: 7 })])
      yield* loop.wake
      assert.deepStrictEqual(yield* Queue.take(leases), [
        ["a", 4],
        ["c", 7]
      ])
    }).pipe(quiet)
  )

  it.effect("claims nothing before it is ready and begins as soon as it is", () =>
    Effect.gen(function* () {
      const { begun, calls, lifecycle, loop, waiting } = yield* house()
      yield* Ref.set(waiting, [claimed("a")])
      yield* loop.start
      yield* settle
      assert.strictEqual(yield* Queue.size(calls), 0)
      yield* lifecycle.enter("ready")
      assert.strictEqual(yield* Queue.take(begun), "a")
    }).pipe(quiet)
  )

  it.effect("is woken by the push of something newer, not by what leaves or repeats", () =>
    Effect.gen(function* () {
      const { backlog, calls, start } = yield* house()
      yield* start
      const pushed = Effect.fnUntraced(function* (newest: number | null, newestId: string | null) {
        yield* Queue.offer(backlog, Result.succeed({ oldest: newest, newest, newestId }))
        yield* settle
        return yield* claimsOf(calls)
      })
      assert.lengthOf(yield* pushed(1_000, "a"), 1)
      assert.lengthOf(yield* pushed(1_000, "a"), 0)
      assert.lengthOf(yield* pushed(1_000, "b"), 1)
      assert.lengthOf(yield* pushed(500, "z"), 0)
      assert.lengthOf(yield* pushed(2_000, "c"), 1)
      assert.lengthOf(yield* pushed(null, null), 0)
      assert.lengthOf(yield* pushed(1_500, "d"), 1)
    }).pipe(quiet)
  )

  it.effect("outlives a failing subscription", () =>
    Effect.gen(function* () {
      const { backlog, calls, start } = yield* house()
      yield* start
      yield* Queue.offer(backlog, Result.fail(unavailable))
      yield* Queue.offer(backlog, Result.succeed({ oldest: 1, newest: 1, newestId: "a" }))
      yield* settle
      assert.lengthOf(yield* claimsOf(calls), 1)
    }).pipe(quiet)
  )

  it.effect("does not ask at all while push is up and nothing happens", () =>
    Effect.gen(function* () {
      const { calls, start } = yield* house()
      yield* start
      yield* TestClock.adjust("24 hours")
      assert.deepStrictEqual(yield* claimsOf(calls), [])
    }).pipe(quiet)
  )

  it.effect("polls at DELIVERY_INTERVAL while push is down, and stops when it is back", () =>
    Effect.gen(function* () {
      const { calls, push, start } = yield* house({ deliveryInterval: Duration.seconds(15) })
      yield* start
      yield* TestClock.adjust("1 hour")
      yield* SubscriptionRef.set(push, { isConnected: false, lastMessageAt: null })
      yield* settle
      assert.lengthOf(yield* claimsOf(calls), 1)
      yield* TestClock.adjust("60 seconds")
      assert.lengthOf(yield* claimsOf(calls), 4)
      yield* SubscriptionRef.set(push, { isConnected: true, lastMessageAt: 0 })
      yield* settle
      assert.lengthOf(yield* claimsOf(calls), 1)
      yield* SubscriptionRef.set(push, { isConnected: true, lastMessageAt: 2_000 })
      yield* TestClock.adjust("1 hour")
      assert.lengthOf(yield* claimsOf(calls), 0)
    }).pipe(quiet)
  )

  it.effect("never runs more deliveries than there are permits", () =>
    Effect.gen(function* () {
      const { begun, calls, end, loop, permits, start, waiting } = yield* house({ deliveryMaxConcurrentSessions: 2 })
      yield* start
      yield* Ref.set(
        waiting,
        ["a", "b", "c", "d", "e"].map((id) => claimed(id))
      )
      yield* loop.wake
      yield* settle
      assert.deepStrictEqual(yield* Queue.takeN(begun, 2), ["a", "b"])
      assert.strictEqual(yield* permits.free, 0)
      yield* loop.wake
      yield* settle
      assert.strictEqual(yield* Queue.size(begun), 0)
      yield* end("a")
      yield* settle
      assert.deepStrictEqual(yield* Queue.takeAll(begun), ["c"])
      yield* end("b")
      yield* end("c")
      yield* settle
      assert.deepStrictEqual(yield* Queue.takeAll(begun), ["d", "e"])
      for (const { permits } of yield* claimsOf(calls)) assert.isAtMost(permits, 2)
    }).pipe(quiet)
  )

  it.effect("uses a freed permit while the other deliveries hang", () =>
    Effect.gen(function* () {
      const { begun, end, loop, start, waiting } = yield* house({ deliveryMaxConcurrentSessions: 3 })
      yield* start
      yield* Ref.set(
        waiting,
        ["hung", "slow", "fast", "next", "last"].map((id) => claimed(id))
      )
      yield* loop.wake
      yield* settle
      assert.deepStrictEqual(yield* Queue.takeN(begun, 3), ["hung", "slow", "fast"])
      yield* end("fast")
      assert.strictEqual(yield* Queue.take(begun), "next")
      yield* end("next")
      assert.strictEqual(yield* Queue.take(begun), "last")
    }).pipe(quiet)
  )

  it.effect("claims again at once after a full claim, with what became free meanwhile", () =>
    Effect.gen(function* () {
      const { begun, calls, claimDelay, loop, permits, start, waiting } = yield* house({
        deliveryMaxConcurrentSessions: 3
      })
      yield* start
      yield* permits.take
      yield* Ref.set(
        waiting,
        ["a", "b", "c"].map((id) => claimed(id))
      )
      yield* Ref.set(claimDelay, 1_000)
      yield* loop.wake
      yield* settle
      // Nothing wakes the loop for this one.
      yield* permits.giveBack
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Queue.takeAll(begun), ["a", "b"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Queue.takeAll(begun), ["c"])
      assert.deepStrictEqual(
        (yield* claimsOf(calls)).map(({ permits }) => permits),
        [2, 1]
      )
    }).pipe(quiet)
  )

  it.effect("claims the next work while the contexts of what it claimed are on their way, once", () =>
    Effect.gen(function* () {
      const { begun, calls, contextDelay, loop, permits, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(contextDelay, 1_000)
      for (const id of ["a", "b", "c"]) {
        yield* Ref.set(waiting, [claimed(id)])
        yield* loop.wake
        yield* settle
      }
      assert.lengthOf(yield* claimsOf(calls), 2)
      assert.strictEqual(yield* permits.free, permits.total - 2)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Queue.takeAll(begun), ["a", "b"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Queue.takeAll(begun), ["c"])
      assert.strictEqual(yield* permits.free, permits.total - 3)
    }).pipe(quiet)
  )

  it.effect("claims nothing while the context of work that must be alone is on its way", () =>
    Effect.gen(function* () {
      const { begun, calls, contextDelay, contextFailures, loop, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(contextDelay, 1_000)
      yield* Ref.set(contextFailures, [unavailable])
      yield* Ref.set(waiting, [claimed("a", { alone: true })])
      yield* loop.wake
      yield* settle
      assert.lengthOf(yield* claimsOf(calls), 1)
      yield* Ref.set(waiting, [claimed("b")])
      yield* loop.wake
      yield* settle
      assert.lengthOf(yield* claimsOf(calls), 0)
      // It does not begin after all: the others may.
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* Queue.takeAll(begun), ["b"])
    }).pipe(quiet)
  )

  it.effect("backs off while contexts do not come, says so in the state, and clears that when they do", () =>
    Effect.gen(function* () {
      const { begun, calls, contextDelay, contextFailures, lifecycle, loop, permits, start, waiting } = yield* house()
      yield* start
      // The answer comes too late for the cycle that claimed.
      yield* Ref.set(contextDelay, 1_000)
      yield* Ref.set(
        contextFailures,
        Array.from({ length: 1_000 }, () => unavailable)
      )
      const refill = Ref.set(
        waiting,
        Array.from({ length: 5_000 }, (_, index) => claimed(`n${index}`))
      )
      yield* refill
      yield* loop.wake
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* lifecycle.state).reasons["control-plane"], "ECONNREFUSED")
      yield* TestClock.adjust("1 hour")
      const tries = (yield* claimsOf(calls)).length
      assert.isAbove(tries, 10)
      assert.isBelow(tries, 120)
      assert.strictEqual(yield* permits.free, permits.total)
      yield* Ref.set(contextFailures, [])
      yield* refill
      yield* TestClock.adjust("6 minutes")
      assert.deepStrictEqual((yield* lifecycle.state).reasons, {})
      assert.strictEqual(yield* Queue.size(begun), permits.total)
    }).pipe(quiet)
  )

  it.effect("counts what it claimed as held since before the claim, until that ends or is given back", () =>
    Effect.gen(function* () {
      const { begun, claimDelay, contextFailures, end, held, loop, start, waiting } = yield* house()
      yield* start
      yield* TestClock.adjust("5 seconds")
      yield* Ref.set(claimDelay, 2_000)
      yield* Ref.set(waiting, [claimed("a"), claimed("b")])
      yield* loop.wake
      yield* TestClock.adjust("2 seconds")
      assert.lengthOf(yield* Queue.takeAll(begun), 2)
      assert.deepStrictEqual(yield* Ref.get(held), ["session_a since 5000", "session_b since 5000"])
      yield* end("a")
      yield* Ref.set(contextFailures, [unavailable])
      yield* Ref.set(waiting, [claimed("c")])
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(yield* Ref.get(held), ["session_b since 5000"])
    }).pipe(quiet)
  )

  it.effect("claims nothing before the leases are renewed that were missed while it waited for contexts", () =>
    Effect.gen(function* () {
      const { calls, contextDelay, loop, renewal, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(contextDelay, 20_000)
      for (const id of ["a", "b", "c"]) {
        yield* Ref.set(waiting, [claimed(id)])
        yield* loop.wake
        yield* settle
      }
      assert.lengthOf(yield* claimsOf(calls), 2)
      yield* Ref.set(renewal, Effect.fail(unavailable))
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(yield* claimsOf(calls), 0)
    }).pipe(quiet)
  )

  it.effect("goes on at once when the control plane is back, though older contexts failed while it waited", () =>
    Effect.gen(function* () {
      const { calls, contextDelay, contextFailures, loop, start, waiting } = yield* house({
        deliveryBackoffBase: Duration.minutes(10),
        deliveryBackoffMax: Duration.minutes(10)
      })
      yield* start
      yield* Ref.set(contextFailures, [unavailable, unavailable])
      for (const [id, delay] of [
        ["a", 1_000],
        ["b", 3_000]
      ] as const) {
        yield* Ref.set(contextDelay, delay)
        yield* Ref.set(waiting, [claimed(id)])
        yield* loop.wake
        yield* settle
      }
      yield* TestClock.adjust("5 seconds")
      assert.lengthOf(yield* claimsOf(calls), 2)
      yield* loop.controlPlaneAnswered
      yield* TestClock.adjust("1 second")
      assert.isNotEmpty(yield* claimsOf(calls))
    }).pipe(quiet)
  )

  it.effect("does not take the control plane for back before contexts have come from it", () =>
    Effect.gen(function* () {
      const { contextDelay, contextFailures, lifecycle, loop, start, waiting } = yield* house()
      yield* start
      const failing = Array.from({ length: 1_000 }, () => unavailable)
      yield* Ref.set(contextFailures, failing)
      yield* Ref.set(waiting, [claimed("a")])
      yield* loop.wake
      yield* settle
      assert.strictEqual((yield* lifecycle.state).reasons["control-plane"], "ECONNREFUSED")
      // The backing off ends without a claim.
      yield* lifecycle.setPaused(true)
      yield* TestClock.adjust("10 minutes")
      yield* Ref.set(contextDelay, 10_000)
      yield* Ref.set(waiting, [claimed("b")])
      yield* lifecycle.setPaused(false)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* lifecycle.state).reasons["control-plane"], "ECONNREFUSED")
    }).pipe(quiet)
  )

  it.effect("is restarted with growing waits when a bug keeps claimed work from beginning, and gives that back", () =>
    Effect.gen(function* () {
      const { calls, isContextBroken, loop, permits, released, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(isContextBroken, true)
      yield* Ref.set(
        waiting,
        Array.from({ length: 5_000 }, (_, index) => claimed(`n${index}`))
      )
      yield* loop.wake
      yield* TestClock.adjust("8 seconds")
      const tries = (yield* claimsOf(calls)).length
      assert.isAtLeast(tries, 3)
      assert.isAtMost(tries, 10)
      assert.isAtLeast((yield* Ref.get(released)).length, tries)
      assert.strictEqual(yield* permits.free, permits.total)
    }).pipe(quiet)
  )

  it.effect("looks for what woke it when a bug has ended it and it is restarted", () =>
    Effect.gen(function* () {
      const { begun, loop, renewal, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(renewal, Effect.die(new TypeError("a bug")))
      yield* Ref.set(waiting, [claimed("a")])
      yield* loop.wake
      yield* settle
      yield* Ref.set(renewal, Effect.void)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Queue.takeAll(begun), ["a"])
    }).pipe(quiet)
  )

  it.effect("repeats the same request until it is answered, then makes a new one", () =>
    Effect.gen(function* () {
      const { begun, calls, claimFailures, loop, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(claimFailures, [unavailable, unavailable])
      yield* Ref.set(waiting, [claimed("a")])
      yield* loop.wake
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* Queue.take(begun), "a")
      const [first, second, third, ...others] = yield* claimsOf(calls)
      assert.deepStrictEqual([second, third], [first, first])
      for (const { requestId } of others) assert.notStrictEqual(requestId, first?.requestId)
      yield* loop.wake
      yield* settle
      const next = yield* Queue.take(calls)
      assert.notStrictEqual(next.requestId, first?.requestId)
    }).pipe(quiet)
  )

  it.effect("counts what a repeated request leased as held since the first asking", () =>
    Effect.gen(function* () {
      const { begun, claimFailures, held, loop, start, waiting } = yield* house()
      yield* start
      yield* TestClock.adjust("5 seconds")
      yield* Ref.set(claimFailures, [unavailable, unavailable])
      yield* Ref.set(waiting, [claimed("a")])
      yield* loop.wake
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* Queue.take(begun), "a")
      assert.deepStrictEqual(yield* Ref.get(held), ["session_a since 5000"])
    }).pipe(quiet)
  )

  it.effect("backs off while the control plane is away, says so in the state, and clears that when it is back", () =>
    Effect.gen(function* () {
      const { calls, claimFailures, lifecycle, loop, start } = yield* house()
      yield* start
      yield* Ref.set(
        claimFailures,
        Array.from({ length: 1_000 }, () => unavailable)
      )
      yield* loop.wake
      yield* settle
      assert.strictEqual((yield* lifecycle.state).reasons["control-plane"], "ECONNREFUSED")
      yield* TestClock.adjust("1 hour")
      const tries = (yield* claimsOf(calls)).length
      // The mean wait at the cap of 5 minutes is 2.5 minutes, never under half a second.
      assert.isAbove(tries, 10)
      assert.isBelow(tries, 120)
      yield* Ref.set(claimFailures, [])
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual((yield* lifecycle.state).reasons, {})
    }).pipe(quiet)
  )

  it.effect(
    "claims within a second when push is back or the control plane has answered, however long it was away",
    () =>
      Effect.gen(function* () {
        const { begun, calls, claimFailures, loop, push, start, waiting } = yield* house()
        const setConnected = (isConnected: boolean) =>
          Effect.andThen(SubscriptionRef.set(push, { isConnected, lastMessageAt: null }), settle)
        const away = Ref.set(
          claimFailures,
          Array.from({ length: 10_000 }, () => unavailable)
        )
        yield* start
        for (const back of [setConnected(true), loop.controlPlaneAnswered]) {
          yield* away
          yield* setConnected(false)
          yield* TestClock.adjust("20 minutes")
          yield* Queue.clear(calls)
          // A plane that comes and goes is not asked more often for that.
          for (let flap = 0; flap < 50; flap++) {
            yield* setConnected(true)
            yield* setConnected(false)
            yield* loop.controlPlaneAnswered
            yield* TestClock.adjust("100 millis")
          }
          const tries = (yield* claimsOf(calls)).length
          assert.isAtLeast(tries, 4)
          assert.isAtMost(tries, 7)
          yield* TestClock.adjust("20 minutes")
          yield* Ref.set(claimFailures, [])
          yield* Ref.set(waiting, [claimed("a")])
          yield* back
          yield* TestClock.adjust("1 second")
          yield* settle
          assert.deepStrictEqual(yield* Queue.takeAll(begun), ["a"])
        }
      }).pipe(quiet)
  )

  it.effect("claims nothing before the leases that could not be renewed are", () =>
    Effect.gen(function* () {
      const { begun, calls, lifecycle, loop, renewal, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(waiting, [claimed("a")])
      yield* Ref.set(renewal, Effect.fail(unavailable))
      yield* loop.wake
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* claimsOf(calls), [])
      assert.strictEqual((yield* lifecycle.state).reasons["control-plane"], "ECONNREFUSED")
      yield* Ref.set(renewal, Effect.void)
      yield* loop.controlPlaneAnswered
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Queue.take(begun), "a")
    }).pipe(quiet)
  )

  it.effect("does not take the control plane for back while it has not asked it", () =>
    Effect.gen(function* () {
      const { claimFailures, lifecycle, loop, start } = yield* house()
      yield* start
      yield* Ref.set(claimFailures, [unavailable])
      yield* loop.wake
      yield* settle
      yield* lifecycle.setPaused(true)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* lifecycle.state).reasons["control-plane"], "ECONNREFUSED")
      yield* lifecycle.setPaused(false)
      yield* settle
      assert.deepStrictEqual((yield* lifecycle.state).reasons, {})
    }).pipe(quiet)
  )

  it.effect("claims nothing while paused, and goes on when resumed", () =>
    Effect.gen(function* () {
      const { begun, calls, lifecycle, loop, start, waiting } = yield* house()
      yield* start
      yield* lifecycle.setPaused(true)
      yield* Ref.set(waiting, [claimed("a")])
      yield* loop.wake
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* claimsOf(calls), [])
      yield* lifecycle.setPaused(false)
      assert.strictEqual(yield* Queue.take(begun), "a")
    }).pipe(quiet)
  )

  it.effect("claims nothing while draining", () =>
    Effect.gen(function* () {
      const { calls, lifecycle, loop, start, waiting } = yield* house()
      yield* start
      yield* lifecycle.enter("draining")
      yield* Ref.set(waiting, [claimed("a")])
      yield* loop.wake
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* claimsOf(calls), [])
    }).pipe(quiet)
  )

  it.effect("looks again at the earliest due moment that a claim reported", () =>
    Effect.gen(function* () {
      const { begun, calls, loop, nextDueIn, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(nextDueIn, 30_000)
      yield* loop.wake
      yield* settle
      yield* Queue.clear(calls)
      yield* Ref.set(nextDueIn, null)
      yield* Ref.set(waiting, [claimed("a")])
      yield* TestClock.adjust("29999 millis")
      assert.deepStrictEqual(yield* claimsOf(calls), [])
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* Queue.take(begun), "a")
    }).pipe(quiet)
  )

  it.effect("looks at the due moment that the pulse reported, when it is the earlier one, and not before", () =>
    Effect.gen(function* () {
      const { calls, loop, nextDueIn, start } = yield* house()
      yield* start
      yield* Ref.set(nextDueIn, 60_000)
      yield* loop.wake
      yield* settle
      yield* Queue.clear(calls)
      yield* Ref.set(nextDueIn, null)
      yield* loop.dueIn(10_000)
      yield* loop.dueIn(90_000)
      yield* settle
      yield* TestClock.adjust("9999 millis")
      yield* settle
      assert.lengthOf(yield* claimsOf(calls), 0)
      yield* TestClock.adjust("1 millis")
      yield* settle
      assert.lengthOf(yield* claimsOf(calls), 1)
      yield* loop.dueIn(0)
      yield* settle
      assert.lengthOf(yield* claimsOf(calls), 1)
    }).pipe(quiet)
  )

  it.effect("waits in peace when work is due but no permit is free", () =>
    Effect.gen(function* () {
      const { begun, calls, end, looks, loop, nextDueIn, start, waiting } = yield* house({
        deliveryMaxConcurrentSessions: 1
      })
      yield* start
      yield* Ref.set(waiting, [claimed("hung")])
      yield* Ref.set(nextDueIn, 1_000)
      yield* loop.wake
      assert.strictEqual(yield* Queue.take(begun), "hung")
      yield* settle
      yield* Queue.clear(calls)
      yield* Ref.set(looks, 0)
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* claimsOf(calls), [])
      assert.isAtMost(yield* Ref.get(looks), 2)
      yield* Ref.set(nextDueIn, null)
      yield* Ref.set(waiting, [claimed("next")])
      yield* end("hung")
      assert.strictEqual(yield* Queue.take(begun), "next")
    }).pipe(quiet)
  )

  it.effect("claims one probe at a time when the breaker lets one through", () =>
    Effect.gen(function* () {
      const { begun, calls, end, guard, loop, start, waiting } = yield* house()
      yield* start
      const failure = new ProviderFailed({ detail: "502", status: 502 })
      yield* Ref.set(waiting, [claimed("early")])
      yield* loop.wake
      yield* settle
      assert.deepStrictEqual(yield* Queue.takeAll(begun), ["early"])
      yield* Queue.clear(calls)
      yield* Effect.repeat(guard.sharedFailure(failure, "agent"), { times: 4 })
      yield* Ref.set(waiting, [claimed("probe"), claimed("other")])
      yield* loop.wake
      yield* TestClock.adjust("29 seconds")
      assert.deepStrictEqual(yield* claimsOf(calls), [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Queue.takeAll(begun), ["probe"])
      assert.deepStrictEqual(
        (yield* claimsOf(calls)).map(({ permits }) => permits),
        [1]
      )
      yield* end("early", guard.sharedFailure(failure, "agent"))
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* Queue.size(begun), 0)
      yield* end("probe", guard.completed)
      assert.strictEqual(yield* Queue.take(begun), "other")
    }).pipe(quiet)
  )

  it.effect("runs nothing beside a delivery that must be alone", () =>
    Effect.gen(function* () {
      const { begun, calls, end, loop, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(waiting, [claimed("crasher", { alone: true })])
      yield* loop.wake
      assert.strictEqual(yield* Queue.take(begun), "crasher")
      yield* settle
      yield* Queue.clear(calls)
      yield* Ref.set(waiting, [claimed("next")])
      yield* loop.wake
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* claimsOf(calls), [])
      yield* end("crasher")
      assert.strictEqual(yield* Queue.take(begun), "next")
    }).pipe(quiet)
  )

  it.effect(
    "holds the permits of a claim that is under way, so that nothing begins with them, and gives the rest back",
    () =>
      Effect.gen(function* () {
        const { begun, claimDelay, guard, loop, permits, start, waiting } = yield* house({
          deliveryMaxConcurrentSessions: 3
        })
        yield* start
        yield* Ref.set(waiting, [claimed("a")])
        yield* Ref.set(claimDelay, 1_000)
        const isBeating = yield* Ref.make(false)
        yield* loop.wake
        yield* settle
        yield* Effect.forkChild(permits.withSpare(Ref.set(isBeating, true)))
        yield* TestClock.adjust("999 millis")
        assert.strictEqual(yield* permits.free, 0)
        assert.isFalse(yield* Ref.get(isBeating))
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(yield* Queue.take(begun), "a")
        yield* settle
        assert.strictEqual(yield* permits.free, 2)
        assert.isTrue(yield* Ref.get(isBeating))
        assert.strictEqual((yield* guard.breaker)._tag, "Closed")
      }).pipe(quiet)
  )

  it.effect("lets the next probe of the breaker through when the context of one does not come", () =>
    Effect.gen(function* () {
      const { contextFailures, guard, loop, start, waiting } = yield* house()
      yield* start
      yield* Effect.repeat(guard.sharedFailure(new GatewayUnreachable({ detail: "refused" }), "agent"), { times: 4 })
      yield* TestClock.adjust("29 seconds")
      yield* Ref.set(waiting, [claimed("probe")])
      yield* Ref.set(contextFailures, [unavailable])
      yield* TestClock.adjust("1 second")
      yield* loop.wake
      yield* settle
      assert.strictEqual((yield* guard.breaker)._tag, "HalfOpen")
      assert.strictEqual(yield* guard.allowance, 1)
    }).pipe(quiet)
  )

  it.effect("gives the permits of a claim back that fails", () =>
    Effect.gen(function* () {
      const { claimFailures, loop, permits, start } = yield* house()
      yield* start
      yield* Ref.set(claimFailures, [unavailable])
      yield* loop.wake
      yield* settle
      assert.strictEqual(yield* permits.free, permits.total)
    }).pipe(quiet)
  )

  it.effect("looks after a heartbeat that left work behind or that held work back, and after no other", () =>
    Effect.gen(function* () {
      const { calls, isBlocked, loop, start } = yield* house()
      const claimsAfter = Effect.fnUntraced(function* (hasWork: boolean) {
        yield* loop.beatEnded(hasWork)
        yield* settle
        return (yield* claimsOf(calls)).length
      })
      yield* start
      assert.strictEqual(yield* claimsAfter(false), 0)
      assert.strictEqual(yield* claimsAfter(true), 1)
      // What must run alone waits until nothing runs beside it: not even a heartbeat.
      yield* Ref.set(isBlocked, true)
      assert.strictEqual(yield* claimsAfter(true), 1)
      assert.strictEqual(yield* claimsAfter(false), 1)
    }).pipe(quiet)
  )

  it.effect("gives claimed work back when its context does not come", () =>
    Effect.gen(function* () {
      const { begun, contextFailures, loop, permits, released, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(waiting, [claimed("a"), claimed("b")])
      yield* Ref.set(contextFailures, [unavailable])
      yield* loop.wake
      yield* settle
      assert.sameMembers([...(yield* Ref.get(released))], ["session_a", "session_b"])
      assert.strictEqual(yield* Queue.size(begun), 0)
      assert.strictEqual(yield* permits.free, permits.total)
    }).pipe(quiet)
  )

  it.effect("stops claiming when the token is refused, and asks every 30 s whether it is accepted again", () =>
    Effect.gen(function* () {
      const { begun, calls, claimFailures, contextFailures, lifecycle, loop, start, waiting } = yield* house()
      const refused = new TokenRefused({ function: "service/notifications:claim", detail: "revoked" })
      yield* start
      yield* Ref.set(claimFailures, [refused])
      yield* Ref.set(contextFailures, [refused, refused])
      yield* Ref.set(waiting, [claimed("a")])
      yield* loop.wake
      yield* settle
      assert.include((yield* lifecycle.state).reasons.token ?? "", "revoked")
      yield* Queue.clear(calls)
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual(yield* claimsOf(calls), [])
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* Queue.take(begun), "a")
      assert.isUndefined((yield* lifecycle.state).reasons.token)
    }).pipe(quiet)
  )

  it.effect("ends the process with 78 when another process runs with the same RUNTIME_ID", () =>
    Effect.gen(function* () {
      const { claimFailures, lifecycle, loop, start } = yield* house()
      yield* start
      yield* Ref.set(claimFailures, [new BootConflict({ detail: "a later boot of this runtime claims" })])
      yield* loop.wake
      assert.deepStrictEqual(yield* lifecycle.aborted, {
        exitCode: 78,
        message: "a later boot of this runtime claims"
      })
    }).pipe(quiet)
  )

  it.effect("lets a delivery whose outcome is written come to its end beside the session's next one", () =>
    Effect.gen(function* () {
      const { begun, end, interrupted, loop, permits, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(waiting, [claimed("written", { session: "session", epoch: 1 })])
      yield* loop.wake
      assert.strictEqual(yield* Queue.take(begun), "written")
      // The control plane has its outcome, and so the session is free; the answer is still on its way.
      yield* Ref.set(waiting, [claimed("next", { session: "session", epoch: 2 })])
      yield* loop.wake
      assert.strictEqual(yield* Queue.take(begun), "next")
      yield* settle
      assert.deepStrictEqual(yield* Ref.get(interrupted), [])
      assert.strictEqual(yield* permits.free, permits.total - 2)
      yield* end("written")
      yield* settle
      assert.strictEqual(yield* permits.free, permits.total - 1)
      yield* loop.halt
      assert.deepStrictEqual(yield* Ref.get(interrupted), ["next"])
      assert.strictEqual(yield* permits.free, permits.total)
    }).pipe(quiet)
  )

  it.effect("aborts what runs when halted, and gives the permits back", () =>
    Effect.gen(function* () {
      const { begun, loop, permits, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(waiting, [claimed("a"), claimed("b")])
      yield* loop.wake
      yield* Queue.takeN(begun, 2)
      yield* loop.halt
      assert.strictEqual(yield* permits.free, permits.total)
      yield* permits.idle
    }).pipe(quiet)
  )

  it.effect("does not wait longer than two seconds for what it cannot give back when it is halted", () =>
    Effect.gen(function* () {
      const { contextDelay, isReleaseHung, loop, permits, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(waiting, [claimed("a"), claimed("b")])
      yield* Ref.set(contextDelay, 60_000)
      yield* Ref.set(isReleaseHung, true)
      yield* loop.wake
      yield* settle
      const halting = yield* Effect.forkChild(loop.halt)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(halting)
      assert.strictEqual(yield* permits.free, permits.total)
    }).pipe(quiet)
  )

  it.effect("does not wait longer when beside such work another claim is not answered", () =>
    Effect.gen(function* () {
      const { claimDelay, contextDelay, isReleaseHung, loop, permits, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(waiting, [claimed("a")])
      yield* Ref.set(contextDelay, 60_000)
      yield* Ref.set(isReleaseHung, true)
      yield* loop.wake
      yield* settle
      yield* Ref.set(claimDelay, 60_000)
      yield* loop.wake
      yield* settle
      const halting = yield* Effect.forkChild(loop.halt)
      yield* TestClock.adjust("2 seconds")
      assert.isDefined(halting.pollUnsafe())
      assert.strictEqual(yield* permits.free, permits.total)
    }).pipe(quiet)
  )

  it.effect("gives claimed work back when it is halted before its context has come", () =>
    Effect.gen(function* () {
      const { begun, contextDelay, loop, permits, released, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(waiting, [claimed("a"), claimed("b")])
      yield* Ref.set(contextDelay, 60_000)
      yield* loop.wake
      yield* settle
      yield* loop.halt
      assert.sameMembers([...(yield* Ref.get(released))], ["session_a", "session_b"])
      assert.strictEqual(yield* permits.free, permits.total)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Queue.size(begun), 0)
    }).pipe(quiet)
  )

  it.effect("gives back what a claim leased whose answer had not come when it was halted, and claims no more", () =>
    Effect.gen(function* () {
      const { begun, calls, claimDelay, loop, permits, released, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(waiting, [claimed("a"), claimed("b")])
      yield* Ref.set(claimDelay, 500)
      yield* loop.wake
      yield* settle
      const halting = yield* Effect.forkChild(loop.halt)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(halting)
      const [asked, again] = yield* claimsOf(calls)
      assert.strictEqual(again?.requestId, asked?.requestId)
      // Had the first one not arrived, this one would lease little.
      assert.strictEqual(again?.permits, 1)
      assert.sameMembers([...(yield* Ref.get(released))], ["session_a", "session_b"])
      assert.strictEqual(yield* permits.free, permits.total)
      yield* loop.wake
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* claimsOf(calls), [])
      assert.strictEqual(yield* Queue.size(begun), 0)
    }).pipe(quiet)
  )

  it.effect("waits for a claim that is not answered for two seconds at most when it is halted", () =>
    Effect.gen(function* () {
      const { claimDelay, loop, start } = yield* house()
      yield* start
      yield* Ref.set(claimDelay, 3_600_000)
      yield* loop.wake
      yield* settle
      const halting = yield* Effect.forkChild(loop.halt)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(halting)
    }).pipe(quiet)
  )

  it.effect("gives back what a repeated claim brings beyond the permits that heartbeats have left", () =>
    Effect.gen(function* () {
      const { begun, calls, claimFailures, loop, permits, released, start, waiting } = yield* house({
        deliveryMaxConcurrentSessions: 4
      })
      yield* start
      yield* Ref.set(
        waiting,
        ["a", "b", "c", "d"].map((id) => claimed(id))
      )
      yield* Ref.set(claimFailures, [unavailable])
      yield* loop.wake
      yield* settle
      yield* Effect.repeat(Effect.forkChild(permits.withSpare(Effect.never)), { times: 1 })
      yield* settle
      assert.strictEqual(yield* permits.free, 2)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* Queue.takeAll(begun), ["a", "b"])
      assert.sameMembers([...(yield* Ref.get(released))], ["session_c", "session_d"])
      assert.strictEqual(yield* permits.free, 0)
      const [first, second] = yield* claimsOf(calls)
      assert.deepStrictEqual(second, first)
    }).pipe(quiet)
  )

  it.effect("looks again after it has given back what there was no room for", () =>
    Effect.gen(function* () {
      const { begun, claimFailures, loop, permits, released, releaseDelay, start, waiting } = yield* house({
        deliveryMaxConcurrentSessions: 3
      })
      yield* start
      yield* Ref.set(waiting, [claimed("a"), claimed("b"), claimed("c")])
      yield* Ref.set(claimFailures, [unavailable])
      yield* loop.wake
      yield* settle
      yield* permits.take
      yield* Ref.set(releaseDelay, 1_000)
      yield* Effect.repeat(TestClock.adjust("100 millis"), {
        until: () => Effect.map(Queue.size(begun), (size) => size === 2)
      })
      // The permit is free before the work is: the claim that it is worth finds nothing.
      yield* permits.giveBack
      yield* loop.wake
      yield* settle
      yield* Ref.set(waiting, [claimed("c", { epoch: 2 })])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Ref.get(released), ["session_c"])
      assert.deepStrictEqual(yield* Queue.takeAll(begun), ["a", "b", "c"])
    }).pipe(quiet)
  )

  it.effect("looks again after it has given back what there was no room for while it went on", () =>
    Effect.gen(function* () {
      const { begun, claimFailures, lifecycle, loop, permits, releaseDelay, start, waiting } = yield* house({
        deliveryMaxConcurrentSessions: 3
      })
      yield* start
      yield* Ref.set(waiting, [claimed("a"), claimed("b"), claimed("c")])
      // A refused token is no failure of the control plane, after which the loop would wait for each step.
      yield* Ref.set(claimFailures, [new TokenRefused({ function: "claim", detail: "revoked" })])
      yield* loop.wake
      yield* settle
      yield* TestClock.adjust("29 seconds")
      yield* permits.take
      yield* Ref.set(releaseDelay, 1_500)
      yield* lifecycle.setReason("token", null)
      yield* settle
      assert.deepStrictEqual(yield* Queue.takeAll(begun), ["a", "b"])
      yield* permits.giveBack
      yield* loop.wake
      yield* settle
      yield* Ref.set(waiting, [claimed("c", { epoch: 2 })])
      yield* TestClock.adjust("1500 millis")
      assert.strictEqual(yield* Queue.take(begun), "c")
    }).pipe(quiet)
  )

  it.effect("begins one probe of what a repeated claim brings when the breaker has opened meanwhile", () =>
    Effect.gen(function* () {
      const { begun, claimFailures, guard, loop, permits, released, start, waiting } = yield* house({
        deliveryBackoffBase: Duration.minutes(10),
        deliveryBackoffMax: Duration.minutes(10)
      })
      yield* start
      yield* Ref.set(waiting, [claimed("a"), claimed("b"), claimed("c")])
      yield* Ref.set(claimFailures, [unavailable])
      yield* loop.wake
      yield* settle
      yield* Effect.repeat(guard.sharedFailure(new GatewayUnreachable({ detail: "refused" }), "agent"), { times: 4 })
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(yield* Queue.takeAll(begun), ["a"])
      assert.sameMembers([...(yield* Ref.get(released))], ["session_b", "session_c"])
      assert.strictEqual(yield* permits.free, permits.total - 1)
      assert.strictEqual(yield* guard.allowance, 0)
    }).pipe(quiet)
  )

  it.effect("begins nothing of a claim during which the breaker opened", () =>
    Effect.gen(function* () {
      const { begun, claimDelay, guard, loop, released, start, waiting } = yield* house()
      yield* start
      yield* Ref.set(waiting, [claimed("a")])
      yield* Ref.set(claimDelay, 1_000)
      yield* loop.wake
      yield* settle
      yield* Effect.repeat(guard.sharedFailure(new GatewayUnreachable({ detail: "refused" }), "agent"), { times: 4 })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Ref.get(released), ["session_a"])
      assert.strictEqual(yield* Queue.size(begun), 0)
    }).pipe(quiet)
  )

  it.effect("tells since when the oldest waits, as the push has it", () =>
    Effect.gen(function* () {
      const { backlog, loop, start } = yield* house()
      yield* start
      assert.deepStrictEqual(yield* loop.state, { oldestWaiting: null })
      yield* Queue.offer(backlog, Result.succeed({ oldest: 500, newest: 900, newestId: "a" }))
      yield* settle
      assert.deepStrictEqual(yield* loop.state, { oldestWaiting: 500 })
    }).pipe(quiet)
  )
})
