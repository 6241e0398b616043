import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Layer, Logger, Option, Redacted, Schedule } from "effect"
import type { BudgetRefusal, Failure, Outcome } from "../../../src/domain/delivery/Run.ts"
import { leaseKey } from "../../../src/domain/delivery/Run.ts"
import { RuntimeConfig } from "../../../src/layers/Config.ts"
import { Gateway } from "../../../src/layers/Gateway.ts"
import { GatewayEvents, type offEvents } from "../../../src/layers/gateway/GatewayEvents.ts"
import { GatewayProcess } from "../../../src/layers/gateway/GatewayProcess.ts"
import { ModelPrices } from "../../../src/layers/gateway/ModelPrices.ts"
import { Metrics } from "../../../src/layers/Metrics.ts"
import { Redactor } from "../../../src/layers/secrets/Redactor.ts"
import { RunExecution } from "../../../src/programs/delivery/RunExecution.ts"
import { AgentTools } from "../../../src/services/AgentTools.ts"
import { ControlPlane } from "../../../src/services/ControlPlane.ts"
import { GatewayGuard } from "../../../src/services/GatewayGuard.ts"
import { Leases } from "../../../src/services/Leases.ts"
import { Lifecycle } from "../../../src/services/Lifecycle.ts"
import { LiveRuns } from "../../../src/services/LiveRuns.ts"
import { Roster } from "../../../src/services/Roster.ts"
import { Supervisor } from "../../../src/services/Supervisor.ts"
import { Turns } from "../../../src/services/Turns.ts"
import { sampleRun } from "../../domain/delivery/sampleContext.ts"
import { openSocket } from "../../layers/gateway/scriptedSocket.ts"
import type { ScriptedSocket, SocketScript } from "../../layers/gateway/scriptedSocket.ts"
import { startServer } from "../../layers/scriptedServer.ts"

const base = "agent:engineer:testaccount1"
const refusal: BudgetRefusal = { reason: "100 % of the budget is used", until: null }

type Event = readonly [event: string, payload: object]

/** What the gateway does with one request of a turn: its events, and the HTTP answer that follows them. */
interface Round {
  readonly events: ReadonlyArray<Event>
  readonly status: number
  readonly body: object
  /** The request lasts until the runtime closes it, if the events arrive in time. */
  readonly isClosed?: boolean
}

/** The state of the channel: how the gateway answers the connection, and what it sends of a round. */
interface ChannelState {
  /** Null without a WebSocket. */
  readonly script: SocketScript | null
  /** Sends the events before the answer. */
  readonly before?: (socket: ScriptedSocket, events: ReadonlyArray<Event>) => void
  /** Sends them after it. */
  readonly after?: (socket: ScriptedSocket, events: ReadonlyArray<Event>) => void
  /** Whether the runtime learns the causes of ends. */
  readonly isExact: boolean
}

const sendAll = (socket: ScriptedSocket, events: ReadonlyArray<Event>) =>
  events.forEach(([event, payload]) => socket.event(event, payload))

const states: Readonly<Record<string, ChannelState>> = {
  connected: { script: {}, before: sendAll, isExact: true },
  absent: { script: null, isExact: false },
  refused: {
    script: { answer: { ok: false, error: { code: "INVALID_REQUEST", message: "unauthorized" } } },
    isExact: false
  },
  silent: { script: {}, isExact: false },
  slow: { script: {}, after: sendAll, isExact: true },
  "sending garbage": {
    script: {},
    before: (socket, events) => {
      for (const [event, payload] of events) {
        for (const frame of ["{ not json", "", [], { type: "event" }, { type: "made.up" }]) socket.send(frame)
        socket.event(event, { ...payload, sessionKey: 1 })
        socket.event(event, { ...payload, runId: null, message: "x", data: null })
        socket.event(`${event}.unknown`, payload)
      }
    },
    isExact: false
  },
  "lost in mid-turn": { script: {}, before: (socket) => socket.cut(), isExact: false }
}

/** Waits until the runtime has the channel in this state. */
const isSettled = ({ script }: ChannelState, events: typeof offEvents) =>
  events.state.pipe(
    Effect.filterOrFail((now) =>
      script === null || script.answer !== undefined
        ? now._tag === "Off" && now.reason !== "it has not connected yet"
        : now._tag === "On"
    ),
    Effect.retry({ schedule: Schedule.spaced("10 millis"), times: 1_000 }),
    Effect.orDie
  )

interface Scenario {
  readonly name: string
  /** The gateway's part of a round: the number of the request in its session, and the session's generation. */
  readonly round: (request: number, generation: number, runId: string) => Round
  readonly allowance?: number
  /** A person stops the run while the gateway works on its first request. */
  readonly isStopped?: boolean
  /** The visible effect: the outcome, and the text in the thread. */
  readonly expected: { readonly outcome: string; readonly text: RegExp | null }
  /** The failure of the first attempt with the cause, and without it. */
  readonly failure?: readonly [exact: string, otherwise: string]
}

const usage = { input_tokens: 100, output_tokens: 0 }
const lifecycle = (sessionKey: string, runId: string, data: object): Event => [
  "agent",
  { runId, sessionKey, seq: 1, ts: 1, stream: "lifecycle", data: { phase: "error", ...data } }
]
const keyOf = (generation: number) => (generation === 1 ? base : `${base}:g${generation}`)
const answered = (runId: string, output: object): Omit<Round, "events"> => ({
  status: 200,
  body: { object: "response", id: runId, status: "completed", output: [output], usage }
})
const says = (runId: string, text: string) =>
  answered(runId, { type: "message", content: [{ type: "output_text", text }] })
const calls = (runId: string) =>
  answered(runId, { type: "function_call", call_id: "c1", name: "look", arguments: "{}" })
const internalError = (runId: string): Omit<Round, "events"> => ({
  status: 500,
  body: {
    object: "response",
    id: runId,
    status: "failed",
    output: [],
    error: { code: "api_error", message: "internal error" }
  }
})
const completed = (generation: number, runId: string) =>
  lifecycle(keyOf(generation), runId, { phase: "end", aborted: false })

const scenarios: ReadonlyArray<Scenario> = [
  {
    name: "a reply",
    round: (_, generation, runId) => ({ events: [completed(generation, runId)], ...says(runId, "Done.") }),
    expected: { outcome: "replied", text: /^Done\.$/ }
  },
  {
    name: "a reply after a tool call",
    round: (request, generation, runId) => ({
      events: [completed(generation, runId)],
      ...(request === 1 ? calls(runId) : says(runId, "Looked."))
    }),
    expected: { outcome: "replied", text: /^Looked\.$/ }
  },
  {
    name: "a silence",
    round: (_, generation, runId) => ({
      events: [lifecycle(keyOf(generation), runId, { error: "no answer", livenessState: "abandoned" })],
      ...internalError(runId)
    }),
    expected: { outcome: "fallback", text: null },
    failure: ["TurnSilent", "TurnAmbiguous"]
  },
  {
    name: "an overflow",
    round: (_, generation, runId) =>
      generation > 1
        ? { events: [completed(generation, runId)], ...says(runId, "Fits again.") }
        : {
            events: [
              lifecycle(base, runId, { error: "too long", errorObservation: { failoverReason: "context_overflow" } })
            ],
            ...internalError(runId)
          },
    expected: { outcome: "replied", text: /^Fits again\.$/ },
    failure: ["ContextOverflow", "TurnAmbiguous"]
  },
  {
    name: "the end of a budget",
    allowance: 50,
    round: (_, generation, runId) => ({
      events: [
        lifecycle(keyOf(generation), runId, { phase: "start" }),
        [
          "session.message",
          {
            sessionKey: keyOf(generation),
            message: {
              role: "assistant",
              usage: { input: 100, output: 0 },
              stopReason: "toolUse",
              __openclaw: { runId }
            }
          }
        ]
      ],
      ...calls(runId),
      isClosed: true
    }),
    expected: { outcome: "stopped", text: /^Engineer was stopped: 100 % of the budget is used.* Done: nothing\.$/ }
  },
  {
    name: "a stop by a person",
    isStopped: true,
    round: (_, generation, runId) => ({ events: [completed(generation, runId)], ...says(runId, "Too late.") }),
    expected: { outcome: "stopped", text: null }
  }
]

/** Delivers the sample's notification, with retries at once, to a gateway with the channel in this state. */
const deliver = Effect.fnUntraced(function* (state: ChannelState, scenario: Scenario) {
  const server = yield* startServer
  const socket = state.script === null ? null : yield* openSocket(server.server, state.script)
  const failures: Array<Failure> = []
  const outcomes: Array<Outcome> = []
  const silenceLimit = 2
  const services = yield* Layer.build(
    RunExecution.layer.pipe(
      Layer.provide(Turns.layer),
      Layer.provideMerge(Layer.mergeAll(GatewayGuard.layer, Leases.layer, LiveRuns.layer, Metrics.layer)),
      Layer.provideMerge(Layer.mergeAll(Roster.layer, Supervisor.layer)),
      Layer.provideMerge(Lifecycle.layer),
      Layer.provideMerge(Gateway.layer),
      Layer.provideMerge(GatewayEvents.layer),
      Layer.provide([
        Layer.mock(ControlPlane, {
          bootId: "boot",
          now: Clock.currentTimeMillis,
          complete: (_, outcome) => Effect.sync(() => void outcomes.push(outcome)),
          fail: (_, failure) =>
            Effect.sync(() => {
              failures.push(failure)
              const silences = failures.filter(({ silence }) => silence).length
              return silences >= silenceLimit ? "delivered" : failure.retryInMillis === undefined ? "dead" : "ready"
            }),
          allow: () => Effect.succeed(refusal),
          recordUsage: () => Effect.void,
          renew: () => Effect.succeed({ lost: [], news: [], hasUnnamed: false, now: 0 })
        }),
        Layer.mock(AgentTools, {
          offered: () => [],
          executeAgentTool: (_, { name }) =>
            Effect.succeed({ tool: name, success: true, isEffect: false, json: `{"tool":"${name}"}` })
        }),
        GatewayProcess.layerTest,
        ModelPrices.layerTest(),
        NodeCrypto.layerMac,
        NodeCrypto.layerSecureRandom
      ]),
      Layer.provideMerge(Redactor.layer),
      Layer.provideMerge(Logger.layer([])),
      Layer.provide(
        RuntimeConfig.layerTest({
          gatewayUrl: Option.some(server.url),
          gatewayToken: Option.some(Redacted.make("gateway-token-0123456789")),
          noResponseLimit: silenceLimit
        })
      )
    )
  )
  const { events, execution, leases } = yield* Effect.all({
    events: GatewayEvents,
    execution: RunExecution,
    leases: Leases
  }).pipe(Effect.provideContext(services))
  yield* Effect.forkScoped(Effect.provideContext(events.run, services))
  const lease = { session: "session_1", epoch: 7 }
  const stop = leases.pushed({ recalled: [{ ...lease, recalled: "stopped" }], news: [] })

  let requests = 0
  let runs = 0
  const closed = yield* Deferred.make<void>()
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  server.answer("/v1/responses", ({ body, closedEarly }, response) => {
    void closedEarly.then(() => Deferred.doneUnsafe(closed, Effect.void))
    const { user } = JSON.parse(body) as { readonly user: string }
    const generation = Number(/:g(\d+)$/.exec(user)?.[1] ?? 1)
    const round = scenario.round((requests += 1), generation, `resp_${(runs += 1)}`)
    if (socket !== null) state.before?.(socket, round.events)
    if (scenario.isStopped === true) return void fork(stop)
    if (round.isClosed === true && state.isExact && state.before !== undefined) return
    response.writeHead(round.status, { "content-type": "application/json" })
    response.end(JSON.stringify(round.body))
    if (socket !== null) response.once("finish", () => state.after?.(socket, round.events))
  })

  const attempt = Effect.fnUntraced(function* (number: number) {
    const last = failures.at(-1)
    const run = sampleRun(
      { sessionKey: keyOf(last?.rotate === true ? 2 : 1), generation: last?.rotate === true ? 2 : 1 },
      {
        attempt: number,
        failures: failures.length,
        silences: failures.filter(({ silence }) => silence).length,
        allowance: scenario.allowance ?? null
      }
    )
    assert.strictEqual(leaseKey(run), leaseKey(lease))
    requests = 0
    yield* isSettled(state, events)
    return yield* Effect.acquireUseRelease(
      leases.hold(run),
      () => execution.execute(run),
      () => leases.drop(run)
    )
  })
  let end = yield* attempt(1)
  for (let number = 2; end.outcome === "retrying"; number += 1) end = yield* attempt(number)
  const [outcome] = outcomes
  return {
    outcome: end.outcome,
    text: outcome?.reply ?? outcome?.note ?? null,
    failure: failures[0]?.class,
    closed
  }
})

describe.concurrent("a delivery", () => {
  for (const [name, state] of Object.entries(states)) {
    it.live(`has the same visible effects while the gateway's events are ${name}`, () =>
      Effect.forEach(
        scenarios,
        (scenario) =>
          Effect.gen(function* () {
            const { closed, failure, outcome, text } = yield* deliver(state, scenario)
            const { expected, failure: [exact, otherwise] = [], name } = scenario
            assert.strictEqual(outcome, expected.outcome, name)
            if (expected.text === null) assert.isNull(text, name)
            else assert.match(text ?? "", expected.text, name)
            assert.strictEqual(failure, state.isExact ? exact : otherwise, name)
            const isBudget = scenario.allowance !== undefined
            const closes = isBudget && state.isExact && state.before !== undefined
            if (closes || scenario.isStopped === true) yield* Deferred.await(closed)
            else assert.isFalse(yield* Deferred.isDone(closed), name)
          }).pipe(Effect.scoped),
        { concurrency: "unbounded", discard: true }
      )
    )
  }
})
