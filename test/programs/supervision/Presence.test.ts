import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, Queue, Ref, Scope, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import {
  BootConflict,
  ControlPlaneUnavailable,
  TokenRefused
} from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { PulseAnswer, RuntimeCommands } from "../../../src/domain/controlPlane/RuntimeCommands.ts"
import { PROTOCOL } from "../../../src/domain/shared/Protocol.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import { ConvexClient } from "../../../src/layers/ConvexClient.ts"
import { Gateway, unseenGateway } from "../../../src/layers/Gateway.ts"
import { Upgrader } from "../../../src/layers/host/Upgrader.ts"
import { Metrics } from "../../../src/layers/Metrics.ts"
import { AgentSync } from "../../../src/programs/agents/AgentSync.ts"
import type { QueueReport } from "../../../src/programs/delivery/DeliveryEvents.ts"
import { DeliveryLoop } from "../../../src/programs/delivery/DeliveryLoop.ts"
import { Commands } from "../../../src/programs/supervision/Commands.ts"
import { Presence } from "../../../src/programs/supervision/Presence.ts"
import { ControlPlane } from "../../../src/services/ControlPlane.ts"
import type { PulseReport } from "../../../src/services/ControlPlane.ts"
import { canClaim, Lifecycle } from "../../../src/services/Lifecycle.ts"
import { RuntimeHealth } from "../../../src/services/RuntimeHealth.ts"
import { Supervisor } from "../../../src/services/Supervisor.ts"

const away = new ControlPlaneUnavailable({ function: "service/runtimes:pulse", detail: "ECONNREFUSED" })
const noCommands: RuntimeCommands = { paused: false, restart: null, upgrade: null, underway: null }
const answered: PulseAnswer = {
  commands: noCommands,
  oldest: null,
  nextDueAt: null,
  rosterRevision: 0,
  now: 0,
  releasedLeases: 0
}

/** Lets every fiber run until all wait for something. */
const settle = TestClock.adjust(0).pipe(Effect.andThen(Effect.yieldNow), Effect.repeat({ times: 30 }))

/** Presence over a control plane whose answers the test sets, in a scope that the test may close. */
const setUp = Effect.gen(function* () {
  const reports = yield* Queue.unbounded<PulseReport>()
  const answer = yield* Ref.make<Effect.Effect<PulseAnswer, ControlPlaneFailure>>(Effect.succeed(answered))
  const pulsed = yield* Ref.make<ReadonlyArray<QueueReport>>([])
  const answers = yield* Ref.make(0)
  const onRevision = yield* Ref.make<ReadonlyArray<number>>([])
  const lines: Array<string> = []
  const logger = Logger.map(Logger.formatStructured, ({ level, message }) => {
    lines.push(`${level} ${String(message)}`)
  })
  const push = yield* SubscriptionRef.make({ isConnected: true, lastMessageAt: null as number | null })
  const scope = yield* Scope.fork(yield* Effect.scope)
  const services = yield* Layer.build(
    Presence.layer.pipe(
      Layer.provideMerge(Commands.layer),
      Layer.provideMerge(Supervisor.layer),
      Layer.provide(RuntimeHealth.layer),
      Layer.provideMerge(Layer.mergeAll(Lifecycle.layerTest, Metrics.layer)),
      Layer.provide([
        Layer.mock(ControlPlane, {
          bootId: "boot",
          pulse: (report) => Effect.andThen(Queue.offer(reports, report), Effect.flatten(Ref.get(answer)))
        }),
        Layer.mock(DeliveryLoop, {
          pulsed: (report) => Ref.update(pulsed, (all) => [...all, report]),
          controlPlaneAnswered: Ref.update(answers, (count) => count + 1)
        }),
        Layer.mock(AgentSync, { onRevision: (revision) => Ref.update(onRevision, (all) => [...all, revision]) }),
        Layer.mock(Gateway, {
          state: Effect.succeed({
            ...unseenGateway,
            state: "ready" as const,
            version: "2026.9.6"
          })
        }),
        Layer.mock(ConvexClient, { push }),
        Upgrader.layerTest,
        RuntimeConfig.layerTest({ convexUrl: "https://happy.example" })
      ]),
      Layer.provideMerge(Logger.layer([logger]))
    )
  ).pipe(Scope.provide(scope))
  const { lifecycle, metrics, presence } = yield* Effect.provideContext(
    Effect.all({ lifecycle: Lifecycle, metrics: Metrics, presence: Presence }),
    services
  )
  const within = <A, E>(effect: Effect.Effect<A, E>) => Effect.provideContext(effect, services)
  return {
    answer,
    /** How often the loop was told that the control plane had answered. */
    answers,
    boot: within(presence.boot),
    close: within(Scope.close(scope, Exit.void)),
    lifecycle,
    lines,
    metrics,
    onRevision,
    /** What the loop was told about the queue. */
    pulsed,
    reports,
    start: within(presence.start),
    statuses: Effect.map(Queue.clear(reports), (all) => all.map(({ status }) => status))
  }
})

describe("the first pulse", () => {
  it.effect("reports booting, with the gateway's version and the health", () =>
    Effect.gen(function* () {
      const { boot, reports } = yield* setUp
      yield* boot
      const report = yield* Queue.take(reports)
      assert.strictEqual(report.status, "booting")
      assert.strictEqual(report.openclawVersion, "2026.9.6")
      assert.property(JSON.parse(report.health), "delivery")
    })
  )

  it.effect("waits for an unavailable control plane with backoff, logs it once, and clears the reason", () =>
    Effect.gen(function* () {
      const { answer, boot, lifecycle, lines, reports } = yield* setUp
      yield* Ref.set(answer, Effect.fail(away))
      const fiber = yield* Effect.forkChild(boot)
      yield* TestClock.adjust("10 minutes")
      assert.isUndefined(fiber.pollUnsafe())
      assert.strictEqual((yield* lifecycle.state).reasons["control-plane"], "ECONNREFUSED")
      const tries = yield* Queue.size(reports)
      assert.isAbove(tries, 30)
      assert.isBelow(tries, 400)
      assert.lengthOf(
        lines.filter((line) => line.startsWith("WARN")),
        1
      )
      assert.include(lines[0] ?? "", "https://happy.example")
      yield* Ref.set(answer, Effect.succeed(answered))
      yield* TestClock.adjust("15 seconds")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual((yield* lifecycle.state).reasons, {})
    })
  )

  it.effect("fails at once when the token is refused, naming the deployment, or the boot", () =>
    Effect.gen(function* () {
      const { answer, boot } = yield* setUp
      yield* Ref.set(answer, Effect.fail(new TokenRefused({ function: "pulse", detail: "revoked" })))
      const refused = yield* Effect.flip(boot)
      assert.strictEqual(refused._tag, "TokenRefused")
      assert.include("detail" in refused ? refused.detail : "", "https://happy.example refuses it: revoked")
      const conflict = new BootConflict({ detail: "a later boot" })
      yield* Ref.set(answer, Effect.fail(conflict))
      assert.deepStrictEqual(yield* Effect.flip(boot), conflict)
    })
  )

  it.effect("applies an earlier pause, and reports the queue to the loop", () =>
    Effect.gen(function* () {
      const { answer, boot, lifecycle, onRevision, pulsed } = yield* setUp
      yield* Ref.set(
        answer,
        Effect.succeed({
          ...answered,
          commands: { ...noCommands, paused: true },
          oldest: 500,
          nextDueAt: 9_000,
          now: 4_000,
          rosterRevision: 3
        })
      )
      yield* boot
      assert.isTrue((yield* lifecycle.state).isPaused)
      assert.deepStrictEqual(yield* Ref.get(pulsed), [{ oldest: 500, dueInMillis: 5_000 }])
      assert.deepStrictEqual(yield* Ref.get(onRevision), [3])
    })
  )
})

describe("the pulse", () => {
  it.effect("comes once an interval", () =>
    Effect.gen(function* () {
      const { boot, lifecycle, start, statuses } = yield* setUp
      yield* boot
      yield* lifecycle.enter("ready")
      yield* start
      yield* TestClock.adjust("59 seconds")
      yield* statuses
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* statuses, ["online"])
      yield* TestClock.adjust("10 minutes")
      assert.lengthOf(yield* statuses, 10)
    })
  )

  it.effect("comes at each change of status or reasons as well, and not at a repetition", () =>
    Effect.gen(function* () {
      const { boot, lifecycle, start, statuses } = yield* setUp
      yield* boot
      yield* start
      yield* settle
      yield* statuses
      const after = (change: Effect.Effect<void>) => change.pipe(Effect.andThen(settle), Effect.andThen(statuses))
      assert.deepStrictEqual(yield* after(lifecycle.enter("ready")), ["online"])
      assert.deepStrictEqual(yield* after(lifecycle.enter("ready")), [])
      assert.deepStrictEqual(yield* after(lifecycle.setReason("breaker", "open")), ["degraded"])
      assert.deepStrictEqual(yield* after(lifecycle.setReason("breaker", "open")), [])
      assert.deepStrictEqual(yield* after(lifecycle.setReason("breaker", null)), ["online"])
      assert.deepStrictEqual(yield* after(lifecycle.enter("draining")), ["draining"])
    })
  )

  it.effect("reports an agent that begins to fail, and its recovery, and not each failure", () =>
    Effect.gen(function* () {
      const { boot, lifecycle, lines, metrics, reports, start } = yield* setUp
      yield* boot
      yield* start
      yield* lifecycle.enter("ready")
      yield* settle
      yield* Queue.clear(reports)
      const work = { kind: "notification", type: "mention", agent: "qa", durationMillis: 1, isSilence: false } as const
      const ends = (outcome: "retrying" | "replied", run: string) =>
        metrics
          .runEnded({
            ...work,
            run,
            outcome,
            isTurnCompleted: outcome === "replied",
            error: outcome === "replied" ? null : `ProviderFailed: ${run}`
          })
          .pipe(Effect.andThen(settle))
      for (const run of ["a", "b", "c", "d"]) yield* ends("retrying", run)
      const [failing, ...more] = yield* Queue.clear(reports)
      assert.strictEqual(failing?.status, "degraded")
      assert.deepStrictEqual(failing?.reasons, [
        "attempts: the last 3 failed",
        "agent qa: its last deliveries failed: ProviderFailed: c"
      ])
      assert.deepStrictEqual(more, [])
      yield* ends("replied", "e")
      assert.deepStrictEqual(
        (yield* Queue.clear(reports)).map(({ reasons, status }) => [status, reasons]),
        [["online", []]]
      )
      assert.deepStrictEqual(
        lines.filter((line) => line.includes("failing")),
        [
          "ERROR status failing: attempts: the last 3 failed; agent qa: its last deliveries failed: ProviderFailed: c",
          "INFO status online, no longer failing"
        ]
      )
    })
  )

  it.effect("continues after an outage of the control plane", () =>
    Effect.gen(function* () {
      const { answer, boot, start, statuses } = yield* setUp
      yield* boot
      yield* start
      yield* Ref.set(answer, Effect.fail(away))
      yield* TestClock.adjust("10 minutes")
      yield* Ref.set(answer, Effect.succeed(answered))
      yield* statuses
      yield* TestClock.adjust("2 minutes")
      assert.lengthOf(yield* statuses, 2)
    })
  )

  it.effect(
    "reports once an interval to the loop that the control plane answers, and not at a change or during an outage",
    () =>
      Effect.gen(function* () {
        const { answer, answers, boot, lifecycle, start } = yield* setUp
        yield* boot
        yield* start
        yield* TestClock.adjust("3 minutes")
        assert.strictEqual(yield* Ref.get(answers), 3)
        yield* lifecycle.setReason("control-plane", "claims fail")
        yield* TestClock.adjust(0)
        assert.strictEqual(yield* Ref.get(answers), 3)
        yield* Ref.set(answer, Effect.fail(away))
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(yield* Ref.get(answers), 3)
      })
  )

  it.effect("reports a refused token and one that is accepted again", () =>
    Effect.gen(function* () {
      const { answer, boot, lifecycle, start } = yield* setUp
      yield* boot
      yield* lifecycle.enter("ready")
      yield* start
      yield* TestClock.adjust(0)
      yield* Ref.set(answer, Effect.fail(new TokenRefused({ function: "pulse", detail: "revoked" })))
      yield* TestClock.adjust("1 minute")
      assert.include((yield* lifecycle.state).reasons.token ?? "", "revoked")
      yield* Ref.set(answer, Effect.succeed(answered))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual((yield* lifecycle.state).reasons, {})
    })
  )

  it.effect("ends the process with 78 when a later boot of the same RUNTIME_ID has taken over", () =>
    Effect.gen(function* () {
      const { answer, boot, lifecycle, start } = yield* setUp
      yield* boot
      yield* start
      yield* Ref.set(answer, Effect.fail(new BootConflict({ detail: "a later boot" })))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* lifecycle.aborted, { exitCode: 78, message: "a later boot" })
    })
  )
})

describe("the protocol", () => {
  const serving = (oldest: number, newest: number) => Effect.succeed({ ...answered, protocol: { oldest, newest } })

  it.effect("that the deployment no longer serves requires an upgrade of the runtime, which still obeys commands", () =>
    Effect.gen(function* () {
      const { answer, boot, lifecycle, lines, start, statuses } = yield* setUp
      yield* Ref.set(answer, serving(PROTOCOL + 1, PROTOCOL + 2))
      yield* boot
      yield* lifecycle.enter("ready")
      yield* start
      yield* TestClock.adjust("10 minutes")
      const state = yield* lifecycle.state
      assert.include(state.reasons.protocol ?? "", "upgrade the runtime")
      assert.isFalse(canClaim(state))
      assert.isAtLeast((yield* statuses).length, 10)
      const errors = lines.filter((line) => line.startsWith("ERROR"))
      assert.lengthOf(errors, 1)
      assert.match(errors[0] ?? "", /^ERROR no work is claimed: the deployment serves protocol versions/)
      yield* Ref.set(answer, Effect.succeed({ ...answered, commands: { ...noCommands, paused: true } }))
      yield* TestClock.adjust("1 minute")
      assert.isTrue((yield* lifecycle.state).isPaused)
      assert.deepStrictEqual((yield* lifecycle.state).reasons, {})
    })
  )

  it.effect("that the deployment does not serve yet requires an upgrade of the deployment", () =>
    Effect.gen(function* () {
      const { answer, boot, lifecycle } = yield* setUp
      yield* Ref.set(answer, serving(PROTOCOL - 1, PROTOCOL - 1))
      yield* boot
      assert.include((yield* lifecycle.state).reasons.protocol ?? "", "upgrade the deployment")
    })
  )

  it.effect(
    "that the deployment serves among others is no reason, and a deployment that reports none serves the first",
    () =>
      Effect.gen(function* () {
        const { answer, boot, lifecycle } = yield* setUp
        for (const range of [
          serving(PROTOCOL - 1, PROTOCOL),
          serving(PROTOCOL, PROTOCOL + 1),
          Effect.succeed(answered)
        ]) {
          yield* Ref.set(answer, range)
          yield* boot
          assert.deepStrictEqual((yield* lifecycle.state).reasons, {})
        }
      })
  )
})

describe("the end", () => {
  it.effect("reports offline, after everything else", () =>
    Effect.gen(function* () {
      const { boot, close, lifecycle, start, statuses } = yield* setUp
      yield* boot
      yield* lifecycle.enter("ready")
      yield* start
      yield* TestClock.adjust(0)
      yield* statuses
      yield* close
      assert.deepStrictEqual(yield* statuses, ["offline"])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* statuses, [])
    })
  )

  it.effect("reports nothing if the control plane never knew this boot", () =>
    Effect.gen(function* () {
      const { close, statuses } = yield* setUp
      yield* close
      assert.deepStrictEqual(yield* statuses, [])
    })
  )

  it.effect("reports nothing if the control plane refuses this boot", () =>
    Effect.gen(function* () {
      const { answer, boot, close, statuses } = yield* setUp
      yield* Ref.set(answer, Effect.fail(new TokenRefused({ function: "pulse", detail: "revoked" })))
      yield* Effect.flip(boot)
      yield* statuses
      yield* close
      assert.deepStrictEqual(yield* statuses, [])
    })
  )

  it.effect("reports offline after a first pulse whose answer no one waited for, and not before it", () =>
    Effect.gen(function* () {
      const { answer, boot, close, statuses } = yield* setUp
      const isAnswered = yield* Deferred.make<void>()
      const order: Array<string> = []
      yield* Ref.set(
        answer,
        Deferred.await(isAnswered).pipe(Effect.andThen(Effect.sync(() => order.push("answered"))), Effect.as(answered))
      )
      const booting = yield* Effect.forkChild(boot)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(yield* statuses, ["booting"])
      yield* Fiber.interrupt(booting)
      const closing = yield* Effect.forkChild(close)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(yield* statuses, [])
      yield* Deferred.succeed(isAnswered, undefined)
      yield* Fiber.join(closing)
      assert.deepStrictEqual(yield* statuses, ["offline"])
      assert.deepStrictEqual(order, ["answered", "answered"])
    })
  )

  it.effect("reports offline also if the answer to the only pulse was lost, without an error", () =>
    Effect.gen(function* () {
      const { answer, boot, close, lines, statuses } = yield* setUp
      yield* Ref.set(answer, Effect.fail(away))
      const booting = yield* Effect.forkChild(boot)
      yield* TestClock.adjust(0)
      yield* Fiber.interrupt(booting)
      yield* statuses
      yield* close
      assert.deepStrictEqual(yield* statuses, ["offline"])
      assert.deepStrictEqual(
        lines.filter((line) => line.startsWith("ERROR")),
        []
      )
    })
  )

  it.effect("waits three seconds at most for the control plane, and logs a missing answer", () =>
    Effect.gen(function* () {
      const { answer, boot, close, lines } = yield* setUp
      yield* boot
      const isAsked = yield* Deferred.make<void>()
      yield* Ref.set(answer, Effect.andThen(Deferred.succeed(isAsked, undefined), Effect.never))
      const closing = yield* Effect.forkChild(close)
      yield* Deferred.await(isAsked)
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(closing)
      assert.isTrue(lines.some((line) => line.startsWith("ERROR could not report offline")))
    })
  )
})
