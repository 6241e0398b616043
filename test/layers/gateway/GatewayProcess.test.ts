import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { stat } from "node:fs/promises"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Option, Ref, Sink, Stream } from "effect"
import { ChildProcessSpawner } from "effect/process"
import { TestClock } from "effect/testing"
import { noUsage } from "../../../src/domain/delivery/Run.ts"
import { CANARY_TOOL } from "../../../src/domain/gateway/Canary.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import { Gateway, unseenGateway } from "../../../src/layers/Gateway.ts"
import type { GatewayState, RoundAnswer } from "../../../src/layers/Gateway.ts"
import { GatewayProcess } from "../../../src/layers/gateway/GatewayProcess.ts"
import { writeWhole } from "../../../src/layers/host/OwnFiles.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"

const refusedConnection = (): Promise<void> =>
  new Promise((resolve) => {
    connect(1, "127.0.0.1").once("error", () => resolve())
  })

const nextTurn = Effect.promise<void>(() => new Promise((resolve) => setImmediate(resolve)))

/**
 * Waits in real time for what the supervision does between two moments of the test clock: it reads and writes files and
 * probes a port, one after another. The same operations, started later, end later, so the clock never runs ahead.
 */
const settledIn = (folder: string) =>
  Effect.promise(async () => {
    for (let round = 0; round < 8; round++) {
      await stat("/nonexistent").catch(() => undefined)
      await refusedConnection()
      await writeWhole(join(folder, "settled"), "")
    }
  })

/** A gateway whose readiness the test sets, started by a spawner that only counts. */
const setUp = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "gateway-process-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
  const configPath = join(folder, "openclaw.json")
  const state = yield* Ref.make<GatewayState["state"]>("unreachable")
  const spawned = yield* Ref.make(0)
  const stopped = yield* Ref.make(0)
  /** The time that each stop gave the gateway. While `endsLate` is true, it does not end when it is stopped. */
  const graces: Array<string> = []
  const endsLate = yield* Ref.make(false)
  const exits: Array<Deferred.Deferred<number>> = []
  const spawner = ChildProcessSpawner.make(() =>
    Effect.gen(function* () {
      const exit = yield* Deferred.make<number>()
      exits.push(exit)
      yield* Ref.update(spawned, (count) => count + 1)
      return ChildProcessSpawner.makeHandle({
        // No process has this id.
        pid: ChildProcessSpawner.ProcessId(2 ** 30),
        exitCode: Effect.map(Deferred.await(exit), ChildProcessSpawner.ExitCode),
        isRunning: Effect.map(Deferred.isDone(exit), (isDone) => !isDone),
        kill: (options) =>
          Effect.gen(function* () {
            graces.push(Duration.format(Duration.fromInputUnsafe(options?.forceKillAfter ?? 0)))
            yield* Ref.update(stopped, (count) => count + 1)
            if (yield* Ref.get(endsLate)) return yield* Effect.never
            yield* Deferred.succeed(exit, 0)
          }),
        stdin: Sink.drain,
        stdout: Stream.empty,
        stderr: Stream.empty,
        all: Stream.empty,
        getInputFd: () => Sink.drain,
        getOutputFd: () => Stream.empty,
        unref: Effect.succeed(Effect.void)
      })
    })
  )
  const gateway = Layer.mock(Gateway, {
    ready: Effect.map(Ref.get(state), (now) => now === "ready"),
    agents: Effect.succeed(["alpha"]),
    state: Effect.map(Ref.get(state), (now) => ({
      ...unseenGateway,
      state: now,
      version: "2026.9.6"
    }))
  })
  const context = yield* Layer.build(
    GatewayProcess.layer.pipe(
      Layer.provide(gateway),
      Layer.provide(Redactor.layer),
      // The port of nothing: no gateway of this machine is found there.
      Layer.provide(
        RuntimeConfig.layerTest({
          gatewayUrl: Option.none(),
          gatewayPort: 1,
          stateDir: folder,
          gatewayConfigPath: configPath
        })
      ),
      Layer.provide(Layer.succeed(ChildProcessSpawner.ChildProcessSpawner, spawner)),
      Layer.provide(NodeFileSystem.layer)
    )
  )
  const gatewayProcess = yield* Effect.provideContext(
    Effect.map(GatewayProcess, (service) => service),
    context
  )
  const until = <A>(
    look: Effect.Effect<A>,
    isSo: (value: A) => boolean,
    between: Effect.Effect<void> = nextTurn
  ): Effect.Effect<A> =>
    look.pipe(
      Effect.tap(() => TestClock.adjust("1 second")),
      Effect.tap(() => between),
      Effect.repeat({ until: isSo })
    )
  const settled = settledIn(folder)
  return { configPath, endsLate, exits, gatewayProcess, graces, settled, spawned, state, stopped, until }
})

describe("a gateway that does not become ready", () => {
  it.effect("is restarted after two minutes, but not while it drains", () =>
    Effect.gen(function* () {
      const { exits, gatewayProcess, spawned, state, stopped, until } = yield* setUp
      yield* Effect.forkScoped(gatewayProcess.supervise)
      // The first start is the question for the version.
      yield* until(Ref.get(spawned), (count) => count === 1)
      yield* Deferred.succeed(exits[0]!, 0)
      yield* until(Ref.get(spawned), (count) => count === 2)
      yield* Ref.set(state, "draining")
      yield* until(
        Effect.map(gatewayProcess.health, ({ detail }) => detail),
        (detail) => detail.includes("draining")
      )
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* Ref.get(stopped), 0)
      yield* Ref.set(state, "unreachable")
      yield* until(gatewayProcess.restarts, (count) => count === 1)
      assert.isAtLeast(yield* Ref.get(stopped), 1)
      assert.strictEqual((yield* gatewayProcess.health).status, "starting")
    }).pipe(Effect.scoped)
  )
})

describe("a gateway that is drained", () => {
  const running = Effect.gen(function* () {
    const gateway = yield* setUp
    const { exits, gatewayProcess, spawned, state, until } = gateway
    yield* Effect.forkScoped(gatewayProcess.supervise)
    yield* until(Ref.get(spawned), (count) => count === 1)
    yield* Deferred.succeed(exits[0]!, 0)
    yield* until(Ref.get(spawned), (count) => count === 2)
    yield* Ref.set(state, "ready")
    yield* until(gatewayProcess.health, ({ status }) => status === "ready")
    return gateway
  })

  it.effect("may finish its turns for as long as it is given, and is not started again", () =>
    Effect.gen(function* () {
      const { endsLate, exits, gatewayProcess, graces, settled, spawned, state, until } = yield* running
      yield* Ref.set(endsLate, true)
      const drain = yield* Effect.forkScoped(gatewayProcess.drain(Duration.minutes(15)))
      yield* Ref.set(state, "draining")
      yield* until(gatewayProcess.health, ({ status }) => status === "not-ready")
      yield* TestClock.adjust("10 minutes")
      assert.isUndefined(drain.pollUnsafe())
      assert.deepStrictEqual(graces, ["15m"])
      yield* Ref.set(endsLate, false)
      yield* Deferred.succeed(exits[1]!, 0)
      yield* until(Effect.succeed(drain), (fiber) => fiber.pollUnsafe() !== undefined)
      yield* Fiber.join(drain)
      for (let look = 0; look < 5; look++) {
        yield* TestClock.adjust("5 minutes")
        yield* settled
      }
      assert.strictEqual(yield* Ref.get(spawned), 2)
      assert.strictEqual(yield* gatewayProcess.restarts, 0)
    }).pipe(Effect.scoped)
  )

  it.effect("has ten seconds, even if less of the drain is left", () =>
    Effect.gen(function* () {
      const { gatewayProcess, graces } = yield* running
      yield* gatewayProcess.drain(Duration.seconds(1))
      assert.strictEqual(graces[0], "10s")
    }).pipe(Effect.scoped)
  )
})

describe("a gateway that keeps ending", () => {
  it.effect("is restarted ten times within ten minutes, with growing waits, and then no more", () =>
    Effect.gen(function* () {
      const { exits, gatewayProcess, settled, until } = yield* setUp
      yield* Effect.forkScoped(gatewayProcess.supervise)
      const endEverything = Effect.suspend(() =>
        Effect.forEach(exits, (exit) => Deferred.succeed(exit, 1), { discard: true })
      )
      const health = yield* until(
        Effect.andThen(endEverything, gatewayProcess.health),
        ({ status }) => status === "spent",
        settled
      )
      assert.include(health.detail, "ended 11 times within ten minutes")
      assert.strictEqual(yield* gatewayProcess.restarts, 10)
    }).pipe(Effect.scoped)
  )
})

describe("a gateway that cannot run as it is configured", () => {
  it.effect("is restarted if its configuration was fixed between its reading and its end", () =>
    Effect.gen(function* () {
      const { configPath, exits, gatewayProcess, spawned, until } = yield* setUp
      writeFileSync(configPath, "broken")
      yield* Effect.forkScoped(gatewayProcess.supervise)
      yield* until(Ref.get(spawned), (count) => count === 1)
      yield* Deferred.succeed(exits[0]!, 0)
      yield* until(Ref.get(spawned), (count) => count === 2)
      writeFileSync(configPath, "fixed by a person")
      yield* Deferred.succeed(exits[1]!, 78)
      yield* until(Ref.get(spawned), (count) => count === 3)
      assert.strictEqual(yield* gatewayProcess.restarts, 0)
    }).pipe(Effect.scoped)
  )

  it.effect("is not restarted before its configuration changes", () =>
    Effect.gen(function* () {
      const { configPath, exits, gatewayProcess, settled, spawned, until } = yield* setUp
      writeFileSync(configPath, "broken")
      yield* Effect.forkScoped(gatewayProcess.supervise)
      yield* until(Ref.get(spawned), (count) => count === 1)
      yield* Deferred.succeed(exits[0]!, 0)
      yield* until(Ref.get(spawned), (count) => count === 2)
      yield* Deferred.succeed(exits[1]!, 78)
      yield* until(gatewayProcess.health, ({ status }) => status === "faulty", settled)
      for (let look = 0; look < 5; look++) {
        yield* TestClock.adjust("5 minutes")
        yield* settled
      }
      assert.strictEqual(yield* Ref.get(spawned), 2)
      writeFileSync(configPath, "fixed by a person")
      yield* until(Ref.get(spawned), (count) => count === 3)
    }).pipe(Effect.scoped)
  )
})

describe("an external gateway", () => {
  /** A gateway that is ready and whose agents answer a canary with this. */
  const external = Effect.gen(function* () {
    const state = yield* Ref.make<GatewayState>({ ...unseenGateway, state: "ready", version: "2026.9.6" })
    const canaries = yield* Ref.make(0)
    const answer = yield* Ref.make<RoundAnswer>({ _tag: "Text", text: "No such tool.", isTruncated: false, usage })
    const gateway = Layer.mock(Gateway, {
      ready: Effect.succeed(true),
      agents: Effect.succeed(["alpha"]),
      state: Ref.get(state),
      sendToOpenClaw: () =>
        Effect.gen(function* () {
          yield* Ref.update(canaries, (count) => count + 1)
          const given = yield* Ref.get(answer)
          if (given._tag === "Calls") yield* Ref.update(state, (seen) => ({ ...seen, hasSentToolCalls: true }))
          return given
        })
    })
    const spawner = ChildProcessSpawner.make(() => Effect.die("an external gateway is not started"))
    const context = yield* Layer.build(
      GatewayProcess.layer.pipe(
        Layer.provide([gateway, Redactor.layer, NodeFileSystem.layer]),
        Layer.provide(RuntimeConfig.layerTest()),
        Layer.provide(Layer.succeed(ChildProcessSpawner.ChildProcessSpawner, spawner))
      )
    )
    const gatewayProcess = Context.get(context, GatewayProcess)
    yield* Effect.forkScoped(gatewayProcess.supervise)
    yield* TestClock.adjust("1 second")
    return { answer, canaries, health: gatewayProcess.health, state }
  })
  const usage = noUsage
  const call: RoundAnswer = { _tag: "Calls", calls: [{ callId: "c", name: CANARY_TOOL, arguments: "{}" }], usage }

  it.effect("whose agents see no tools is ready with the reason and its fix, until a call arrives", () =>
    Effect.gen(function* () {
      const { canaries, health, state } = yield* external
      yield* TestClock.adjust("11 seconds")
      assert.strictEqual(yield* Ref.get(canaries), 1)
      const { detail, status } = yield* health
      assert.strictEqual(status, "ready")
      assert.include(detail, "agents do not see the runtime's tools")
      assert.include(detail, "set tools.toolSearch to false")
      // That of a delivery counts like the canary's.
      yield* Ref.update(state, (seen) => ({ ...seen, hasSentToolCalls: true }))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* health, { status: "ready", detail: "" })
    }).pipe(Effect.scoped)
  )

  it.effect("gets a canary every ten minutes until a call arrives, and then no more", () =>
    Effect.gen(function* () {
      const { answer, canaries, health } = yield* external
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* Ref.get(canaries), 2)
      yield* Ref.set(answer, call)
      yield* TestClock.adjust("11 minutes")
      assert.deepStrictEqual(yield* health, { status: "ready", detail: "" })
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Ref.get(canaries), 3)
    }).pipe(Effect.scoped)
  )
})
