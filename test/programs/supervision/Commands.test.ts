import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, Option, Queue, Ref, Result, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import {
  BootConflict,
  ControlPlaneRefused,
  ControlPlaneUnavailable
} from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { RuntimeCommands, VersionChange } from "../../../src/domain/controlPlane/RuntimeCommands.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import { Gateway, unseenGateway } from "../../../src/layers/Gateway.ts"
import { UpgradeFailed, Upgrader } from "../../../src/layers/host/Upgrader.ts"
import { Commands } from "../../../src/programs/supervision/Commands.ts"
import { ControlPlane } from "../../../src/services/ControlPlane.ts"
import { Lifecycle } from "../../../src/services/Lifecycle.ts"
import { Supervisor } from "../../../src/services/Supervisor.ts"

const away = new ControlPlaneUnavailable({ function: "service/runtimes:acknowledge", detail: "ECONNREFUSED" })
const none: RuntimeCommands = { paused: false, restart: null, upgrade: null, underway: null }
const restart = { id: "r1", requestedAt: 0 }
const upgrade: VersionChange = {
  id: "c1",
  kind: "upgrade",
  runtimeVersion: "1.1.0",
  openclawVersion: null,
  requestedAt: 0
}

/** The commands of boot b1 at runtime 1.0.0, over a control plane and a host whose answers the test sets. */
const setUp = Effect.gen(function* () {
  const pushed = yield* Queue.unbounded<Result.Result<RuntimeCommands, ControlPlaneFailure>>()
  const said: Array<string> = []
  const handedOver: Array<string> = []
  const answer = yield* Ref.make<Effect.Effect<void, ControlPlaneFailure>>(Effect.void)
  const host = yield* Ref.make<Effect.Effect<void, UpgradeFailed>>(Effect.void)
  const openclaw = yield* Ref.make<string | null>("2026.9.1")
  const cleared = yield* Ref.make(0)
  const scope = yield* Scope.fork(yield* Effect.scope)
  const services = yield* Layer.build(
    Commands.layer.pipe(
      Layer.provideMerge(Supervisor.layer),
      Layer.provideMerge(Lifecycle.layerTest),
      Layer.provide([
        Layer.mock(ControlPlane, {
          bootId: "b1",
          commands: Stream.fromQueue(pushed),
          acknowledge: ({ command, message, result }) =>
            Effect.andThen(
              Effect.sync(
                () => void said.push([command, result, ...(message === undefined ? [] : [message])].join(" "))
              ),
              Effect.flatten(Ref.get(answer))
            )
        }),
        Layer.succeed(Upgrader, {
          means: "asking the host",
          handOver: ({ id, runtimeVersion }, { runtime }) =>
            Effect.andThen(
              Effect.sync(() => void handedOver.push(`${id} ${runtime} -> ${runtimeVersion}`)),
              Effect.flatten(Ref.get(host))
            ),
          clear: Ref.update(cleared, (count) => count + 1)
        }),
        Layer.mock(Gateway, {
          state: Effect.map(Ref.get(openclaw), (version) => ({
            ...unseenGateway,
            state: "ready" as const,
            version
          }))
        }),
        RuntimeConfig.layerTest({ runtimeVersion: "1.0.0" })
      ]),
      Layer.provideMerge(Logger.layer([]))
    )
  ).pipe(Scope.provide(scope))
  const { commands, lifecycle } = yield* Effect.provideContext(
    Effect.all({ commands: Commands, lifecycle: Lifecycle }),
    services
  )
  yield* Effect.provideContext(commands.start, services)
  yield* TestClock.adjust(0)
  const stop = yield* Effect.forkChild(lifecycle.stopRequested)
  const push = (more: Partial<RuntimeCommands>) =>
    Queue.offer(pushed, Result.succeed({ ...none, ...more })).pipe(Effect.andThen(TestClock.adjust(0)))
  return {
    answer,
    cleared,
    close: Scope.close(scope, Exit.void),
    handedOver,
    host,
    leaving: Effect.provideContext(commands.leaving, services),
    lifecycle,
    obey: (more: Partial<RuntimeCommands>) =>
      Effect.provideContext(commands.obey({ ...none, ...more }), services).pipe(Effect.andThen(TestClock.adjust(0))),
    openclaw,
    push,
    pushed,
    said,
    watched: Effect.map(Stream.runHead(commands.watched), Option.getOrUndefined),
    /** Why the process is to stop; null while it is not. */
    stopReason: Effect.gen(function* () {
      yield* TestClock.adjust(0)
      const exit = stop.pollUnsafe()
      return exit === undefined ? null : yield* exit
    })
  }
})

describe("a watch", () => {
  it.effect("is known from the push and the pulse, and costs no call", () =>
    Effect.gen(function* () {
      const { obey, push, said, watched } = yield* setUp
      // As a deployment of an earlier release sends them.
      yield* push({})
      assert.deepStrictEqual(yield* watched, { since: 0, until: 0 })
      yield* push({ watched: { since: 1, until: 3 } })
      yield* obey({ watched: { since: 1, until: 2 } })
      yield* obey({ watched: null })
      assert.deepStrictEqual(yield* watched, { since: 1, until: 3 })
      yield* obey({ watched: { since: 5, until: 7 } })
      assert.deepStrictEqual(yield* watched, { since: 5, until: 7 })
      assert.deepStrictEqual(said, [])
    })
  )
})

describe("a pause", () => {
  it.effect("that is pushed applies at once, as does its end, and a failing query is ignored", () =>
    Effect.gen(function* () {
      const { lifecycle, push, pushed } = yield* setUp
      const isPaused = Effect.map(lifecycle.state, (state) => state.isPaused)
      yield* push({ paused: true })
      assert.isTrue(yield* isPaused)
      yield* Queue.offer(pushed, Result.fail(away))
      yield* TestClock.adjust(0)
      assert.isTrue(yield* isPaused)
      yield* push({})
      assert.isFalse(yield* isPaused)
    })
  )

  it.effect("applies at once while an upgrade is carried out", () =>
    Effect.gen(function* () {
      const { host, lifecycle, push } = yield* setUp
      yield* Ref.set(host, Effect.never)
      yield* push({ upgrade })
      yield* push({ paused: true, upgrade })
      assert.isTrue((yield* lifecycle.state).isPaused)
    })
  )
})

describe("a restart", () => {
  it.effect("is taken, then the process drains and ends", () =>
    Effect.gen(function* () {
      const { handedOver, push, said, stopReason } = yield* setUp
      yield* push({ restart })
      assert.deepStrictEqual(said, ["r1 taken"])
      assert.strictEqual(yield* stopReason, "restart")
      assert.deepStrictEqual(handedOver, [])
    })
  )

  it.effect("that the pulse brings counts like a pushed one", () =>
    Effect.gen(function* () {
      const { obey, stopReason } = yield* setUp
      yield* obey({ restart })
      assert.strictEqual(yield* stopReason, "restart")
    })
  )

  it.effect("that another boot has taken is ignored", () =>
    Effect.gen(function* () {
      const { answer, lifecycle, push, stopReason } = yield* setUp
      const taken = new ControlPlaneRefused({ function: "acknowledge", code: "conflict", detail: "taken" })
      yield* Ref.set(answer, Effect.fail(taken))
      yield* push({ restart })
      assert.isNull(yield* stopReason)
      assert.strictEqual((yield* lifecycle.state).phase, "booting")
    })
  )

  it.effect("is not started before it is known to be taken, and is kept while the control plane is unavailable", () =>
    Effect.gen(function* () {
      const { answer, push, stopReason } = yield* setUp
      yield* Ref.set(answer, Effect.fail(away))
      yield* push({ restart })
      yield* TestClock.adjust("10 minutes")
      assert.isNull(yield* stopReason)
      // Taken for the plane, of which the answer got lost: the push no longer has it.
      yield* push({})
      yield* Ref.set(answer, Effect.void)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* stopReason, "restart")
    })
  )

  it.effect("ends a boot that a later one has replaced with 78", () =>
    Effect.gen(function* () {
      const { answer, lifecycle, push } = yield* setUp
      yield* Ref.set(answer, Effect.fail(new BootConflict({ detail: "a later boot" })))
      yield* push({ restart })
      assert.deepStrictEqual(yield* lifecycle.aborted, { exitCode: 78, message: "a later boot" })
    })
  )
})

describe("an upgrade", () => {
  it.effect("is taken, handed over, reported, and ends the process", () =>
    Effect.gen(function* () {
      const { handedOver, leaving, push, said, stopReason } = yield* setUp
      yield* push({ upgrade })
      assert.deepStrictEqual(handedOver, ["c1 1.0.0 -> 1.1.0"])
      assert.strictEqual(yield* stopReason, "upgrade")
      yield* leaving
      assert.deepStrictEqual(
        said.map((line) => line.split(" ").slice(0, 2).join(" ")),
        ["c1 taken", "c1 progress", "c1 progress"]
      )
      assert.strictEqual(said[0], "c1 taken asking the host")
    })
  )

  it.effect("is handed over once, however often it is pushed", () =>
    Effect.gen(function* () {
      const { handedOver, obey, push } = yield* setUp
      yield* push({ upgrade })
      yield* push({ upgrade })
      yield* obey({ upgrade })
      yield* obey({ underway: { ...upgrade, takenBy: "b1" } })
      assert.lengthOf(handedOver, 1)
    })
  )

  it.effect("that the host does not accept is reported with its reason, and the process continues", () =>
    Effect.gen(function* () {
      const { handedOver, host, leaving, push, said, stopReason } = yield* setUp
      yield* Ref.set(host, Effect.fail(new UpgradeFailed({ detail: "exit code 3: no space left" })))
      yield* push({ upgrade })
      assert.strictEqual(said.at(-1), "c1 failed exit code 3: no space left")
      assert.isNull(yield* stopReason)
      yield* leaving
      assert.strictEqual(said.at(-1), "c1 failed exit code 3: no space left")
      // The next request is another try.
      yield* Ref.set(host, Effect.void)
      yield* push({ upgrade: { ...upgrade, id: "c2" } })
      assert.lengthOf(handedOver, 2)
      assert.strictEqual(yield* stopReason, "upgrade")
    })
  )

  it.effect("that causes a defect is reported as failed, and the process continues", () =>
    Effect.gen(function* () {
      const { host, push, said, stopReason } = yield* setUp
      yield* Ref.set(host, Effect.die(new Error("a bug")))
      yield* push({ upgrade })
      assert.match(said.at(-1) ?? "", /^c1 failed .*a bug/)
      assert.isNull(yield* stopReason)
    })
  )

  it.effect("includes a restart that was requested too", () =>
    Effect.gen(function* () {
      const { push, said, stopReason } = yield* setUp
      yield* push({ upgrade, restart })
      assert.include(said, "r1 taken")
      assert.strictEqual(yield* stopReason, "upgrade")
    })
  )

  it.effect("whose command failed leaves a requested restart to be carried out", () =>
    Effect.gen(function* () {
      const { host, obey, push, stopReason } = yield* setUp
      yield* Ref.set(host, Effect.fail(new UpgradeFailed({ detail: "no" })))
      yield* push({ upgrade, restart })
      yield* obey({ restart })
      assert.strictEqual(yield* stopReason, "restart")
    })
  )

  it.effect("to the running versions is a success without a restart", () =>
    Effect.gen(function* () {
      const { handedOver, push, said, stopReason } = yield* setUp
      yield* push({ upgrade: { ...upgrade, runtimeVersion: "1.0.0" } })
      yield* push({ upgrade: { ...upgrade, id: "c2", kind: "rollback", runtimeVersion: "1.0.0" } })
      assert.deepStrictEqual(said, ["c1 taken", "c1 success", "c2 taken", "c2 rolled_back"])
      assert.deepStrictEqual(handedOver, [])
      assert.isNull(yield* stopReason)
    })
  )

  it.effect("to an invalid version is refused", () =>
    Effect.gen(function* () {
      const { handedOver, push, said, stopReason } = yield* setUp
      yield* push({ upgrade: { ...upgrade, runtimeVersion: "$(reboot)" } })
      assert.match(said.at(-1) ?? "", /^c1 failed /)
      assert.deepStrictEqual(handedOver, [])
      assert.isNull(yield* stopReason)
    })
  )

  it.effect("in progress when the process ends is left to the next start, without a report", () =>
    Effect.gen(function* () {
      const { close, host, push, said } = yield* setUp
      const isStarted = yield* Deferred.make<void>()
      yield* Ref.set(host, Effect.andThen(Deferred.succeed(isStarted, undefined), Effect.never))
      yield* push({ upgrade })
      yield* Deferred.await(isStarted)
      const closing = yield* Effect.forkChild(close)
      yield* TestClock.adjust(0)
      yield* Fiber.join(closing)
      assert.deepStrictEqual(said, ["c1 taken asking the host"])
    })
  )
})

describe("the start after an upgrade", () => {
  const underway = { ...upgrade, takenBy: "b0" }

  it.effect("reports success once if its versions match, and removes the file", () =>
    Effect.gen(function* () {
      const { cleared, obey, push, said, stopReason } = yield* setUp
      const arrived = { ...underway, runtimeVersion: "1.0.0" }
      yield* obey({ underway: arrived })
      yield* push({ underway: arrived })
      assert.deepStrictEqual(said, ["c1 success"])
      assert.strictEqual(yield* Ref.get(cleared), 1)
      assert.isNull(yield* stopReason)
    })
  )

  it.effect("reports a rollback as rolled back", () =>
    Effect.gen(function* () {
      const { obey, said } = yield* setUp
      yield* obey({ underway: { ...underway, kind: "rollback", runtimeVersion: "1.0.0" } })
      assert.deepStrictEqual(said, ["c1 rolled_back"])
    })
  )

  it.effect("waits for the gateway's version, which the next pulse contains", () =>
    Effect.gen(function* () {
      const { obey, openclaw, said } = yield* setUp
      const both = { ...underway, runtimeVersion: "1.0.0", openclawVersion: "2026.9.6" }
      yield* Ref.set(openclaw, null)
      yield* obey({ underway: both })
      assert.deepStrictEqual(said, [])
      yield* Ref.set(openclaw, "2026.9.6")
      yield* obey({ underway: both })
      assert.deepStrictEqual(said, ["c1 success"])
    })
  )

  it.effect("with other versions does nothing and reports nothing", () =>
    Effect.gen(function* () {
      const { cleared, handedOver, obey, push, said, stopReason } = yield* setUp
      yield* obey({ underway })
      yield* push({ underway })
      assert.deepStrictEqual([said, handedOver], [[], []])
      assert.isNull(yield* stopReason)
      assert.strictEqual(yield* Ref.get(cleared), 0)
    })
  )

  it.effect("removes the file of a request that is over", () =>
    Effect.gen(function* () {
      const { cleared, obey } = yield* setUp
      yield* obey({})
      yield* obey({})
      assert.strictEqual(yield* Ref.get(cleared), 1)
    })
  )
})
