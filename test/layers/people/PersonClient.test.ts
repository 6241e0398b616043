import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Queue, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { personFunctions } from "../../../src/domain/people/PersonFunctions.ts"
import { PersonClient } from "../../../src/layers/people/PersonClient.ts"
import { PersonConfig } from "../../../src/layers/people/PersonConfig.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"
import { hang, startServer } from "../scriptedServer.ts"

describe("a person's call", () => {
  it.effect("that is not answered within fifteen seconds fails with the address", () =>
    Effect.gen(function* () {
      const server = yield* startServer
      server.answer("*", hang)
      const config = Layer.succeed(PersonConfig, {
        convexUrl: server.url,
        accountId: Option.some("account1"),
        signIn: { _tag: "Token", token: Redacted.make("secret-of-kim") }
      })
      const client = yield* Effect.service(PersonClient).pipe(
        Effect.provide(PersonClient.layer.pipe(Layer.provide(Redactor.layerForPeople), Layer.provide(config)))
      )
      const call = yield* Effect.forkChild(Effect.flip(client.call("query", personFunctions.tasks, {})))
      const received = yield* Queue.take(server.received)
      assert.strictEqual(received.headers.authorization, "Bearer secret-of-kim")
      yield* TestClock.adjust("15 seconds")
      const failure = yield* Fiber.join(call)
      assert.strictEqual(failure._tag, "ControlPlaneUnavailable")
      assert.include(failure.detail, new URL(server.url).host)
    })
  )
})
