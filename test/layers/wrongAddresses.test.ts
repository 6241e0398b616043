/** Gateway and control plane behind an address that is not theirs: each says the same, and what to do. */
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import { ConvexClient } from "../../src/layers/ConvexClient.ts"
import { Gateway } from "../../src/layers/Gateway.ts"
import { Redactor } from "../../src/layers/secrets/Redactor.ts"
import { answerWith, closedPort, startServer } from "./scriptedServer.ts"

/** What the probe of the gateway, a turn and a call of the control plane say of this address. */
const saidOf = (url: string) =>
  Effect.gen(function* () {
    const gateway = yield* Gateway
    const convex = yield* ConvexClient
    assert.isFalse(yield* gateway.ready)
    const turn = yield* Effect.flip(
      gateway.sendToOpenClaw({
        agentSlug: "engineer",
        sessionKey: "agent:engineer:testaccount1",
        instructions: "",
        input: "hello",
        tools: []
      })
    )
    const call = yield* Effect.flip(convex.query(functions.protocol, {}))
    return {
      ready: (yield* gateway.state).problem ?? "",
      turn: `${turn.detail}: ${"fix" in turn ? turn.fix : ""}`,
      tag: turn._tag,
      call: "detail" in call ? call.detail : call._tag
    }
  }).pipe(
    Effect.provide(
      Layer.mergeAll(Gateway.layer, ConvexClient.layer).pipe(
        Layer.provide(Redactor.layer),
        Layer.provide(RuntimeConfig.layerTest({ gatewayUrl: Option.some(url), convexUrl: url }))
      )
    )
  )

/** A server of another protocol, which greets first. */
const greeter = Effect.acquireRelease(
  Effect.callback<ReturnType<typeof createServer>>((resume) => {
    const server = createServer((socket) => {
      socket.on("error", () => {})
      socket.end("SSH-2.0-OpenSSH_9.9\r\n")
    })
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) => Effect.sync(() => server.close())
).pipe(Effect.map((server) => (server.address() as AddressInfo).port))

describe("an address that is wrong", () => {
  it.effect("is reported as a redirect, a page or a superfluous path, and costs no notification an attempt", () =>
    Effect.gen(function* () {
      const server = yield* startServer
      for (const [url, answer, words] of [
        [
          server.url,
          answerWith(302, "", { location: "https://sso.example/login" }),
          "redirects to https://sso.example/login"
        ],
        [server.url, answerWith(200, "<html>", { "content-type": "text/html" }), "another server answers"],
        [`${server.url}/v1`, answerWith(200, "<html>", { "content-type": "text/html" }), "below /v1"]
      ] as const) {
        server.answer("*", answer)
        const { call, ready, tag, turn } = yield* saidOf(url)
        for (const said of [call, ready, turn]) assert.include(said, words)
        assert.strictEqual(tag, "GatewayMisconfigured")
        assert.include(ready, "OPENCLAW_GATEWAY_URL")
        assert.include(call, "CONVEX_URL")
      }
    })
  )

  it.effect("is reported as another protocol, or as a port where nothing listens", () =>
    Effect.gen(function* () {
      const server = yield* startServer
      for (const [url, words] of [
        [server.url.replace("http:", "https:"), "does not speak https"],
        [`http://127.0.0.1:${yield* greeter}`, "does not speak http"],
        [`http://127.0.0.1:${yield* closedPort}`, "nothing listens at 127.0.0.1"]
      ] as const) {
        const { call, ready, tag, turn } = yield* saidOf(url)
        for (const said of [call, ready, turn]) assert.include(said, words)
        assert.strictEqual(tag, "GatewayUnreachable")
      }
    })
  )
})
