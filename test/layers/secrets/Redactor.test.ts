import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"
import { REDACTED } from "../../../src/domain/observability/Redaction.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"

const secret = "0123456789abcdef".repeat(4)

const withSecrets = Effect.provide(
  Redactor.layer.pipe(
    Layer.provide(
      RuntimeConfig.layerTest({
        serviceToken: Redacted.make(`mc_service_k57account_${secret}`),
        gatewayToken: Option.some(Redacted.make("my_gateway_password"))
      })
    )
  )
)

describe("Redactor", () => {
  it.effect("removes the service token, its secret part alone, and the gateway's token", () =>
    Effect.gen(function* () {
      const { redact } = yield* Redactor
      assert.strictEqual(redact(`a mc_service_k57account_${secret} b`), `a ${REDACTED} b`)
      assert.strictEqual(redact(`a ${secret} b`), `a ${REDACTED} b`)
      assert.strictEqual(redact("a my_gateway_password b"), `a ${REDACTED} b`)
    }).pipe(withSecrets)
  )

  it.effect("keeps words that are a part of the gateway's token", () =>
    Effect.gen(function* () {
      const { redact } = yield* Redactor
      assert.strictEqual(redact("the gateway asks for a password"), "the gateway asks for a password")
    }).pipe(withSecrets)
  )

  it.effect("knows a secret from the moment it is added", () =>
    Effect.gen(function* () {
      const redactor = yield* Redactor
      const { redact } = redactor
      assert.strictEqual(redact("the new-rotated-secret"), "the new-rotated-secret")
      yield* redactor.addSecret(Redacted.make("new-rotated-secret"))
      assert.strictEqual(redact("the new-rotated-secret"), `the ${REDACTED}`)
      assert.strictEqual(redact(secret), REDACTED)
    }).pipe(withSecrets)
  )

  it.effect("knows the secret part alone of a service token that is added", () =>
    Effect.gen(function* () {
      const { addSecret, redact } = yield* Redactor
      const rotated = "fedcba9876543210".repeat(4)
      assert.strictEqual(redact(`a ${rotated} b`), `a ${rotated} b`)
      assert.isTrue(yield* addSecret(Redacted.make(`mc_service_k57account_${rotated}`)))
      assert.strictEqual(redact(`a ${rotated} b`), `a ${REDACTED} b`)
    }).pipe(withSecrets)
  )

  it.effect("reports a known secret as not new", () =>
    Effect.gen(function* () {
      const { addSecret } = yield* Redactor
      assert.isFalse(yield* addSecret(Redacted.make("my_gateway_password")))
      assert.isFalse(yield* addSecret(Redacted.make(secret)))
      assert.isTrue(yield* addSecret(Redacted.make("new-rotated-secret")))
      assert.isFalse(yield* addSecret(Redacted.make("new-rotated-secret")))
    }).pipe(withSecrets)
  )

  it.effect("cuts an error to at most 500 characters, after removing secrets", () =>
    Effect.gen(function* () {
      const { error } = yield* Redactor
      assert.strictEqual(error("short"), "short")
      assert.strictEqual(error("x".repeat(500)), "x".repeat(500))
      const long = error(`${"x".repeat(470)} my_gateway_password ${"😀".repeat(300)}`)
      assert.lengthOf(long, 499)
      assert.isTrue(long.endsWith("…"))
      assert.isTrue(long.isWellFormed())
      assert.notInclude(long, "my_gate")
    }).pipe(withSecrets)
  )
})
