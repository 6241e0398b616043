import { readFileSync } from "node:fs"
import type { ServerResponse } from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Layer, Option, Queue, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { noUsage } from "../../src/domain/delivery/Run.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import type { Settings } from "../../src/layers/Config.ts"
import { Gateway, unseenGateway } from "../../src/layers/Gateway.ts"
import type { GatewayRequest } from "../../src/layers/Gateway.ts"
import { Redactor } from "../../src/layers/secrets/Redactor.ts"
import { answerWith, closedPort, hang, reset, startServer } from "./scriptedServer.ts"
import type { ScriptedServer } from "./scriptedServer.ts"

const token = "gateway-token-0123456789"

const gatewayAt = (url: string, settings: Partial<Settings> = {}) =>
  Effect.map(
    Layer.build(
      Gateway.layer.pipe(
        Layer.provide(Redactor.layer),
        Layer.provide(
          RuntimeConfig.layerTest({
            gatewayUrl: Option.some(url),
            gatewayToken: Option.some(Redacted.make(token)),
            ...settings
          })
        )
      )
    ),
    (services) => Effect.provideContext(Gateway, services)
  ).pipe(Effect.flatten)

const setUp = (settings: Partial<Settings> = {}) =>
  Effect.gen(function* () {
    const server = yield* startServer
    return { gateway: yield* gatewayAt(server.url, settings), server }
  })

const tools = [{ type: "function" as const, name: "act", description: "acts", parameters: { type: "object" } }]

const round: GatewayRequest = {
  agentSlug: "engineer",
  sessionKey: "agent:engineer:testaccount1",
  instructions: "the rules",
  input: "the request",
  tools
}

const response = (output: ReadonlyArray<unknown>) => ({
  object: "response",
  status: "completed",
  output,
  usage: { input_tokens: 3, output_tokens: 2 }
})
const text = response([{ type: "message", content: [{ type: "output_text", text: "ok" }] }])
const bare = (message: string, type: string) => ({ error: { message, type } })

describe("a round", () => {
  it.effect("sends no unpaired surrogate to the model's provider", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      server.answer("/v1/responses", answerWith(200, text))
      yield* gateway.sendToOpenClaw({ ...round, input: "cut \ud83d here", instructions: "\udc00" })
      const { body } = yield* Queue.take(server.received)
      assert.deepInclude(JSON.parse(body), { input: "cut \ufffd here", instructions: "\ufffd" })
    })
  )

  it.effect("is posted in the gateway's form: flat tools, header and key that agree, rules, user and token", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      server.answer("/v1/responses", answerWith(200, text))
      const answer = yield* gateway.sendToOpenClaw(round)
      assert.deepStrictEqual(answer, {
        _tag: "Text",
        text: "ok",
        isTruncated: false,
        usage: { ...noUsage, inputTokens: 3, outputTokens: 2 }
      })
      const { body, headers, method } = yield* Queue.take(server.received)
      assert.strictEqual(method, "POST")
      assert.strictEqual(headers["authorization"], `Bearer ${token}`)
      assert.strictEqual(headers["content-type"], "application/json")
      assert.strictEqual(headers["x-openclaw-agent-id"], "engineer")
      assert.strictEqual(headers["x-openclaw-session-key"], "agent:engineer:testaccount1")
      assert.deepStrictEqual(JSON.parse(body), {
        model: "openclaw/engineer",
        user: "agent:engineer:testaccount1",
        instructions: "the rules",
        input: "the request",
        tools
      })
    })
  )

  it.effect("sends results as items of the input, with tools and rules again", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      server.answer(
        "/v1/responses",
        answerWith(200, response([{ type: "function_call", call_id: "c1", name: "act", arguments: "{}" }]))
      )
      const answer = yield* gateway.sendToOpenClaw(round)
      assert.strictEqual(answer._tag, "Calls")
      const input = [{ type: "function_call_output" as const, call_id: "c1", output: '{"tool":"act"}' }]
      yield* gateway.sendToOpenClaw({ ...round, input })
      yield* Queue.take(server.received)
      const body = JSON.parse((yield* Queue.take(server.received)).body) as Record<string, unknown>
      assert.deepStrictEqual(body["input"], input)
      assert.deepStrictEqual(body["tools"], tools)
      assert.strictEqual(body["instructions"], "the rules")
    })
  )

  it.effect("has no tools if there are none, and no token if none is set", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp({ gatewayToken: Option.none() })
      server.answer("/v1/responses", answerWith(200, text))
      yield* gateway.sendToOpenClaw({ ...round, tools: [] })
      const { body, headers } = yield* Queue.take(server.received)
      assert.notProperty(JSON.parse(body), "tools")
      assert.notProperty(headers, "authorization")
    })
  )

  for (const sessionKey of ["agent:qa:testaccount1", "engineer", "main", "AGENT:engineer:testaccount1", ""]) {
    it.effect(`is never sent under the key ${JSON.stringify(sessionKey)}, which is not the agent's`, () =>
      Effect.gen(function* () {
        const { gateway, server } = yield* setUp()
        const failure = yield* Effect.flip(gateway.sendToOpenClaw({ ...round, sessionKey }))
        assert.strictEqual(failure._tag, "TurnRefused")
        assert.strictEqual(yield* Queue.size(server.received), 0)
      })
    )
  }

  it.effect("reuses connections", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      const ports = new Set<number | undefined>()
      server.answer("/v1/responses", (request, answer) => {
        ports.add(answer.socket?.remotePort)
        answerWith(200, text)(request, answer)
      })
      yield* Effect.repeat(gateway.sendToOpenClaw(round), { times: 19 })
      assert.isAtMost(ports.size, 10)
    })
  )
})

describe("a round that fails", () => {
  it.effect("was not sent when the connection is refused", () =>
    Effect.gen(function* () {
      const gateway = yield* gatewayAt(`http://127.0.0.1:${yield* closedPort}`)
      const failure = yield* Effect.flip(gateway.sendToOpenClaw(round))
      assert.strictEqual(failure._tag, "GatewayUnreachable")
      assert.include(failure.detail, "ECONNREFUSED")
      assert.strictEqual((yield* gateway.state).state, "unreachable")
    })
  )

  it.effect("was not sent when the host is unknown", () =>
    Effect.gen(function* () {
      const gateway = yield* gatewayAt("http://gateway.invalid:18789")
      assert.strictEqual((yield* Effect.flip(gateway.sendToOpenClaw(round)))._tag, "GatewayUnreachable")
    })
  )

  it.effect("may have started when the connection breaks after the request was sent", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      server.answer("/v1/responses", reset)
      const failure = yield* Effect.flip(gateway.sendToOpenClaw(round))
      assert.strictEqual(failure._tag, "ConnectionLost")
      yield* Queue.take(server.received)
    })
  )

  it.effect("may have started when the answer breaks off", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      server.answer("/v1/responses", (_, answer) => {
        answer.writeHead(200, { "content-type": "application/json", "content-length": "1000" })
        answer.write('{"object":"resp', () => answer.socket?.destroy())
      })
      assert.strictEqual((yield* Effect.flip(gateway.sendToOpenClaw(round)))._tag, "ConnectionLost")
    })
  )

  it.effect("is classified by the shape of its answer", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      const failed = (code: string, message: string) => ({
        ...response([]),
        status: "failed",
        error: { code, message }
      })
      for (const [status, body, tag] of [
        [401, bare("Unauthorized", "unauthorized"), "GatewayMisconfigured"],
        [401, failed("authentication_error", "401"), "ProviderFailed"],
        [404, "Not Found", "GatewayMisconfigured"],
        [400, bare("Unknown agent 'engineer'.", "invalid_request_error"), "UnknownAgent"],
        [413, bare("Payload too large", "invalid_request_error"), "TurnRefused"],
        [500, failed("api_error", "internal error"), "TurnAmbiguous"],
        [502, failed("api_error", "upstream provider error"), "ProviderFailed"],
        [502, "<html>Bad Gateway</html>", "GatewayUnreachable"],
        [504, "<html>Gateway Time-out</html>", "ConnectionLost"],
        [200, "<!doctype html>", "TurnUnreadable"],
        [200, "", "TurnUnreadable"]
      ] as const) {
        server.answer("/v1/responses", answerWith(status, body))
        assert.strictEqual((yield* Effect.flip(gateway.sendToOpenClaw(round)))._tag, tag)
      }
    })
  )

  describe("with a 500 when the gateway has just come up", () => {
    const internal = { ...response([]), status: "failed", error: { code: "api_error", message: "internal error" } }
    const failed = (gateway: Gateway["Service"]) => Effect.flip(gateway.sendToOpenClaw(round))

    it.effect("is a restart's for 60 s after the start, even if no probe has seen it", () =>
      Effect.gen(function* () {
        const server = yield* startServer
        server.answer("/v1/responses", answerWith(500, internal))
        for (const [readiness, tag] of [
          [{ ready: true, uptimeMs: 59_999 }, "GatewayRestarted"],
          [{ ready: false, failing: ["startup-sidecars"], uptimeMs: 900 }, "GatewayRestarted"],
          [{ ready: true, uptimeMs: 60_000 }, "TurnAmbiguous"],
          [{ ready: true }, "TurnAmbiguous"],
          ["<!doctype html>", "TurnAmbiguous"]
        ] as const) {
          server.answer("/readyz", answerWith(200, readiness))
          assert.strictEqual((yield* failed(yield* gatewayAt(server.url)))._tag, tag, JSON.stringify(readiness))
        }
      })
    )

    it.effect("is a restart's for 60 s after the gateway became ready, even after a long start", () =>
      Effect.gen(function* () {
        const { gateway, server } = yield* setUp()
        server.answer("/v1/responses", answerWith(500, internal))
        for (const uptime of [{}, { uptimeMs: 90_000 }]) {
          server.answer("/readyz", answerWith(200, { ready: false, failing: ["startup-sidecars"] }))
          yield* gateway.ready
          server.answer("/readyz", answerWith(200, { ready: true, ...uptime }))
          yield* gateway.ready
          yield* TestClock.adjust("59 seconds")
          assert.strictEqual((yield* failed(gateway))._tag, "GatewayRestarted")
          yield* TestClock.adjust("1 second")
          assert.strictEqual((yield* failed(gateway))._tag, "TurnAmbiguous")
        }
      })
    )

    /** A request that is answered after five minutes, in which `then` becomes true. */
    const waited = (then: (gateway: Gateway["Service"], server: ScriptedServer) => Effect.Effect<unknown>) =>
      Effect.gen(function* () {
        const { gateway, server } = yield* setUp()
        const waiting = yield* Deferred.make<ServerResponse>()
        server.answer("/v1/responses", (_, answer) => Deferred.doneUnsafe(waiting, Effect.succeed(answer)))
        const fiber = yield* Effect.forkChild(failed(gateway))
        const answer = yield* Deferred.await(waiting)
        yield* TestClock.adjust("5 minutes")
        yield* then(gateway, server)
        answer.writeHead(500, { "content-type": "application/json" }).end(JSON.stringify(internal))
        return (yield* Fiber.join(fiber))._tag
      })

    it.effect("is a restart's as well if it waited minutes for the recovery of its session", () =>
      Effect.gen(function* () {
        const tag = yield* waited((_, server) =>
          Effect.sync(() => server.answer("/readyz", answerWith(200, { ready: true, uptimeMs: 330_000 })))
        )
        assert.strictEqual(tag, "GatewayRestarted")
      })
    )

    it.effect("is not a restart's if it was sent long before a lost probe", () =>
      Effect.gen(function* () {
        const tag = yield* waited((gateway, server) => {
          server.answer("/readyz", reset)
          return Effect.tap(gateway.ready, () =>
            Effect.sync(() => server.answer("/readyz", answerWith(200, { ready: true, uptimeMs: 3_600_000 })))
          )
        })
        assert.strictEqual(tag, "TurnAmbiguous")
      })
    )
  })

  it.effect("keeps Retry-After in seconds, an hour at most, and no date", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      for (const [header, millis] of [
        ["1", 1_000],
        ["140", 140_000],
        ["999999", 3_600_000],
        ["-5", undefined],
        ["Wed, 21 Oct 2026 07:28:00 GMT", undefined]
      ] as const) {
        server.answer(
          "/v1/responses",
          answerWith(503, bare("draining", "service_unavailable"), { "retry-after": header })
        )
        const failure = yield* Effect.flip(gateway.sendToOpenClaw(round))
        assert.strictEqual(failure._tag, "GatewayUnreachable")
        assert.strictEqual("retryAfterMillis" in failure ? failure.retryAfterMillis : undefined, millis, header)
      }
    })
  )

  it.effect("is unreadable when its answer has no end, and the rest of it is not read", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      const chunk = "x".repeat(1024 * 1024)
      server.answer("/v1/responses", (_, answer) => {
        answer.writeHead(200, { "content-type": "application/json" })
        const more = () => {
          while (!answer.destroyed && answer.write(chunk)) continue
          if (!answer.destroyed) answer.once("drain", more)
        }
        more()
      })
      const failure = yield* Effect.flip(gateway.sendToOpenClaw(round))
      assert.strictEqual(failure._tag, "TurnUnreadable")
      const { closedEarly } = yield* Queue.take(server.received)
      yield* Effect.promise(() => closedEarly)
    })
  )

  it.effect("is aborted at OPENCLAW_REQUEST_TIMEOUT_MS, and the gateway sees it", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp({ gatewayRequestTimeout: Duration.seconds(5) })
      server.answer("/v1/responses", hang)
      const fiber = yield* Effect.forkChild(Effect.flip(gateway.sendToOpenClaw(round)))
      const { closedEarly } = yield* Queue.take(server.received)
      yield* TestClock.adjust("4999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "TurnTimeout")
      yield* Effect.promise(() => closedEarly)
    })
  )

  // Measured: how long 2026.9.6 keeps a request open while its provider answers 429 with this Retry-After.
  for (const [retryAfter, held] of [
    [30, "295 seconds"],
    [60, "571 seconds"]
  ] as const) {
    it.effect(`outlives a provider's Retry-After of ${retryAfter} s, and says that the provider failed`, () =>
      Effect.gen(function* () {
        const { gateway, server } = yield* setUp()
        const waiting = yield* Deferred.make<ServerResponse>()
        server.answer("/v1/responses", (_, answer) => Deferred.doneUnsafe(waiting, Effect.succeed(answer)))
        const fiber = yield* Effect.forkChild(Effect.flip(gateway.sendToOpenClaw(round)))
        const answer = yield* Deferred.await(waiting)
        yield* TestClock.adjust(held)
        assert.isUndefined(fiber.pollUnsafe())
        const error = { code: "rate_limit_error", message: "429 Rate limit reached" }
        answer.writeHead(429, { "content-type": "application/json" })
        answer.end(JSON.stringify({ ...response([]), status: "failed", error }))
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "ProviderFailed")
      })
    )
  }

  it.effect("is aborted when the gateway has answered no probe for two minutes, and no sooner", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      server.answer("/readyz", answerWith(200, { ready: true }))
      server.answer("/v1/responses", hang)
      const fiber = yield* Effect.forkChild(Effect.flip(gateway.sendToOpenClaw(round)))
      const { closedEarly } = yield* Queue.take(server.received)
      yield* gateway.ready
      const missed = Effect.gen(function* () {
        yield* Queue.clear(server.received)
        server.answer("/readyz", hang)
        const probe = yield* Effect.forkChild(gateway.ready)
        yield* Queue.take(server.received)
        yield* TestClock.adjust("5 seconds")
        assert.isFalse(yield* Fiber.join(probe))
      })
      yield* missed
      yield* TestClock.adjust("115 seconds")
      // A gateway that is not ready answers all the same: it drains, or one of its channels is down.
      server.answer("/readyz", answerWith(503, { ready: false, failing: ["slack"] }))
      assert.isFalse(yield* gateway.ready)
      yield* TestClock.adjust("10 minutes")
      assert.isUndefined(fiber.pollUnsafe())
      yield* missed
      yield* TestClock.adjust("119 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 second")
      const failure = yield* Fiber.join(fiber)
      assert.strictEqual(failure._tag, "ConnectionLost")
      assert.match(failure.detail, /readiness probe/)
      yield* Effect.promise(() => closedEarly)
    })
  )

  it.effect("is not aborted if no probe was ever answered, because a proxy may forward none", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      server.answer("/v1/responses", hang)
      const fiber = yield* Effect.forkChild(Effect.flip(gateway.sendToOpenClaw(round)))
      yield* Queue.take(server.received)
      server.answer("/readyz", reset)
      assert.isFalse(yield* gateway.ready)
      yield* TestClock.adjust("10 minutes")
      assert.isUndefined(fiber.pollUnsafe())
    })
  )

  it.effect.skipIf(process.platform !== "linux")(
    "has the kernel look after 30 s whether its connection still exists",
    () =>
      Effect.gen(function* () {
        const { gateway, server } = yield* setUp()
        server.answer("/v1/responses", hang)
        yield* Effect.forkChild(gateway.sendToOpenClaw(round))
        const { connection } = yield* Queue.take(server.received)
        const port = `:${connection.toString(16).toUpperCase().padStart(4, "0")}`
        // Columns: number, local address, remote address, state, queues, timer and hundredths of a second until it ends.
        const timers = readFileSync("/proc/net/tcp", "utf8")
          .split("\n")
          .map((line) => line.trim().split(/\s+/))
          .filter(([, local]) => local?.endsWith(port))
          .map(([, , , , , timer = ""]) => timer.split(":"))
        const [kind, left = ""] = timers[0] ?? []
        assert.strictEqual(kind, "02")
        assert.isAtMost(Number.parseInt(left, 16), 3_000)
      })
  )

  it.effect("has its deadline over headers and body together", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp({ gatewayRequestTimeout: Duration.seconds(5) })
      server.answer("/v1/responses", (_, answer) => {
        answer.writeHead(200, { "content-type": "application/json" })
        answer.write('{"object":')
      })
      const fiber = yield* Effect.forkChild(Effect.flip(gateway.sendToOpenClaw(round)))
      const { closedEarly } = yield* Queue.take(server.received)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "TurnTimeout")
      yield* Effect.promise(() => closedEarly)
    })
  )

  it.effect("is aborted by interruption, and the gateway sees it", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      server.answer("/v1/responses", hang)
      const fiber = yield* Effect.forkChild(gateway.sendToOpenClaw(round))
      const { closedEarly } = yield* Queue.take(server.received)
      yield* Fiber.interrupt(fiber)
      yield* Effect.promise(() => closedEarly)
    })
  )
})

describe("readiness", () => {
  it.effect("follows the JSON field, not the status", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      for (const [status, body, isReady, state] of [
        [200, { ready: true, failing: [], uptimeMs: 3747 }, true, "ready"],
        [200, { ready: false, failing: ["models"] }, false, "unreachable"],
        [503, { ready: false, failing: ["gateway-draining"] }, false, "draining"],
        [200, "<!doctype html>", false, "misconfigured"],
        [404, "Not Found", false, "misconfigured"],
        [200, { ready: "true" }, false, "misconfigured"]
      ] as const) {
        server.answer("/readyz", answerWith(status, body))
        assert.strictEqual(yield* gateway.ready, isReady, JSON.stringify(body))
        assert.strictEqual((yield* gateway.state).state, state)
      }
    })
  )

  it.effect("is false, and not a failure, if nothing listens or answers within 5 s", () =>
    Effect.gen(function* () {
      const away = yield* gatewayAt(`http://127.0.0.1:${yield* closedPort}`)
      assert.isFalse(yield* away.ready)
      assert.include((yield* away.state).lastSendError ?? "", "ECONNREFUSED")
      const { gateway, server } = yield* setUp()
      server.answer("/readyz", hang)
      const fiber = yield* Effect.forkChild(gateway.ready)
      yield* Queue.take(server.received)
      yield* TestClock.adjust("5 seconds")
      assert.isFalse(yield* Fiber.join(fiber))
    })
  )

  it.effect("includes the gateway's version, requested once", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      server.answer("/readyz", answerWith(200, { ready: true }))
      server.answer("/startupz", answerWith(200, { ok: true, status: "started", version: "2026.9.6" }))
      yield* gateway.ready
      yield* gateway.ready
      assert.strictEqual((yield* gateway.state).version, "2026.9.6")
      const paths = (yield* Queue.takeAll(server.received)).map(({ path }) => path)
      assert.deepStrictEqual(paths, ["/readyz", "/startupz", "/readyz"])
    })
  )
})

describe("the agents of the gateway", () => {
  it.effect("are those that GET /v1/models lists, without the aliases", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      const data = ["openclaw", "openclaw/default", "openclaw/squad-lead", "openclaw/engineer"].map((id) => ({ id }))
      server.answer("/v1/models", answerWith(200, { object: "list", data }))
      assert.deepStrictEqual(yield* gateway.agents, ["squad-lead", "engineer"])
      const { headers } = yield* Queue.take(server.received)
      assert.strictEqual(headers["authorization"], `Bearer ${token}`)
    })
  )

  it.effect(
    "fail as misconfigured if the gateway refuses or answers with a page, and as unreachable if it is down",
    () =>
      Effect.gen(function* () {
        const { gateway, server } = yield* setUp()
        for (const [status, body, tag, fix] of [
          [401, bare("Unauthorized", "unauthorized"), "GatewayMisconfigured", "OPENCLAW_GATEWAY_TOKEN"],
          [404, "Not Found", "GatewayMisconfigured", "responses.enabled"],
          [200, "<!doctype html>", "GatewayMisconfigured", "2026.8.2"],
          [503, bare("draining", "service_unavailable"), "GatewayUnreachable", ""],
          [504, "<html>Gateway Time-out</html>", "GatewayUnreachable", ""]
        ] as const) {
          server.answer("/v1/models", answerWith(status, body))
          const failure = yield* Effect.flip(gateway.agents)
          assert.strictEqual(failure._tag, tag)
          assert.include("fix" in failure ? failure.fix : "", fix)
        }
        const away = yield* gatewayAt(`http://127.0.0.1:${yield* closedPort}`)
        assert.strictEqual((yield* Effect.flip(away.agents))._tag, "GatewayUnreachable")
      })
  )
})

describe("the length of a session's history", () => {
  const call = (input: number, cacheRead = 0) => ({
    role: "assistant",
    usage: { input, output: 30, cacheRead, cacheWrite: 0 }
  })
  const path = "/sessions/agent%3Aengineer%3Aacme%3Ag2/history?limit=10"

  it.effect("is what its last model call read, cached or not", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      const items = [call(1_000), { role: "user" }, call(2_000, 30_000), { role: "toolResult", content: [] }, call(0)]
      server.answer(path, answerWith(200, { sessionKey: "agent:engineer:acme:g2", items }))
      assert.strictEqual(yield* gateway.historyTokens("agent:engineer:acme:g2"), 32_000)
      const { headers } = yield* Queue.take(server.received)
      assert.strictEqual(headers["authorization"], `Bearer ${token}`)
    })
  )

  it.effect("is unknown if the gateway does not report it", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      for (const [status, body] of [
        [404, bare("Session not found", "not_found")],
        [401, bare("Unauthorized", "unauthorized")],
        [200, "<!doctype html>"],
        [200, { items: [] }],
        [200, { items: [{ role: "assistant", usage: { input: "many" } }] }]
      ] as const) {
        server.answer(path, answerWith(status, body))
        assert.isNull(yield* gateway.historyTokens("agent:engineer:acme:g2"))
      }
      const away = yield* gatewayAt(`http://127.0.0.1:${yield* closedPort}`)
      assert.isNull(yield* away.historyTokens("agent:engineer:acme:g2"))
    })
  )
})

describe("the gateway's state", () => {
  it.effect("is unknown at first, then that of the last round with its time, without secrets", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      assert.deepStrictEqual(yield* gateway.state, unseenGateway)
      yield* TestClock.setTime(5_000)
      server.answer("/v1/responses", answerWith(404, `no such thing for ${token}`))
      yield* Effect.flip(gateway.sendToOpenClaw(round))
      const failed = yield* gateway.state
      assert.strictEqual(failed.state, "misconfigured")
      assert.strictEqual(failed.lastSendAt, 5_000)
      assert.include(failed.lastSendError ?? "", "GatewayMisconfigured: HTTP 404")
      assert.notInclude(failed.lastSendError ?? "", token)
      server.answer("/v1/responses", answerWith(200, text))
      yield* gateway.sendToOpenClaw(round)
      const answered = yield* gateway.state
      assert.strictEqual(answered.state, "ready")
      assert.isNull(answered.lastSendError)
    })
  )

  it.effect("clears an outage when the gateway is ready again, and keeps a turn's error", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      server.answer("/readyz", hang)
      const probe = yield* Effect.forkChild(gateway.ready)
      yield* Queue.take(server.received)
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(probe)
      const outage = yield* gateway.state
      assert.strictEqual(outage.state, "unreachable")
      assert.include(outage.lastSendError ?? "", "does not answer within 5s")
      server.answer("/readyz", answerWith(200, { ready: true }))
      yield* gateway.ready
      assert.deepInclude(yield* gateway.state, { state: "ready", problem: null, lastSendError: null })

      server.answer("/v1/responses", answerWith(413, bare("too large", "invalid_request_error")))
      yield* Effect.flip(gateway.sendToOpenClaw(round))
      yield* gateway.ready
      const { lastSendError, state } = yield* gateway.state
      assert.strictEqual(state, "ready")
      assert.include(lastSendError ?? "", "TurnRefused")
    })
  )

  it.effect("is ready again when the gateway refuses a turn, without waiting for a probe", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* setUp()
      server.answer("/readyz", answerWith(404, "Not Found"))
      yield* gateway.ready
      assert.strictEqual((yield* gateway.state).state, "misconfigured")
      server.answer("/v1/responses", answerWith(413, bare("too large", "invalid_request_error")))
      yield* Effect.flip(gateway.sendToOpenClaw(round))
      assert.deepInclude(yield* gateway.state, { state: "ready", problem: null })
    })
  )
})
