import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Ref } from "effect"
import {
  ControlPlaneRefused,
  ControlPlaneUnavailable,
  LeaseLost
} from "../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../../src/domain/controlPlane/ControlPlaneFailure.ts"
import type { NotificationEvent } from "../../src/domain/delivery/DeliveryContext.ts"
import { noUsage } from "../../src/domain/delivery/Run.ts"
import type { Fence } from "../../src/domain/delivery/Run.ts"
import { noSpending } from "../../src/domain/usage/Spending.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import { Gateway } from "../../src/layers/Gateway.ts"
import type { GatewayRequest, RoundAnswer } from "../../src/layers/Gateway.ts"
import { Metrics } from "../../src/layers/Metrics.ts"
import { AgentTools } from "../../src/services/AgentTools.ts"
import { ControlPlane } from "../../src/services/ControlPlane.ts"
import { GatewayGuard } from "../../src/services/GatewayGuard.ts"
import { Turns } from "../../src/services/Turns.ts"
import { sampleContext, sampleEvent } from "../domain/delivery/sampleContext.ts"

const usage = { ...noUsage, inputTokens: 100, outputTokens: 10 }
const says: RoundAnswer = { _tag: "Text", text: "Done.", isTruncated: false, usage }
const calls: RoundAnswer = { _tag: "Calls", calls: [{ callId: "call_1", name: "look", arguments: "{}" }], usage }

const fence: Fence = { run: "notification_1", session: "session_1", epoch: 3 }
const unavailable = new ControlPlaneUnavailable({ function: "join", detail: "ECONNRESET" })
const event = (index: number): NotificationEvent => sampleEvent({ index })

interface Options {
  /** How many rounds with calls come before the text. */
  readonly rounds?: number
  /** The latest message that is known at each round's end; the last one stays. */
  readonly news: ReadonlyArray<string | null>
  /** The answers to the calls of join, in order. */
  readonly joins?: ReadonlyArray<ReadonlyArray<NotificationEvent> | ControlPlaneFailure>
  readonly maxToolRounds?: number
  /** A budget that refuses the request after the first round. */
  readonly isPoor?: boolean
}

const setUp = Effect.fnUntraced(function* ({ isPoor, joins = [], maxToolRounds = 10, news, rounds = 1 }: Options) {
  const sent: Array<GatewayRequest> = []
  const known: Array<number> = []
  let looks = 0
  const { run } = yield* Effect.provide(
    Turns,
    Turns.layer.pipe(
      Layer.provide([
        Layer.mock(Gateway, {
          sendToOpenClaw: (request) => Effect.sync(() => (sent.push(request) > rounds ? says : calls))
        }),
        Layer.mock(GatewayGuard, { completed: () => Effect.void }),
        Layer.mock(AgentTools, {
          offered: () => [],
          executeAgentTool: (_, { name }) =>
            Effect.succeed({ tool: name, success: true, isEffect: false, json: `{"tool":"${name}"}` })
        }),
        Layer.mock(ControlPlane, {
          bootId: "boot",
          allow: () => Effect.succeed({ reason: "the budget is used", until: null }),
          join: (given, count) =>
            Effect.suspend(() => {
              assert.strictEqual(given, fence)
              const answer = joins[known.push(count) - 1] ?? []
              return "_tag" in answer ? Effect.fail(answer) : Effect.succeed(answer)
            })
        }),
        Metrics.layer,
        RuntimeConfig.layerTest({ maxToolRounds })
      ])
    )
  )
  const joined = yield* Ref.make<ReadonlyArray<NotificationEvent>>([])
  return {
    /** The number of known messages in each call of join. */
    known,
    joined: Ref.get(joined),
    run: run({
      spending: yield* Ref.make(noSpending),
      allowance: isPoor === true ? 160 : null,
      context: sampleContext(),
      fence,
      prompt: { instructions: "the rules", input: "the request" },
      joining: {
        news: Effect.sync(() => news[Math.min((looks += 1), news.length) - 1] ?? null),
        text: (events) => `new: ${events.map(({ index }) => index).join(", ")}`,
        joined
      }
    }).pipe(Effect.provide(Logger.layer([]))),
    /** The texts behind the results of calls, by request. */
    texts: () =>
      sent.map(({ input }) =>
        typeof input === "string" ? null : input.flatMap((item) => (item.type === "message" ? [item.content] : []))
      ),
    sent
  }
})

describe("a message for a running turn", () => {
  it.effect("joins at the next tool round, behind the results, as one message with the others", () =>
    Effect.gen(function* () {
      const { joined, known, run, sent } = yield* setUp({ news: ["message_2"], joins: [[event(1), event(2)]] })
      yield* run
      assert.deepStrictEqual(known, [0])
      assert.deepStrictEqual(sent[1]?.input, [
        { type: "function_call_output", call_id: "call_1", output: '{"tool":"look"}' },
        { type: "message", role: "user", content: "new: 1, 2" }
      ])
      assert.lengthOf(yield* joined, 2)
    })
  )

  it.effect("costs no call in a turn without one, and one call however long the push still lists it", () =>
    Effect.gen(function* () {
      const without = yield* setUp({ rounds: 3, news: [null] })
      yield* without.run
      assert.deepStrictEqual(without.known, [])
      const withOne = yield* setUp({ rounds: 3, news: [null, "message_1"], joins: [[event(1)]] })
      yield* withOne.run
      assert.deepStrictEqual(withOne.known, [0])
      assert.deepStrictEqual(withOne.texts(), [null, [], ["new: 1"], []])
    })
  )

  it.effect("joins once, and a later one in a later round", () =>
    Effect.gen(function* () {
      const news = ["message_1", "message_2"]
      const { known, run, texts } = yield* setUp({ rounds: 2, news, joins: [[event(1)], [event(2)]] })
      yield* run
      assert.deepStrictEqual(known, [0, 1])
      assert.deepStrictEqual(texts(), [null, ["new: 1"], ["new: 2"]])
    })
  )

  it.effect("joins in a later round if the answer was lost, although the push no longer lists it", () =>
    Effect.gen(function* () {
      const { known, run, texts } = yield* setUp({
        rounds: 3,
        news: ["message_1", null],
        joins: [unavailable, [event(1)]]
      })
      yield* run
      assert.deepStrictEqual(known, [0, 0])
      assert.deepStrictEqual(texts(), [null, [], ["new: 1"], []])
    })
  )

  it.effect.each([
    ["unavailable", unavailable],
    ["refused", new ControlPlaneRefused({ function: "join", code: "limit", detail: "too much" })]
  ] as const)("does not fail the turn if the call is %s", ([, failure]) =>
    Effect.gen(function* () {
      const { joined, run, texts } = yield* setUp({ news: ["message_1"], joins: [failure] })
      assert.deepInclude(yield* run, { spoken: { _tag: "Text", text: "Done." } })
      assert.deepStrictEqual(texts(), [null, []])
      assert.deepStrictEqual(yield* joined, [])
    })
  )

  it.effect("ends the turn if its lease was lost", () =>
    Effect.gen(function* () {
      const lost = new LeaseLost({ function: "join", recalled: "stopped" })
      const { run, sent } = yield* setUp({ news: ["message_1"], joins: [lost] })
      assert.strictEqual(yield* Effect.flip(run), lost)
      assert.lengthOf(sent, 1)
    })
  )

  it.effect("does not join the last round", () =>
    Effect.gen(function* () {
      const { known, run } = yield* setUp({
        rounds: 2,
        maxToolRounds: 2,
        news: [null, "message_1"],
        joins: [[event(1)]]
      })
      yield* run
      assert.deepStrictEqual(known, [])
    })
  )

  it.effect("does not join the last request that a budget allows", () =>
    Effect.gen(function* () {
      const { known, run } = yield* setUp({ isPoor: true, news: ["message_1"], joins: [[event(1)]] })
      assert.property(yield* run, "stoppedBy")
      assert.deepStrictEqual(known, [])
    })
  )
})
