import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Latch, Layer, Logger, Option, Queue, Redacted, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import type { Settings } from "../../../src/layers/Config.ts"
import { Gateway } from "../../../src/layers/Gateway.ts"
import { GatewayEvents } from "../../../src/layers/gateway/GatewayEvents.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"
import { answerWith, startServer } from "../scriptedServer.ts"
import { hello, openSocket } from "./scriptedSocket.ts"
import type { SocketScript } from "./scriptedSocket.ts"

const token = "gateway-token-0123456789"
const sessionKey = "agent:engineer:testaccount1"
const runId = "resp_1"

/** Waits until the effect's value is as expected. */
const until = <A>(effect: Effect.Effect<A>, isMet: (value: A) => boolean) =>
  Effect.filterOrFail(effect, isMet).pipe(
    Effect.retry({ schedule: Schedule.spaced("10 millis"), times: 1_000 }),
    Effect.orDie
  )

/** Gateway and GatewayEvents over a test's server, with the events' loop running. */
const house = Effect.fnUntraced(function* (script: SocketScript | null, settings: Partial<Settings> = {}) {
  const server = yield* startServer
  const socket = script === null ? null : yield* openSocket(server.server, script)
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel}: ${String(message)}`))
  const services = yield* Layer.build(
    Gateway.layer.pipe(
      Layer.provideMerge(GatewayEvents.layer),
      Layer.provide(Redactor.layer),
      Layer.provideMerge(Logger.layer([logger])),
      Layer.provide(
        RuntimeConfig.layerTest({
          gatewayUrl: Option.some(server.url),
          gatewayToken: Option.some(Redacted.make(token)),
          ...settings
        })
      )
    )
  )
  const { events, gateway } = yield* Effect.provideContext(
    Effect.all({ events: GatewayEvents, gateway: Gateway }),
    services
  )
  yield* Effect.forkScoped(Effect.provideContext(events.run, services))
  const isOn = Effect.asVoid(until(events.state, ({ _tag }) => _tag === "On"))
  return { events, gateway, isOn, lines, server, socket: socket as NonNullable<typeof socket> }
})

type House = Effect.Success<ReturnType<typeof house>>

const agentEvent = (stream: string, data: object, run = runId) => ({
  runId: run,
  seq: 1,
  stream,
  ts: 1,
  sessionKey,
  agentId: "engineer",
  data
})

const liveTurn = ({ events }: House) =>
  Effect.flatMap(events.current, (all) => {
    const turn = all.get(sessionKey)
    return turn === undefined ? Effect.die("no turn") : Effect.succeed(turn)
  })

const failed = {
  object: "response",
  id: runId,
  status: "failed",
  output: [],
  error: { code: "api_error", message: "internal error" }
}

/** The failure of a round whose answer is the gateway's "internal error". */
const internalError = ({ gateway, server }: House) => {
  server.answer("/v1/responses", answerWith(500, failed))
  const request = { agentSlug: "engineer", sessionKey, instructions: "", input: "hello", tools: [] }
  return Effect.flip(gateway.sendToOpenClaw(request))
}

describe("the events of a running turn", () => {
  it.live("are asked for with the token and the right to read, while the turn's scope is open", () =>
    Effect.gen(function* () {
      const { events, isOn, socket } = yield* house({})
      yield* isOn
      const connect = yield* Queue.take(socket.requests)
      assert.deepInclude(connect.params, { role: "operator", scopes: ["operator.read"], auth: { token } })
      yield* Effect.scoped(events.follow(sessionKey))
      const asked = [yield* Queue.take(socket.requests), yield* Queue.take(socket.requests)]
      assert.deepStrictEqual(
        asked.map(({ method, params }) => [method, params]),
        [
          ["sessions.messages.subscribe", { key: sessionKey }],
          ["sessions.messages.unsubscribe", { key: sessionKey }]
        ]
      )
      assert.strictEqual((yield* events.current).size, 0)
    })
  )
})

describe("a followed turn", () => {
  it.live("shows tool, text, tokens and model, without secrets, and nothing of other sessions", () =>
    Effect.gen(function* () {
      const it = yield* house({})
      const { events, isOn, socket } = it
      yield* isOn
      yield* Effect.scoped(
        Effect.gen(function* () {
          const tools: Array<string | null> = []
          const calls: Array<string> = []
          yield* events.follow(sessionKey, {
            onTool: (tool) => Effect.sync(() => void tools.push(tool)),
            onModelCall: (id, { usage }) => Effect.sync(() => void calls.push(`${id}: ${usage.inputTokens}`))
          })
          const item = { kind: "tool", phase: "start", toolCallId: "c1", name: "exec" }
          const message = {
            role: "assistant",
            provider: "fake",
            model: "fake-1",
            usage: { input: 10, output: 2 },
            __openclaw: { runId }
          }
          socket.event("session.message", { sessionKey, message: { ...message, __openclaw: { runId: "earlier" } } })
          socket.event("agent", agentEvent("lifecycle", { phase: "start" }))
          socket.event("session.message", { sessionKey, message })
          socket.event("agent", agentEvent("item", { ...item, toolCallId: "c0", name: "read" }))
          socket.event("agent", agentEvent("item", { ...item, toolCallId: "c0", name: "read", phase: "end" }))
          socket.event("agent", agentEvent("item", item))
          socket.event("agent", { ...agentEvent("item", { ...item, name: "other" }), sessionKey: "agent:qa:other" })
          socket.event(
            "agent",
            agentEvent("assistant", {
              text: `One.
The token is ${token} `
            })
          )
          const turn = yield* until(liveTurn(it), ({ textLength }) => textLength > 0)
          assert.deepInclude(turn, { sessionKey, modelCalls: 2, model: "fake/fake-1" })
          assert.deepInclude(turn.usage, { inputTokens: 20, outputTokens: 4 })
          // A late event of a run before the listener is no call of its turn.
          assert.deepStrictEqual(calls, [`${runId}: 10`])
          assert.strictEqual(turn.tools.at(-1)?.name, "exec")
          assert.deepStrictEqual(tools, ["read", null, "exec"])
          assert.strictEqual(yield* events.lastLine(sessionKey), "The token is <redacted>")
          assert.notInclude(JSON.stringify(turn), "The token")
          assert.strictEqual(yield* events.lastLine("agent:qa:other"), "")
          assert.strictEqual((yield* events.current).size, 1)
        })
      )
    })
  )

  it.live("is shown to each reader of its changes, also while another one reads nothing", () =>
    Effect.gen(function* () {
      const it = yield* house({})
      const { events, isOn, socket } = it
      yield* isOn
      yield* events.follow(sessionKey)
      const blocked = yield* Latch.make(false)
      yield* Effect.forkScoped(Stream.runForEach(events.changes, () => blocked.await))
      const lengths = yield* Queue.unbounded<number>()
      yield* Effect.forkScoped(
        Stream.runForEach(events.changes, () =>
          Effect.flatMap(liveTurn(it), ({ textLength }) => Queue.offer(lengths, textLength))
        )
      )
      const text = "hello"
      for (let length = 1; length <= text.length; length += 1) {
        socket.event("agent", agentEvent("assistant", { text: text.slice(0, length) }))
        yield* until(liveTurn(it), ({ textLength }) => textLength === length)
      }
      yield* until(Queue.take(lengths), (length) => length === text.length)
    })
  )

  it.live("ignores garbage, unknown events and unknown forms, and reads on", () =>
    Effect.gen(function* () {
      const it = yield* house({})
      const { events, isOn, socket } = it
      yield* isOn
      yield* events.follow(sessionKey)
      for (const frame of ["{ not json", "", "[]", { type: "event" }, { type: "made.up" }, { type: "res", id: 1 }]) {
        socket.send(frame)
      }
      socket.event("made.up", {})
      socket.event("agent", { runId, sessionKey, stream: "lifecycle", data: "x" })
      socket.event("agent", agentEvent("assistant", { text: "still here " }))
      yield* until(events.lastLine(sessionKey), (line) => line === "still here")
    })
  )

  it.live("is followed again after the connection was lost", () =>
    Effect.gen(function* () {
      const it = yield* house({})
      const { events, isOn, lines, socket } = it
      yield* isOn
      yield* events.follow(sessionKey)
      socket.cut()
      yield* until(events.state, ({ _tag }) => _tag === "Off")
      yield* isOn
      const subscribes = yield* until(
        Effect.map(Queue.clear(socket.requests), (all) => all.filter(({ method }) => method.endsWith("subscribe"))),
        (found) => found.length > 0
      )
      assert.deepInclude(subscribes.at(-1)?.params, { key: sessionKey })
      socket.event("agent", agentEvent("assistant", { text: "after it " }))
      yield* until(events.lastLine(sessionKey), (line) => line === "after it")
      assert.isTrue(lines.some((line) => line.includes("turns continue without them")))
    })
  )
})

describe("the question whether a session is idle", () => {
  /** Asks it, and answers as the gateway. */
  const asked = Effect.fnUntraced(function* ({ events, isOn, socket }: House, answer: object) {
    yield* isOn
    yield* Queue.take(socket.requests)
    const fiber = yield* Effect.forkChild(events.isIdle(sessionKey))
    const { id, method, params } = yield* Queue.take(socket.requests)
    assert.deepStrictEqual([method, params], ["sessions.list", { activeOnly: true, agentId: "engineer", limit: 500 }])
    // The answer to another request.
    socket.send({ type: "res", id: "99", ok: true, payload: { sessions: [{ key: "agent:engineer:x" }] } })
    socket.send({ type: "res", id, ...answer })
    return yield* Fiber.join(fiber)
  })

  const answers: ReadonlyArray<readonly [string, object, boolean | null]> = [
    [
      "no, if the session is listed",
      { ok: true, payload: { sessions: [{ key: sessionKey, status: "running" }] } },
      false
    ],
    ["yes, if only others are listed", { ok: true, payload: { sessions: [{ key: `${sessionKey}:g2` }] } }, true],
    ["unknown, if the release refuses it", { ok: false, error: { message: "unexpected property 'activeOnly'" } }, null],
    ["unknown, if the answer has another form", { ok: true, payload: { sessions: "none" } }, null]
  ]
  it.live.each(answers)("is answered: %s", ([, answer, expected]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* asked(yield* house({}), answer), expected)
    })
  )

  it.effect("is unknown without an answer within ten seconds, after a loss of the connection, and without it", () =>
    Effect.gen(function* () {
      const { events, isOn, socket } = yield* house({})
      yield* TestClock.withLive(isOn)
      const silent = yield* Effect.forkChild(events.isIdle(sessionKey))
      yield* TestClock.withLive(until(Queue.size(socket.requests), (size) => size === 2))
      yield* TestClock.adjust("10 seconds")
      assert.isNull(yield* Fiber.join(silent))
      const lost = yield* Effect.forkChild(events.isIdle(sessionKey))
      yield* TestClock.withLive(until(Queue.size(socket.requests), (size) => size === 3))
      socket.cut()
      yield* TestClock.withLive(until(events.state, ({ _tag }) => _tag === "Off"))
      yield* TestClock.adjust("10 seconds")
      assert.isNull(yield* Fiber.join(lost))
      const off = yield* house(null, { gatewayEvents: false })
      assert.isNull(yield* off.events.isIdle(sessionKey))
    })
  )
})

describe("a connection", () => {
  it.effect("is opened again if the gateway sends nothing for three of its ticks", () =>
    Effect.gen(function* () {
      const { events, isOn, lines } = yield* house({})
      yield* TestClock.withLive(isOn)
      yield* TestClock.adjust("89 seconds")
      assert.strictEqual((yield* events.state)._tag, "On")
      yield* TestClock.adjust("2 seconds")
      yield* TestClock.withLive(until(events.state, ({ _tag }) => _tag === "Off"))
      yield* TestClock.adjust("1 second")
      yield* TestClock.withLive(isOn)
      assert.isTrue(lines.some((line) => line.includes("sent nothing within 1m 30s")))
    })
  )
})

describe("an internal error of the gateway", () => {
  const ended = (data: object) => agentEvent("lifecycle", { phase: "error", ...data })

  it.live("becomes the failure that the event of its run reports, even if the event arrives later", () =>
    Effect.gen(function* () {
      const it = yield* house({})
      yield* it.isOn
      yield* it.events.follow(sessionKey)
      it.socket.event("agent", ended({ error: "too long", errorObservation: { failoverReason: "context_overflow" } }))
      assert.strictEqual((yield* internalError(it))._tag, "ContextOverflow")
      const later = { ...failed, id: "resp_2" }
      it.server.answer("/v1/responses", answerWith(500, later))
      const request = { agentSlug: "engineer", sessionKey, instructions: "", input: "hello", tools: [] }
      const fiber = yield* Effect.forkChild(Effect.flip(it.gateway.sendToOpenClaw(request)))
      yield* Queue.take(it.server.received)
      yield* Queue.take(it.server.received)
      it.socket.event("agent", {
        ...ended({ error: "agent run aborted", aborted: true, stopReason: "aborted" }),
        runId: "resp_2"
      })
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "TurnStopped")
    })
  )

  it.live("stays ambiguous if the runtime itself closed the request, or the event explains nothing", () =>
    Effect.gen(function* () {
      const it = yield* house({})
      yield* it.isOn
      yield* it.events.follow(sessionKey)
      it.socket.event("agent", ended({ error: "HTTP client disconnected", aborted: true, stopReason: "aborted" }))
      yield* until(liveTurn(it), ({ lastEventAt }) => lastEventAt !== null)
      assert.strictEqual((yield* internalError(it))._tag, "TurnAmbiguous")
      it.socket.event("agent", ended({ error: "fetch failed" }))
      assert.strictEqual((yield* internalError(it))._tag, "TurnAmbiguous")
    })
  )

  it.effect("is ambiguous at once after the connection was lost in mid-turn", () =>
    Effect.gen(function* () {
      const it = yield* house({})
      yield* TestClock.withLive(it.isOn)
      yield* it.events.follow(sessionKey)
      it.socket.cut()
      yield* TestClock.withLive(until(it.events.state, ({ _tag }) => _tag === "Off"))
      assert.strictEqual((yield* internalError(it))._tag, "TurnAmbiguous")
    })
  )

  const without: ReadonlyArray<readonly [string, SocketScript | null, Partial<Settings>]> = [
    ["absent", null, {}],
    ["refused", { answer: { ok: false, error: { code: "INVALID_REQUEST", message: "unauthorized" } } }, {}],
    [
      "closed to this machine",
      { answer: { ok: true, payload: { ...hello, auth: { role: "operator", scopes: [] } } } },
      {}
    ],
    [
      "of a version without it",
      { answer: { ok: true, payload: { ...hello, features: { methods: [], events: [] } } } },
      {}
    ],
    ["garbage", { answer: { ok: true, payload: "x" } }, {}],
    ["silent", { isSilent: true }, {}],
    ["switched off", {}, { gatewayEvents: false }]
  ]
  // The clock does not advance, so a turn that waits for an event would never end.
  it.effect.each(without)("is ambiguous at once if the channel is %s", ([, script, settings]) =>
    Effect.gen(function* () {
      const it = yield* house(script, settings)
      yield* it.events.follow(sessionKey)
      assert.strictEqual((yield* internalError(it))._tag, "TurnAmbiguous")
      assert.strictEqual((yield* it.events.state)._tag, "Off")
    })
  )

  it.effect("waits two seconds for an event that does not come", () =>
    Effect.gen(function* () {
      const it = yield* house({})
      yield* TestClock.withLive(it.isOn)
      yield* it.events.follow(sessionKey)
      const fiber = yield* Effect.forkChild(internalError(it))
      const from = yield* Clock.currentTimeMillis
      while (fiber.pollUnsafe() === undefined) {
        yield* TestClock.withLive(Effect.sleep("10 millis"))
        yield* TestClock.adjust("100 millis")
      }
      assert.isAtLeast((yield* Clock.currentTimeMillis) - from, 2_000)
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "TurnAmbiguous")
    })
  )
})

describe("a gateway that refuses its events", () => {
  it.live("is reported once, with the reason", () =>
    Effect.gen(function* () {
      const auth = { role: "operator", scopes: [] }
      const { events, lines } = yield* house({ answer: { ok: true, payload: { ...hello, auth } } })
      const state = yield* until(events.state, (now) => now._tag === "Off" && now.reason.includes("pairing"))
      assert.strictEqual(state._tag, "Off")
      assert.lengthOf(
        lines.filter((line) => line.startsWith("Warn") && line.includes("pairing")),
        1
      )
    })
  )
})
