import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Ref } from "effect"
import { TestClock } from "effect/testing"
import { ControlPlaneUnavailable, LeaseLost } from "../../src/domain/controlPlane/ControlPlaneFailure.ts"
import { noUsage } from "../../src/domain/delivery/Run.ts"
import type { Allowed } from "../../src/domain/delivery/Run.ts"
import { noSpending, spentUsage } from "../../src/domain/usage/Spending.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import { Gateway } from "../../src/layers/Gateway.ts"
import type { RoundAnswer } from "../../src/layers/Gateway.ts"
import { GatewayEvents, offEvents } from "../../src/layers/gateway/GatewayEvents.ts"
import type { Listener } from "../../src/layers/gateway/GatewayEvents.ts"
import { Metrics } from "../../src/layers/Metrics.ts"
import { AgentTools } from "../../src/services/AgentTools.ts"
import type { ToolInterruption } from "../../src/services/AgentTools.ts"
import { ControlPlane } from "../../src/services/ControlPlane.ts"
import { GatewayGuard } from "../../src/services/GatewayGuard.ts"
import { Turns } from "../../src/services/Turns.ts"
import { sampleContext } from "../domain/delivery/sampleContext.ts"

const tokens = (inputTokens: number) => ({ ...noUsage, inputTokens })
const refused: Allowed = { reason: "100 % of the budget is used", until: 5 }

interface Options {
  /** The input tokens of the request's model calls, one every minute. All but the last call tools. */
  readonly calls: ReadonlyArray<number>
  /** The answers to the turn's requests for more, in order. */
  readonly allowed?: ReadonlyArray<Allowed | ToolInterruption>
}

/** Runs a turn of one request with an allowance of 250 tokens. The gateway's events show each model call. */
const runTurn = Effect.fnUntraced(function* ({ allowed = [], calls }: Options) {
  let listener: Listener = {}
  let isAborted = false
  const asked: Array<number> = []
  const answer: RoundAnswer = {
    _tag: "Text",
    text: "Done.",
    isTruncated: false,
    usage: tokens(calls.reduce((sum, each) => sum + each)),
    responseId: "run_1"
  }
  const request = Effect.forEach(calls, (inputTokens, index) =>
    listener.onModelCall!("run_1", {
      _tag: "ModelCalled",
      usage: tokens(inputTokens),
      model: null,
      hasTools: index < calls.length - 1
    }).pipe(Effect.andThen(Effect.sleep("1 minute")))
  )
  const { run } = yield* Effect.provide(
    Turns,
    Turns.layer.pipe(
      Layer.provide([
        Layer.mock(Gateway, {
          sendToOpenClaw: () =>
            Effect.as(request, answer).pipe(Effect.onInterrupt(() => Effect.sync(() => void (isAborted = true))))
        }),
        Layer.succeed(GatewayEvents, {
          ...offEvents,
          follow: (_, given = {}) => Effect.sync(() => void (listener = given))
        }),
        Layer.mock(ControlPlane, {
          bootId: "boot",
          allow: (_, used) =>
            Effect.suspend(() => {
              const given = allowed[asked.push(used) - 1]
              if (given === undefined) return Effect.die(`asked ${asked.length} times`)
              return "_tag" in given ? Effect.fail(given) : Effect.succeed(given)
            })
        }),
        Layer.mock(GatewayGuard, { completed: () => Effect.void }),
        Layer.mock(AgentTools, { offered: () => [] }),
        Metrics.layer,
        RuntimeConfig.layerTest({})
      ])
    )
  )
  const spending = yield* Ref.make(noSpending)
  const fiber = yield* Effect.forkChild(
    run({
      spending,
      allowance: 250,
      context: sampleContext(),
      fence: { run: "notification_1", session: "session_1", epoch: 3 },
      prompt: { instructions: "the rules", input: "the request" }
    })
  )
  yield* TestClock.adjust("1 hour")
  const exit = yield* Fiber.await(fiber)
  const spent = spentUsage(yield* Ref.get(spending), { model: null, price: null }, false)
  return { asked, exit, isAborted, spent }
})

const endOf = <A, E>(exit: Exit.Exit<A, E>) => (Exit.isSuccess(exit) ? Effect.succeed(exit.value) : Effect.die(exit))

describe("a running request under a budget", () => {
  it.effect("is aborted after the model call that uses up the allowance, and its calls are recorded", () =>
    Effect.gen(function* () {
      const { asked, exit, isAborted, spent } = yield* runTurn({
        calls: [100, 100, 100, 100],
        allowed: [refused, refused]
      })
      const { effects, spoken, stoppedBy } = yield* endOf(exit)
      assert.deepStrictEqual(stoppedBy, refused)
      assert.strictEqual(spoken._tag, "Silent")
      assert.deepStrictEqual(effects, [])
      assert.isTrue(isAborted)
      // The second call leaves less than another one needs, the third uses it up.
      assert.deepStrictEqual(asked, [200, 300])
      assert.deepInclude(spent, { inputTokens: 300, rounds: 0, unanswered: 1, contextTokens: 100 })
    })
  )

  it.effect("continues if it gets more, and is recorded as the gateway counts it", () =>
    Effect.gen(function* () {
      const { asked, exit, isAborted, spent } = yield* runTurn({
        calls: [100, 100, 100, 100],
        allowed: [{ allowance: 500 }]
      })
      const { spoken, stoppedBy } = yield* endOf(exit)
      assert.isUndefined(stoppedBy)
      assert.strictEqual(spoken._tag, "Text")
      assert.isFalse(isAborted)
      assert.deepStrictEqual(asked, [200])
      assert.deepInclude(spent, { inputTokens: 400, rounds: 1, unanswered: 0 })
    })
  )

  it.effect("is not aborted after its last model call, whose answer is about to arrive", () =>
    Effect.gen(function* () {
      const { exit, isAborted } = yield* runTurn({ calls: [100, 100, 100], allowed: [refused] })
      const { spoken, stoppedBy } = yield* endOf(exit)
      assert.isUndefined(stoppedBy)
      assert.strictEqual(spoken._tag, "Text")
      assert.isFalse(isAborted)
    })
  )

  it.effect("continues while the control plane cannot be asked", () =>
    Effect.gen(function* () {
      const outage = new ControlPlaneUnavailable({ function: "allow", detail: "ECONNRESET" })
      const { asked, exit } = yield* runTurn({ calls: [100, 100, 100, 100], allowed: [outage, refused] })
      assert.deepStrictEqual(asked, [200, 300])
      assert.deepStrictEqual((yield* endOf(exit)).stoppedBy, refused)
    })
  )

  it.effect("is aborted if its lease was lost", () =>
    Effect.gen(function* () {
      const { exit, isAborted } = yield* runTurn({
        calls: [200, 100, 100],
        allowed: [new LeaseLost({ function: "allow" })]
      })
      assert.isTrue(Exit.isFailure(exit) && Exit.hasFails(exit))
      assert.isTrue(isAborted)
    })
  )
})
