import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, Logger, Queue, Ref, Stream } from "effect"
import { TestClock } from "effect/testing"
import {
  BootConflict,
  ControlPlaneUnavailable,
  TokenRefused
} from "../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { Lease, RenewAnswer } from "../../src/domain/delivery/Run.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import { ControlPlane } from "../../src/services/ControlPlane.ts"
import { Leases } from "../../src/services/Leases.ts"
import { Lifecycle } from "../../src/services/Lifecycle.ts"
import { Supervisor } from "../../src/services/Supervisor.ts"

const lease: Lease = { session: "session_1", epoch: 7 }
const other: Lease = { session: "session_2", epoch: 3 }
const renewed: RenewAnswer = { lost: [], news: [], hasUnnamed: false, now: 0 }
const unavailable = new ControlPlaneUnavailable({ function: "renew", detail: "ECONNREFUSED" })

/** Leases of ninety seconds; each renewal is answered as the test has it. */
const setUp = Effect.gen(function* () {
  const renewals: Array<ReadonlyArray<Lease>> = []
  const lines: Array<string> = []
  const answer = yield* Ref.make<Effect.Effect<RenewAnswer, ControlPlaneFailure>>(Effect.succeed(renewed))
  const controlPlane = Layer.mock(ControlPlane, {
    bootId: "boot",
    renew: (leases) =>
      Effect.suspend(() => {
        renewals.push(leases)
        return Effect.flatten(Ref.get(answer))
      })
  })
  const logger = Logger.map(Logger.formatStructured, ({ level, message }) => {
    if (level !== "DEBUG") lines.push(`${level} ${String(message)}`)
  })
  const services = yield* Layer.build(
    Leases.layer.pipe(
      Layer.provide(Supervisor.layer),
      Layer.provideMerge(Lifecycle.layerTest),
      Layer.provide([controlPlane, RuntimeConfig.layerTest({ deliveryLease: Duration.seconds(90) })]),
      Layer.provideMerge(Logger.layer([logger]))
    )
  )
  return {
    answer,
    leases: yield* Effect.provideContext(Leases, services),
    lifecycle: yield* Effect.provideContext(Lifecycle, services),
    lines,
    renewals
  }
})

describe("held leases", () => {
  it.effect("are all renewed by one call every third of their duration, and by none while nothing is held", () =>
    Effect.gen(function* () {
      const { leases, renewals } = yield* setUp
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(renewals, [])
      yield* leases.hold(lease)
      yield* leases.hold(other)
      yield* TestClock.adjust("29 seconds")
      assert.deepStrictEqual(renewals, [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(renewals, [[lease, other]])
      yield* leases.drop(lease)
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(renewals.at(-1), [other])
      yield* leases.drop(other)
      yield* TestClock.adjust("10 minutes")
      assert.lengthOf(renewals, 2)
    })
  )

  it.effect("cost two renewals a minute when a hundred turns are long", () =>
    Effect.gen(function* () {
      const { leases, renewals } = yield* setUp
      for (let epoch = 0; epoch < 100; epoch++) {
        yield* leases.hold({ session: `session_${epoch}`, epoch })
        yield* TestClock.adjust("1 second")
      }
      const before = renewals.length
      yield* TestClock.adjust("10 minutes")
      assert.isAtMost(renewals.length - before, 20)
      assert.lengthOf(renewals.at(-1) ?? [], 100)
    })
  )

  it.effect("are renewed within a third of their time, also those that are held soon after others ended", () =>
    Effect.gen(function* () {
      const { leases, renewals } = yield* setUp
      yield* leases.hold(lease)
      yield* TestClock.adjust("5 seconds")
      yield* leases.drop(lease)
      yield* TestClock.adjust("15 seconds")
      yield* leases.hold(other)
      yield* TestClock.adjust("30 seconds")
      assert.deepInclude(renewals, [other])
    })
  )

  it.effect("are named until they are dropped", () =>
    Effect.gen(function* () {
      const { leases } = yield* setUp
      yield* leases.hold(lease)
      yield* leases.hold({ ...lease, epoch: 8 })
      yield* leases.drop(lease)
      assert.deepStrictEqual(yield* leases.named, { held: [{ ...lease, epoch: 8 }], abandoned: [] })
    })
  )

  it.effect("that are abandoned are named as such, and not renewed, until a claim that named them is answered", () =>
    Effect.gen(function* () {
      const { leases, renewals } = yield* setUp
      yield* leases.hold(lease)
      yield* leases.hold(other)
      yield* leases.abandon(lease)
      const named = yield* leases.named
      assert.deepStrictEqual(named, { held: [other], abandoned: [lease] })
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(renewals, [[other]])
      yield* leases.abandon(other)
      yield* leases.rescued(named.abandoned)
      assert.deepStrictEqual(yield* leases.named, { held: [], abandoned: [other] })
    })
  )
})

describe("a lost lease", () => {
  const lost = Effect.succeed({ ...renewed, lost: [lease] })

  it.effect("interrupts the work of its run and of no other", () =>
    Effect.gen(function* () {
      const { answer, leases } = yield* setUp
      const isInterrupted = yield* Deferred.make<void>()
      yield* leases.hold(lease)
      yield* leases.hold(other)
      const work = yield* Effect.forkChild(
        Effect.exit(
          leases.during(
            lease,
            Effect.onInterrupt(Effect.never, () => Deferred.succeed(isInterrupted, undefined))
          )
        )
      )
      const otherWork = yield* Effect.forkChild(leases.during(other, Effect.never))
      yield* Ref.set(answer, lost)
      yield* TestClock.adjust("30 seconds")
      yield* Deferred.await(isInterrupted)
      const exit = yield* Fiber.join(work)
      assert.isTrue(Exit.isFailure(exit))
      assert.isUndefined(otherWork.pollUnsafe())
    })
  )

  it.effect("fails work that starts afterwards, and work whose lease is not held", () =>
    Effect.gen(function* () {
      const { answer, leases } = yield* setUp
      yield* leases.hold(lease)
      yield* Ref.set(answer, lost)
      yield* TestClock.adjust("30 seconds")
      for (const each of [lease, other]) {
        assert.strictEqual((yield* Effect.flip(leases.during(each, Effect.never)))._tag, "LeaseLost")
      }
    })
  )

  it.effect("does not interrupt the storing of its run's outcome, whose answer decides", () =>
    Effect.gen(function* () {
      const { answer, leases } = yield* setUp
      yield* leases.hold(lease)
      const run = yield* Effect.forkChild(
        Effect.andThen(
          leases.during(lease, Effect.sleep("20 seconds")),
          Effect.as(Effect.sleep("60 seconds"), "stored")
        )
      )
      yield* Ref.set(answer, lost)
      yield* TestClock.adjust("80 seconds")
      assert.strictEqual(yield* Fiber.join(run), "stored")
    })
  )
})

describe("a recalled lease", () => {
  it.effect("interrupts only the work of its run, at once and with the reason", () =>
    Effect.gen(function* () {
      const { leases, renewals } = yield* setUp
      yield* leases.hold(lease)
      yield* leases.hold(other)
      const work = yield* Effect.forkChild(Effect.flip(leases.during(lease, Effect.never)))
      const otherWork = yield* Effect.forkChild(leases.during(other, Effect.never))
      yield* Effect.yieldNow
      yield* leases.pushed({ recalled: [{ ...lease, recalled: "stopped" }], news: [] })
      assert.deepInclude(yield* Fiber.join(work), { _tag: "LeaseLost", recalled: "stopped" })
      assert.isUndefined(otherWork.pollUnsafe())
      assert.deepStrictEqual(renewals, [])
      // Until its run has ended the process holds the session.
      assert.deepInclude((yield* leases.named).held, lease)
    })
  )

  it.effect("starts no work if the answer to its claim arrives after the push", () =>
    Effect.gen(function* () {
      const { leases } = yield* setUp
      yield* leases.pushed({ recalled: [{ ...lease, recalled: "paused" }], news: [] })
      yield* leases.hold(lease)
      yield* leases.hold({ ...lease, epoch: lease.epoch + 1 })
      assert.strictEqual((yield* Effect.flip(leases.during(lease, Effect.never))).recalled, "paused")
      const next = yield* Effect.forkChild(leases.during({ ...lease, epoch: lease.epoch + 1 }, Effect.never))
      yield* Effect.yieldNow
      assert.isUndefined(next.pollUnsafe())
    })
  )

  it.effect("is found by a check, and by the next renewal, while push is down", () =>
    Effect.gen(function* () {
      const { answer, leases, renewals } = yield* setUp
      yield* leases.check
      assert.deepStrictEqual(renewals, [])
      yield* leases.hold(lease)
      yield* Ref.set(answer, Effect.succeed({ ...renewed, lost: [{ ...lease, recalled: "stopped" as const }] }))
      yield* leases.check
      assert.strictEqual((yield* Effect.flip(leases.during(lease, Effect.never))).recalled, "stopped")
    })
  )
})

describe("a renewal", () => {
  it.effect("that reports an unnamed lease emits an element of `unnamed`", () =>
    Effect.gen(function* () {
      const { answer, leases } = yield* setUp
      const seen = yield* Queue.unbounded<void>()
      yield* Effect.forkScoped(Stream.runForEach(leases.unnamed, () => Queue.offer(seen, undefined)))
      yield* leases.hold(lease)
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* Queue.size(seen), 0)
      yield* Ref.set(answer, Effect.succeed({ ...renewed, hasUnnamed: true }))
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* Queue.size(seen), 1)
    })
  )

  it.effect(
    "that fails is repeated with backoff and the current leases, and failure and recovery are logged once",
    () =>
      Effect.gen(function* () {
        const { answer, leases, lines, renewals } = yield* setUp
        yield* Ref.set(answer, Effect.fail(unavailable))
        yield* leases.hold(lease)
        const work = yield* Effect.forkChild(leases.during(lease, Effect.never))
        yield* TestClock.adjust("90 seconds")
        assert.isAtLeast(renewals.length, 10)
        assert.isAtMost(renewals.length, 25)
        yield* leases.hold(other)
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(renewals.at(-1), [lease, other])
        assert.isUndefined(work.pollUnsafe())
        yield* Ref.set(answer, Effect.succeed(renewed))
        yield* TestClock.adjust("10 seconds")
        assert.lengthOf(lines, 2)
        assert.match(lines[0] ?? "", /^WARN leases are not renewed: ECONNREFUSED/)
        assert.match(lines[1] ?? "", /^INFO leases are renewed again/)
      })
  )

  it.effect("with a refused token is repeated at the next third", () =>
    Effect.gen(function* () {
      const { answer, leases, renewals } = yield* setUp
      yield* Ref.set(answer, Effect.fail(new TokenRefused({ function: "renew", detail: "revoked" })))
      yield* leases.hold(lease)
      yield* TestClock.adjust("90 seconds")
      assert.lengthOf(renewals, 3)
    })
  )

  it.effect("continues after a defect", () =>
    Effect.gen(function* () {
      const { answer, leases, renewals } = yield* setUp
      yield* Ref.set(answer, Effect.die(new TypeError("a bug")))
      yield* leases.hold(lease)
      yield* TestClock.adjust("30 seconds")
      yield* Ref.set(answer, Effect.succeed(renewed))
      yield* TestClock.adjust("31 seconds")
      assert.deepStrictEqual(renewals, [[lease], [lease]])
    })
  )

  it.effect("ends the process when a later boot of the same RUNTIME_ID runs", () =>
    Effect.gen(function* () {
      const { answer, leases, lifecycle } = yield* setUp
      yield* Ref.set(answer, Effect.fail(new BootConflict({ detail: "a later boot" })))
      yield* leases.hold(lease)
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* lifecycle.aborted, { exitCode: 78, message: "a later boot" })
    })
  )
})

describe("a new message for a running turn", () => {
  it.effect("is known while the push lists it, also if the answer to the claim arrives after the push", () =>
    Effect.gen(function* () {
      const { leases } = yield* setUp
      yield* leases.hold(lease)
      assert.isNull(yield* leases.news(lease))
      yield* leases.pushed({ recalled: [], news: [lease, other].map((each) => ({ ...each, message: "message_1" })) })
      assert.strictEqual(yield* leases.news(lease), "message_1")
      assert.isNull(yield* leases.news(other))
      yield* leases.hold(other)
      assert.strictEqual(yield* leases.news(other), "message_1")
      yield* leases.pushed({ recalled: [], news: [{ ...lease, message: "message_2" }] })
      assert.strictEqual(yield* leases.news(lease), "message_2")
      assert.isNull(yield* leases.news(other))
    })
  )

  it.effect("is found by a renewal, which does not take back what a push has listed since", () =>
    Effect.gen(function* () {
      const { answer, leases } = yield* setUp
      yield* leases.hold(lease)
      yield* Ref.set(answer, Effect.succeed({ ...renewed, news: [{ ...lease, message: "message_1" }] }))
      yield* leases.check
      assert.strictEqual(yield* leases.news(lease), "message_1")
      yield* Ref.set(answer, Effect.succeed(renewed))
      yield* leases.check
      assert.strictEqual(yield* leases.news(lease), "message_1")
      yield* leases.drop(lease)
      assert.isNull(yield* leases.news(lease))
    })
  )
})
