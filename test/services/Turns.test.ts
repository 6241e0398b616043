import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Layer, Ref } from "effect"
import { TestClock } from "effect/testing"
import { LeaseLost } from "../../src/domain/controlPlane/ControlPlaneFailure.ts"
import { functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import type { DeliveryContext } from "../../src/domain/delivery/DeliveryContext.ts"
import type { Allowed, Fence } from "../../src/domain/delivery/Run.ts"
import { noUsage } from "../../src/domain/delivery/Run.ts"
import { ConnectionLost, GatewayUnreachable, ProviderFailed } from "../../src/domain/delivery/TurnFailure.ts"
import type { TurnFailure } from "../../src/domain/delivery/TurnFailure.ts"
import { noSpending } from "../../src/domain/usage/Spending.ts"
import { RuntimeConfig } from "../../src/layers/Config.ts"
import type { Settings } from "../../src/layers/Config.ts"
import { Gateway } from "../../src/layers/Gateway.ts"
import type { FunctionTool, GatewayRequest, RoundAnswer } from "../../src/layers/Gateway.ts"
import { GatewayEvents, offEvents } from "../../src/layers/gateway/GatewayEvents.ts"
import { Metrics } from "../../src/layers/Metrics.ts"
import { AgentTools } from "../../src/services/AgentTools.ts"
import type { ToolInterruption, ToolResult } from "../../src/services/AgentTools.ts"
import { ControlPlane } from "../../src/services/ControlPlane.ts"
import { GatewayGuard } from "../../src/services/GatewayGuard.ts"
import { Turns } from "../../src/services/Turns.ts"
import { sampleContext } from "../domain/delivery/sampleContext.ts"

const usage = { ...noUsage, inputTokens: 100, outputTokens: 10 }
const says = (text: string, isTruncated = false): RoundAnswer => ({ _tag: "Text", text, isTruncated, usage })
const calls = (...names: ReadonlyArray<string>): RoundAnswer => ({
  _tag: "Calls",
  calls: names.map((name, index) => ({ callId: `call_${index}`, name, arguments: "{}" })),
  usage
})

const tools: ReadonlyArray<FunctionTool> = ["look", "act"].map((name) => ({
  type: "function",
  name,
  description: name,
  parameters: { type: "object" }
}))

const resultOf = (tool: string, success = true): ToolResult => ({
  tool,
  success,
  isEffect: tool === "act",
  json: JSON.stringify({ tool, success })
})

interface Options {
  /** The rounds' answers in order; the last one is given again for ever. */
  readonly answers: ReadonlyArray<RoundAnswer | TurnFailure>
  readonly tool?: (name: string) => Effect.Effect<ToolResult, ToolInterruption>
  readonly settings?: Partial<Settings>
  readonly context?: Partial<DeliveryContext>
  readonly httpEffects?: ReadonlyArray<string>
  readonly allowance?: number
  /** How long the gateway takes for each round. */
  readonly roundMillis?: number
  /** The answers to the turn's requests for more, in order; the last one is given again. */
  readonly allowed?: ReadonlyArray<Allowed>
  /** The model that the gateway's events name. */
  readonly model?: string
}

const fence: Fence = { run: "notification_1", session: "session_1", epoch: 3 }

const setUp = (options: Options) =>
  Effect.gen(function* () {
    const sent = yield* Ref.make<ReadonlyArray<GatewayRequest>>([])
    const called = yield* Ref.make<ReadonlyArray<string>>([])
    const completed = yield* Ref.make(0)
    const gateway = Layer.mock(Gateway, {
      sendToOpenClaw: Effect.fnUntraced(function* (request: GatewayRequest) {
        const index = (yield* Ref.getAndUpdate(sent, (all) => [...all, request])).length
        const answer = options.answers[Math.min(index, options.answers.length - 1)]
        if (options.roundMillis !== undefined) yield* Effect.sleep(options.roundMillis)
        if (answer === undefined) return yield* Effect.never
        return answer._tag === "Text" || answer._tag === "Calls" ? answer : yield* answer
      })
    })
    const agentTools = Layer.mock(AgentTools, {
      offered: () => tools,
      executeAgentTool: (run, call) => {
        assert.strictEqual(run.fence, fence)
        return Effect.andThen(
          Ref.update(called, (all) => [...all, call.name]),
          options.tool?.(call.name) ?? Effect.succeed(resultOf(call.name))
        )
      }
    })
    const asked = yield* Ref.make<ReadonlyArray<number>>([])
    const controlPlane = Layer.mock(ControlPlane, {
      bootId: "boot",
      allow: Effect.fnUntraced(function* (_, usedTokens) {
        const index = (yield* Ref.getAndUpdate(asked, (all) => [...all, usedTokens])).length
        return options.allowed?.at(Math.min(index, options.allowed.length - 1)) ?? { allowance: null }
      })
    })
    const followed = new Set<string>()
    const events = Layer.succeed(GatewayEvents, {
      ...offEvents,
      follow: (sessionKey) =>
        Effect.asVoid(
          Effect.acquireRelease(
            Effect.sync(() => followed.add(sessionKey)),
            () => Effect.sync(() => followed.delete(sessionKey))
          )
        ),
      modelOf: (sessionKey) => Effect.sync(() => (followed.has(sessionKey) ? (options.model ?? null) : null))
    })
    const { run } = yield* Effect.provide(
      Turns,
      Turns.layer.pipe(
        Layer.provide([
          gateway,
          events,
          Layer.mock(GatewayGuard, { completed: () => Ref.update(completed, (count) => count + 1) }),
          agentTools,
          controlPlane,
          Metrics.layer,
          RuntimeConfig.layerTest(options.settings ?? {})
        ])
      )
    )
    const spending = yield* Ref.make(noSpending)
    return {
      spending: Ref.get(spending),
      followed,
      run: run({
        spending,
        allowance: options.allowance ?? null,
        context: sampleContext(options.context),
        fence,
        prompt: { instructions: "the rules", input: "the request" },
        ...(options.httpEffects === undefined ? {} : { httpEffects: options.httpEffects })
      }),
      asked: Ref.get(asked),
      sent: Ref.get(sent),
      called: Ref.get(called),
      completed: Ref.get(completed)
    }
  })

describe("a turn", () => {
  it.effect("ends with the first text, after one request with agent, session, rules and tools", () =>
    Effect.gen(function* () {
      const { run, sent } = yield* setUp({ answers: [says(" Done. ")] })
      assert.deepStrictEqual(yield* run, {
        spoken: { _tag: "Text", text: "Done." },
        isTruncated: false,
        requestTokens: { first: 100, least: 100 },
        effects: []
      })
      assert.deepStrictEqual(yield* sent, [
        {
          agentSlug: "engineer",
          sessionKey: "agent:engineer:testaccount1",
          instructions: "the rules",
          input: "the request",
          tools
        }
      ])
    })
  )

  it.effect("offers no function tools if clients' tools are off, and counts effects over HTTP instead", () =>
    Effect.gen(function* () {
      const { run, sent } = yield* setUp({
        answers: [says("NO_ACTION")],
        settings: { clientToolsEnabled: false },
        httpEffects: ["act"]
      })
      const end = yield* run
      assert.deepStrictEqual(end.effects, ["act"])
      assert.deepStrictEqual(
        (yield* sent).map((request) => request.tools),
        [[]]
      )
    })
  )

  it.effect("runs the calls of a round in their order and sends all results with the next, tools and rules again", () =>
    Effect.gen(function* () {
      const { called, run, sent } = yield* setUp({ answers: [calls("look", "act"), says("Done.")] })
      const end = yield* run
      assert.deepStrictEqual(yield* called, ["look", "act"])
      assert.deepStrictEqual(end.effects, ["act"])
      const second = (yield* sent)[1]
      assert.deepStrictEqual(second?.input, [
        { type: "function_call_output", call_id: "call_0", output: '{"tool":"look","success":true}' },
        { type: "function_call_output", call_id: "call_1", output: '{"tool":"act","success":true}' }
      ])
      assert.deepStrictEqual(second?.tools, tools)
      assert.strictEqual(second?.instructions, "the rules")
    })
  )

  it.effect("names its tool in each result, because the model never sees our call ids", () =>
    Effect.gen(function* () {
      const { run, sent } = yield* setUp({
        answers: [calls("look", "act"), calls("act"), says("Done.")],
        tool: (name) => Effect.succeed(resultOf(name, false))
      })
      yield* run
      const outputs = (yield* sent).flatMap(({ input }) =>
        typeof input === "string" ? [] : input.flatMap((item) => (item.type === "message" ? [] : [item.output]))
      )
      assert.deepStrictEqual(
        outputs.map((output) => (JSON.parse(output) as { tool: string }).tool),
        ["look", "act", "act"]
      )
    })
  )

  it.effect("adds up the usage of its rounds", () =>
    Effect.gen(function* () {
      const { run, spending } = yield* setUp({ answers: [calls("look"), calls("look"), says("Done.")] })
      yield* run
      const sum = { ...noUsage, inputTokens: 300, outputTokens: 30 }
      assert.deepInclude(yield* spending, { usage: sum, rounds: 3, unanswered: 0, contextTokens: 100 })
    })
  )

  it.effect("records each round with its start, duration, tokens and failure", () =>
    Effect.gen(function* () {
      const { run, spending } = yield* setUp({
        answers: [calls("look"), new ConnectionLost({ detail: "reset" })],
        roundMillis: 1_500
      })
      const fiber = yield* Effect.forkChild(Effect.flip(run))
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(fiber)
      const { steps, stepsLeftOut } = yield* spending
      assert.deepStrictEqual(steps, [
        { kind: "round", round: 1, startMs: 0, durationMs: 1_500, inputTokens: 100, outputTokens: 10, error: null },
        {
          kind: "round",
          round: 2,
          startMs: 1_500,
          durationMs: 1_500,
          inputTokens: 0,
          outputTokens: 0,
          error: "ConnectionLost"
        }
      ])
      assert.strictEqual(stepsLeftOut, 0)
    })
  )

  it.effect("keeps the latest 60 steps and counts the others", () =>
    Effect.gen(function* () {
      const { run, spending } = yield* setUp({ answers: [calls("look")], settings: { maxToolRounds: 70 } })
      yield* Effect.flip(run)
      const { steps, stepsLeftOut } = yield* spending
      assert.lengthOf(steps, 60)
      assert.strictEqual(stepsLeftOut, 12)
    })
  )

  const noted = { ...noUsage, inputTokens: 40, outputTokens: 4 }
  const provider = { detail: "HTTP 502", status: 502 }
  it.effect.each([
    ["a lost connection may have cost something", new ConnectionLost({ detail: "reset" }), usage, 1, 1],
    ["a failed provider may have worked before", new ProviderFailed(provider), usage, 1, 1],
    [
      "what a failed run reports",
      new ProviderFailed({ ...provider, usage: noted }),
      { ...usage, inputTokens: 140, outputTokens: 14 },
      2,
      0
    ],
    ["a provider that refuses charges nothing", new ProviderFailed({ detail: "rate limit", status: 429 }), usage, 1, 0],
    ["a gateway that is down costs nothing", new GatewayUnreachable({ detail: "refused" }), usage, 1, 0]
  ] as const)("counts the rounds before a failure, and of the failure: %s", ([, failure, sum, rounds, unanswered]) =>
    Effect.gen(function* () {
      const { run, spending } = yield* setUp({ answers: [calls("look"), failure] })
      yield* Effect.flip(run)
      assert.deepInclude(yield* spending, { usage: sum, rounds, unanswered })
    })
  )

  it.effect("counts only successful effects as having acted", () =>
    Effect.gen(function* () {
      const { run } = yield* setUp({
        answers: [calls("act"), says("Sorry.")],
        tool: (name) => Effect.succeed({ ...resultOf(name, false), isEffect: true })
      })
      assert.deepStrictEqual((yield* run).effects, [])
    })
  )

  it.effect("reports that its last text was truncated", () =>
    Effect.gen(function* () {
      const { run } = yield* setUp({ answers: [says("Half", true)] })
      assert.isTrue((yield* run).isTruncated)
    })
  )
})

describe("a turn under a budget", () => {
  const refused: Allowed = { reason: "100 % of the budget is used", until: 5 }
  // A round is 100 tokens in and 10 out: 150 price-weighted tokens.
  it.effect("asks for more before a request that its allowance may not cover, and continues with what it gets", () =>
    Effect.gen(function* () {
      const { asked, run, sent } = yield* setUp({
        answers: [calls("look"), calls("look"), calls("look"), says("Done.")],
        allowance: 400,
        allowed: [{ allowance: null }]
      })
      const end = yield* run
      assert.deepStrictEqual(yield* asked, [300])
      assert.lengthOf(yield* sent, 4)
      assert.isUndefined(end.stoppedBy)
    })
  )

  it.effect("ends with one last request, whose calls are not executed, if it gets no more", () =>
    Effect.gen(function* () {
      const { called, run, sent } = yield* setUp({
        answers: [calls("act"), calls("act"), calls("act"), says("never")],
        allowance: 400,
        allowed: [refused]
      })
      const end = yield* run
      assert.deepStrictEqual(end.stoppedBy, refused)
      assert.deepStrictEqual(end.effects, ["act", "act"])
      assert.lengthOf(yield* called, 2)
      const [, , last, ...more] = yield* sent
      assert.lengthOf(more, 0)
      assert.deepInclude(last?.input.at(-1), { type: "message", role: "user" })
    })
  )

  it.effect("ends without another request if its allowance is exceeded already", () =>
    Effect.gen(function* () {
      const { run, sent } = yield* setUp({ answers: [calls("act")], allowance: 100, allowed: [refused] })
      assert.deepInclude(yield* run, { stoppedBy: refused, effects: ["act"] })
      assert.lengthOf(yield* sent, 1)
    })
  )
})

describe("a turn that keeps calling tools", () => {
  it.effect("gets MAX_TOOL_ROUNDS rounds with executed tools, and one more in which it is asked to answer", () =>
    Effect.gen(function* () {
      const { called, run, sent } = yield* setUp({
        answers: [calls("act"), calls("act"), calls("act"), says("I could not finish.")],
        settings: { maxToolRounds: 3 }
      })
      yield* run
      assert.lengthOf(yield* called, 3)
      const requests = yield* sent
      assert.deepStrictEqual(
        requests.map(({ tools }) => tools.length),
        [2, 2, 2, 2]
      )
      const last = requests[3]?.input
      assert.isTrue(Array.isArray(last))
      assert.deepStrictEqual(
        (last as ReadonlyArray<{ type: string }>).map(({ type }) => type),
        ["function_call_output", "message"]
      )
      assert.notInclude(JSON.stringify(requests.slice(0, 3)), "used up")
      assert.include(JSON.stringify(last), "used up")
    })
  )

  it.effect("is asked once without tools if it still calls, and none of these calls is executed", () =>
    Effect.gen(function* () {
      const { called, run, sent } = yield* setUp({ answers: [calls("look")], settings: { maxToolRounds: 2 } })
      const failure = yield* Effect.flip(run)
      assert.strictEqual(failure._tag, "TurnSilent")
      assert.lengthOf(yield* called, 2)
      const requests = yield* sent
      assert.deepStrictEqual(
        requests.map(({ tools }) => tools.length),
        [2, 2, 2, 0]
      )
      assert.include(JSON.stringify(requests[3]?.input), "not executed: the tools of this turn are used up")
    })
  )

  it.effect("has acted when it had effects but no text", () =>
    Effect.gen(function* () {
      const { run } = yield* setUp({ answers: [calls("act")], settings: { maxToolRounds: 1 } })
      const { effects, spoken } = yield* run
      assert.deepStrictEqual(effects, ["act"])
      assert.strictEqual(spoken._tag, "Silent")
    })
  )
})

describe("a silent turn", () => {
  for (const text of ["", "  ", "NO", "NO_", "No response from OpenClaw.", "No reply from agent.", "@engineer"]) {
    it.effect(`fails with TurnSilent when it ends with ${JSON.stringify(text)} and did nothing`, () =>
      Effect.gen(function* () {
        const { run } = yield* setUp({ answers: [says(text)] })
        assert.strictEqual((yield* Effect.flip(run))._tag, "TurnSilent")
      })
    )
  }

  it.effect("fails with TurnSilent after reads alone", () =>
    Effect.gen(function* () {
      const { run } = yield* setUp({ answers: [calls("look", "look"), says("")] })
      assert.strictEqual((yield* Effect.flip(run))._tag, "TurnSilent")
    })
  )

  it.effect("is an outcome if this or an earlier attempt had effects", () =>
    Effect.gen(function* () {
      const now = yield* setUp({ answers: [calls("act"), says("NO_")] })
      assert.deepStrictEqual((yield* now.run).spoken, { _tag: "Silent", reason: "NO_" })
      const earlier = yield* setUp({
        answers: [says("")],
        context: {
          earlier: { attempts: 1, lastError: null, effects: [{ tool: "act", summary: "did it", at: 0 }] }
        }
      })
      assert.deepStrictEqual((yield* earlier.run).spoken, { _tag: "Silent", reason: "empty text" })
    })
  )

  it.effect("does not include NO_ACTION, which is an outcome with nothing to add", () =>
    Effect.gen(function* () {
      const { run } = yield* setUp({ answers: [says("NO_ACTION")] })
      assert.deepStrictEqual((yield* run).spoken, { _tag: "NothingToAdd", token: "NO_ACTION" })
    })
  )
})

describe("the events of a turn", () => {
  it.effect("are followed until its end, and name the model that answered", () =>
    Effect.gen(function* () {
      const { followed, run, spending } = yield* setUp({
        answers: [calls("look"), says("Done.")],
        tool: (name) =>
          Effect.sync(() => {
            assert.strictEqual(followed.size, 1)
            return resultOf(name)
          }),
        model: "openai/gpt-5"
      })
      yield* run
      assert.strictEqual(followed.size, 0)
      assert.deepInclude(yield* spending, { model: "openai/gpt-5", rounds: 2 })
    })
  )
})

describe("a turn that breaks off", () => {
  it.effect("fails as its round failed, even after effects, which the retry lists", () =>
    Effect.gen(function* () {
      const { run } = yield* setUp({
        answers: [calls("act"), new ProviderFailed({ detail: "502", status: 502 })]
      })
      assert.strictEqual((yield* Effect.flip(run))._tag, "ProviderFailed")
    })
  )

  it.effect("ends at once when a tool finds the lease lost", () =>
    Effect.gen(function* () {
      const { run, sent } = yield* setUp({
        answers: [calls("act"), says("Done.")],
        tool: () => Effect.fail(new LeaseLost({ function: functions.setTaskStatus }))
      })
      assert.strictEqual((yield* Effect.flip(run))._tag, "LeaseLost")
      assert.lengthOf(yield* sent, 1)
    })
  )

  it.effect("reports each completed round at once, so that a long probe blocks no other turn", () =>
    Effect.gen(function* () {
      const { completed, run } = yield* setUp({ answers: [calls("act")], tool: () => Effect.never })
      yield* Effect.forkChild(run)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* completed, 1)
    })
  )

  it.effect("is aborted after TURN_TIMEOUT_MS over all its rounds", () =>
    Effect.gen(function* () {
      const { run, sent } = yield* setUp({
        answers: [calls("look")],
        tool: (name) => Effect.delay(Effect.succeed(resultOf(name)), "2 seconds"),
        settings: { turnTimeout: Duration.seconds(5), maxToolRounds: 100 }
      })
      const fiber = yield* Effect.forkChild(Effect.flip(run))
      yield* TestClock.adjust("4999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "TurnTimeout")
      assert.lengthOf(yield* sent, 3)
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(yield* sent, 3)
    })
  )

  it.effect("aborts the running request at its deadline", () =>
    Effect.gen(function* () {
      const isAborted = yield* Deferred.make<void>()
      const { run } = yield* Effect.provide(
        Turns,
        Turns.layer.pipe(
          Layer.provide([
            Layer.mock(Gateway, {
              sendToOpenClaw: () => Effect.never.pipe(Effect.onInterrupt(() => Deferred.succeed(isAborted, undefined)))
            }),
            Layer.mock(AgentTools, { offered: () => [] }),
            Layer.mock(ControlPlane, { bootId: "boot" }),
            Layer.mock(GatewayGuard, {}),
            Metrics.layer,
            RuntimeConfig.layerTest({ turnTimeout: Duration.seconds(5) })
          ])
        )
      )
      const spending = yield* Ref.make(noSpending)
      const fiber = yield* Effect.forkChild(
        Effect.flip(
          run({ context: sampleContext(), fence, prompt: { instructions: "", input: "" }, spending, allowance: null })
        )
      )
      yield* TestClock.adjust("5 seconds")
      yield* Deferred.await(isAborted)
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "TurnTimeout")
      const aborted = {
        kind: "round",
        round: 1,
        startMs: 0,
        durationMs: 5_000,
        inputTokens: 0,
        outputTokens: 0,
        error: "aborted"
      } as const
      assert.deepStrictEqual(yield* Ref.get(spending), { ...noSpending, unanswered: 1, steps: [aborted] })
    })
  )
})
