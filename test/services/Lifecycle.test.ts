import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Option, Redacted, Ref, Stream } from "effect"
import { REDACTED } from "../../src/domain/observability/Redaction.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import { Redactor } from "../../src/layers/secrets/Redactor.ts"
import { canClaim, Lifecycle, notReadyBecause, StopSignal } from "../../src/services/Lifecycle.ts"
import type { LifecycleState } from "../../src/services/Lifecycle.ts"

const ready: LifecycleState = { phase: "ready", isPaused: false, reasons: {} }

describe("the state of the process", () => {
  it("lets work start only when ready, not paused, and with the right token and gateway settings", () => {
    assert.isTrue(canClaim(ready))
    assert.isTrue(canClaim({ ...ready, reasons: { breaker: "open", gateway: "away", "control-plane": "away" } }))
    assert.isFalse(canClaim({ ...ready, isPaused: true }))
    assert.isFalse(canClaim({ ...ready, reasons: { token: "refused" } }))
    assert.isFalse(canClaim({ ...ready, reasons: { "gateway-configuration": "endpoint off" } }))
    for (const phase of ["booting", "draining", "stopped"] as const) assert.isFalse(canClaim({ ...ready, phase }))
  })

  it("lists phase, pause and every reason when it is not ready", () => {
    assert.deepStrictEqual(notReadyBecause(ready), [])
    assert.deepStrictEqual(
      notReadyBecause({ phase: "draining", isPaused: true, reasons: { breaker: "open", token: "refused" } }),
      ["draining", "paused", "breaker: open", "token: refused"]
    )
  })
})

describe("Lifecycle", () => {
  it.effect("starts in the phase booting", () =>
    Effect.gen(function* () {
      const lifecycle = yield* Lifecycle
      assert.deepStrictEqual(yield* lifecycle.state, { phase: "booting", isPaused: false, reasons: {} })
    }).pipe(Effect.provide(Lifecycle.layerTest))
  )

  it.effect("keeps one reason for each concern and forgets it with null", () =>
    Effect.gen(function* () {
      const lifecycle = yield* Lifecycle
      yield* lifecycle.setReason("breaker", "open")
      yield* lifecycle.setReason("breaker", "open again")
      yield* lifecycle.setReason("token", "refused")
      assert.deepStrictEqual((yield* lifecycle.state).reasons, { breaker: "open again", token: "refused" })
      yield* lifecycle.setReason("breaker", null)
      assert.deepStrictEqual((yield* lifecycle.state).reasons, { token: "refused" })
    }).pipe(Effect.provide(Lifecycle.layerTest))
  )

  it.effect("keeps no secret in a reason", () =>
    Effect.gen(function* () {
      const lifecycle = yield* Lifecycle
      yield* lifecycle.setReason("gateway-process", "exit code 1: cannot bind as my_gateway_password")
      assert.deepStrictEqual((yield* lifecycle.state).reasons, {
        "gateway-process": `exit code 1: cannot bind as ${REDACTED}`
      })
    }).pipe(
      Effect.provide(
        Lifecycle.layer.pipe(
          Layer.provide(Redactor.layer),
          Layer.provide(RuntimeConfig.layerTest({ gatewayToken: Option.some(Redacted.make("my_gateway_password")) }))
        )
      )
    )
  )

  it.effect("publishes changes only", () =>
    Effect.gen(function* () {
      const lifecycle = yield* Lifecycle
      const seen = yield* Ref.make<ReadonlyArray<LifecycleState>>([])
      const started = yield* Deferred.make<void>()
      const follower = yield* lifecycle.changes.pipe(
        Stream.takeUntil(({ phase }) => phase === "stopped"),
        Stream.runForEach((state) =>
          Ref.update(seen, (states) => [...states, state]).pipe(Effect.andThen(Deferred.succeed(started, undefined)))
        ),
        Effect.forkChild
      )
      yield* Deferred.await(started)
      yield* lifecycle.setReason("control-plane", null)
      yield* lifecycle.setPaused(false)
      yield* lifecycle.enter("booting")
      yield* lifecycle.enter("ready")
      yield* lifecycle.enter("ready")
      yield* lifecycle.setReason("breaker", "open")
      yield* lifecycle.setReason("breaker", "open")
      yield* lifecycle.setPaused(true)
      yield* lifecycle.enter("stopped")
      yield* Fiber.join(follower)
      assert.deepStrictEqual(yield* Ref.get(seen), [
        { phase: "booting", isPaused: false, reasons: {} },
        { phase: "ready", isPaused: false, reasons: {} },
        { phase: "ready", isPaused: false, reasons: { breaker: "open" } },
        { phase: "ready", isPaused: true, reasons: { breaker: "open" } },
        { phase: "stopped", isPaused: true, reasons: { breaker: "open" } }
      ])
    }).pipe(Effect.provide(Lifecycle.layerTest))
  )

  it.effect("counts the first reason to stop and the first failure to abort", () =>
    Effect.gen(function* () {
      const lifecycle = yield* Lifecycle
      assert.isTrue(yield* lifecycle.requestStop("restart"))
      assert.isFalse(yield* lifecycle.requestStop("upgrade"))
      assert.strictEqual(yield* lifecycle.stopRequested, "restart")
      yield* lifecycle.abort({ exitCode: 77, message: "first" })
      yield* lifecycle.abort({ exitCode: 70, message: "second" })
      assert.deepStrictEqual(yield* lifecycle.aborted, { exitCode: 77, message: "first" })
    }).pipe(Effect.provide(Lifecycle.layerTest))
  )

  it.effect("requests a stop on the host's signal", () =>
    Effect.gen(function* () {
      const signal = yield* Deferred.make<void>()
      const reason = yield* Effect.gen(function* () {
        const lifecycle = yield* Lifecycle
        yield* Deferred.succeed(signal, undefined)
        return yield* lifecycle.stopRequested
      }).pipe(Effect.provide(Layer.provide(Lifecycle.layerTest, Layer.succeed(StopSignal, Deferred.await(signal)))))
      assert.strictEqual(reason, "signal")
    })
  )
})
