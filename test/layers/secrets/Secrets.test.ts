import { assert, describe, it } from "@effect/vitest"
import { ConvexError } from "convex/values"
import { convexToJson } from "convex/values"
import { Effect, Layer, Option, Queue, Redacted, Stream } from "effect"
import type { Scope } from "effect"
import { functions } from "../../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { ConfigInvalid, RuntimeConfig } from "../../../src/layers/Config.ts"
import type { Credentials } from "../../../src/layers/Config.ts"
import { ConvexClient } from "../../../src/layers/ConvexClient.ts"
import { Gateway } from "../../../src/layers/Gateway.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"
import { ReloadSignal, Secrets } from "../../../src/layers/secrets/Secrets.ts"
import { answerWith, startServer } from "../scriptedServer.ts"
import type { Received } from "../scriptedServer.ts"

const serviceTokenOf = (digit: string) => Redacted.make(`mc_service_testaccount1_${digit.repeat(64)}`)
const oldOnes: Credentials = {
  serviceToken: serviceTokenOf("0"),
  gatewayToken: Option.some(Redacted.make("old-token"))
}
const newOnes: Credentials = {
  serviceToken: serviceTokenOf("1"),
  gatewayToken: Option.some(Redacted.make("new-token"))
}

/** The layers over files that the test writes; `readings` counts how often they were read, `learnt` holds what the redactor was told. */
const setUp = Effect.gen(function* () {
  const server = yield* startServer
  const hangups = yield* Queue.unbounded<void>()
  const learnt: Array<string> = []
  const files = { content: oldOnes as Credentials | ConfigInvalid, readings: 0 }
  const config = RuntimeConfig.layerTest({
    ...oldOnes,
    convexUrl: server.url,
    gatewayUrl: Option.some(server.url),
    readCredentials: Effect.suspend(() => {
      files.readings += 1
      return files.content instanceof ConfigInvalid ? Effect.fail(files.content) : Effect.succeed(files.content)
    })
  })
  const services = yield* Layer.build(
    Layer.mergeAll(ConvexClient.layer, Gateway.layer, Secrets.layer).pipe(
      Layer.provideMerge(
        Layer.effect(
          Redactor,
          Effect.map(Redactor, (real) => ({
            ...real,
            addSecret: (secret: Redacted.Redacted) =>
              Effect.tap(real.addSecret(secret), () => Effect.sync(() => learnt.push(Redacted.value(secret))))
          }))
        ).pipe(Layer.provide(Redactor.layer))
      ),
      Layer.provide([config, Layer.succeed(ReloadSignal, Stream.fromQueue(hangups))])
    )
  )
  const the = <Id, A>(service: Effect.Effect<A, never, Id>) =>
    Effect.provideContext(service, services as never) as Effect.Effect<A, never, Scope.Scope>
  return {
    server,
    files,
    learnt,
    hangup: Effect.asVoid(Queue.offer(hangups, undefined)),
    convex: yield* the(ConvexClient),
    gateway: yield* the(Gateway),
    secrets: yield* the(Secrets),
    redactor: yield* the(Redactor)
  }
})

const accepted = { status: "success", value: "done", logLines: [] }
const refused = {
  status: "error",
  errorMessage: "refused",
  errorData: convexToJson(new ConvexError({ code: "unauthenticated", message: "unknown" }).data),
  logLines: []
}
const holds = (request: Received, token: Redacted.Redacted) => request.body.includes(Redacted.value(token))

describe("a call that the deployment refuses", () => {
  it.effect("is repeated if the file has another token now, without an error for its caller", () =>
    Effect.gen(function* () {
      const { convex, files, redactor, server } = yield* setUp
      server.answer("/api/mutation", (request, response) =>
        holds(request, newOnes.serviceToken)
          ? answerWith(200, accepted)(request, response)
          : answerWith(560, refused)(request, response)
      )
      files.content = newOnes
      assert.strictEqual(yield* convex.mutation(functions.renew, {}), "done")
      assert.strictEqual(yield* convex.mutation(functions.renew, {}), "done")
      // The second call began with the new one.
      assert.lengthOf(yield* Queue.takeAll(server.received), 3)
      for (const { serviceToken } of [oldOnes, newOnes]) {
        assert.notInclude(
          redactor.redact(`it is ${Redacted.value(serviceToken)}`),
          Redacted.value(serviceToken).slice(-32)
        )
      }
    })
  )

  it.effect("is refused for its caller if the file has the same token or is unusable", () =>
    Effect.gen(function* () {
      const { convex, files, secrets, server } = yield* setUp
      server.answer("/api/query", answerWith(560, refused))
      for (const content of [oldOnes, new ConfigInvalid({ problems: ["SERVICE_TOKEN_FILE is empty"] })]) {
        files.content = content
        const failure = yield* Effect.flip(convex.query(functions.backlog, {}))
        assert.strictEqual(failure._tag, "TokenRefused")
      }
      assert.lengthOf(yield* Queue.takeAll(server.received), 2)
      assert.strictEqual(files.readings, 2)
      assert.strictEqual(secrets.now().serviceToken, oldOnes.serviceToken)
    })
  )
})

describe("a request that the gateway refuses", () => {
  const round = {
    agentSlug: "engineer",
    sessionKey: "agent:engineer:testaccount1",
    instructions: "",
    input: "hello",
    tools: []
  }
  const said = {
    object: "response",
    status: "completed",
    output: [{ type: "message", role: "assistant", content: [{ type: "output_text", text: "Hi." }] }]
  }

  it.effect("is repeated if the file has another token now", () =>
    Effect.gen(function* () {
      const { files, gateway, server } = yield* setUp
      const guarded = (body: unknown) => (request: Received, response: Parameters<ReturnType<typeof answerWith>>[1]) =>
        request.headers.authorization === "Bearer new-token"
          ? answerWith(200, body)(request, response)
          : answerWith(401, { error: { message: "Unauthorized", type: "unauthorized" } })(request, response)
      server.answer("/v1/responses", guarded(said))
      server.answer("/v1/models", guarded({ object: "list", data: [{ id: "openclaw/engineer" }] }))
      const before = yield* Effect.flip(gateway.sendToOpenClaw(round))
      assert.strictEqual(before._tag, "GatewayMisconfigured")
      files.content = newOnes
      assert.strictEqual((yield* gateway.sendToOpenClaw(round))._tag, "Text")
      assert.deepStrictEqual(yield* gateway.agents, ["engineer"])
    })
  )

  it.effect("is not repeated if the provider refused it, because the turn has run", () =>
    Effect.gen(function* () {
      const { files, gateway, server } = yield* setUp
      files.content = newOnes
      server.answer(
        "/v1/responses",
        answerWith(401, { object: "response", status: "failed", output: [], error: { code: "x", message: "bad key" } })
      )
      assert.strictEqual((yield* Effect.flip(gateway.sendToOpenClaw(round)))._tag, "ProviderFailed")
      assert.lengthOf(yield* Queue.takeAll(server.received), 1)
    })
  )
})

describe("a hangup", () => {
  it.effect("reads the secrets again, so that the next call uses the new ones", () =>
    Effect.gen(function* () {
      const { files, hangup, secrets } = yield* setUp
      files.content = newOnes
      yield* hangup
      yield* Effect.yieldNow.pipe(Effect.repeat({ until: () => secrets.now() === newOnes }))
      assert.strictEqual(files.readings, 1)
    })
  )
})

describe("files that are read repeatedly", () => {
  it.effect("add each new secret to the redactor once, and nothing while they are unchanged", () =>
    Effect.gen(function* () {
      const { files, learnt, redactor, secrets } = yield* setUp
      // As a gateway does that refuses the token of a file which nobody has changed.
      const refusedAgain = Effect.suspend(() => secrets.hasOtherGatewayToken(secrets.now().gatewayToken))
      yield* Effect.repeat(refusedAgain, { times: 9_999 })
      assert.strictEqual(files.readings, 10_000)
      assert.deepStrictEqual(learnt, [])
      files.content = newOnes
      assert.isTrue(yield* refusedAgain)
      yield* Effect.repeat(refusedAgain, { times: 9 })
      assert.sameMembers(learnt, [Redacted.value(newOnes.serviceToken), "new-token"])
      assert.notInclude(redactor.redact(`its end is ${"1".repeat(64)}`), "1111")
    })
  )
})
