import { Clock, Context, Duration, Effect, Exit, Layer, Ref, Result } from "effect"
import { describeFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import type { BootConflict, LeaseLost } from "../domain/controlPlane/ControlPlaneFailure.ts"
import type { NotificationEvent } from "../domain/delivery/DeliveryContext.ts"
import { noUsage } from "../domain/delivery/Run.ts"
import type { BudgetRefusal, Fence, RequestTokens } from "../domain/delivery/Run.ts"
import type { RunStep, StepTimes } from "../domain/delivery/RunStep.ts"
import { readSpokenText } from "../domain/delivery/Silence.ts"
import type { SpokenText } from "../domain/delivery/Silence.ts"
import type { TurnEnd } from "../domain/delivery/TurnEnd.ts"
import { TurnSilent, TurnTimeout } from "../domain/delivery/TurnFailure.ts"
import type { TurnFailure } from "../domain/delivery/TurnFailure.ts"
import type { Prompt } from "../domain/prompt/Prompt.ts"
import { weightedTokensOf } from "../domain/shared/TokenPrice.ts"
import { counted } from "../domain/text/Count.ts"
import { requestAnswered, requestFailed, requestSent } from "../domain/usage/Spending.ts"
import type { Spending } from "../domain/usage/Spending.ts"
import { RuntimeConfig } from "../layers/Config.ts"
import { Gateway } from "../layers/Gateway.ts"
import type { FunctionCall, GatewayRequest, InputItem, RoundAnswer } from "../layers/Gateway.ts"
import { GatewayEvents } from "../layers/gateway/GatewayEvents.ts"
import { Metrics } from "../layers/Metrics.ts"
import { Telemetry } from "../layers/telemetry/Telemetry.ts"
import type { Tracing } from "../layers/telemetry/Telemetry.ts"
import { AgentTools, refusalJson } from "./AgentTools.ts"
import type { ToolInterruption, ToolResult } from "./AgentTools.ts"
import { ControlPlane } from "./ControlPlane.ts"
import { GatewayGuard } from "./GatewayGuard.ts"
import { asStep, stepError } from "./RunSteps.ts"
import { watchStuckTurn } from "./StuckTurn.ts"
import type { RunContext } from "./tools/AgentTool.ts"
import { makeTurnBudget } from "./TurnBudget.ts"
import type { TurnBudget } from "./TurnBudget.ts"

/** How people's messages join a turn while it runs. */
export interface Joining {
  /** The id of the latest message that may join; null if none is known. */
  readonly news: Effect.Effect<string | null>
  /** The text for the agent. */
  readonly text: (joined: ReadonlyArray<NotificationEvent>) => string
  /** The messages that were in requests of the turn, for every kind of end. */
  readonly joined: Ref.Ref<ReadonlyArray<NotificationEvent>>
}

/** A turn to run: its context, prompt and fence. */
export interface Turn {
  readonly context: RunContext & Required<Pick<RunContext, "earlier">>
  readonly fence: Fence
  readonly prompt: Prompt
  /** The tasks created in this run, which its tools may act on. */
  readonly createdTaskIds?: Set<string>
  /** The effect tools that the agent called over HTTP; grows during the turn. */
  readonly httpEffects?: ReadonlyArray<string>
  /** Grows with each request and tool call, for every kind of end. */
  readonly spending: Ref.Ref<Spending>
  /** Price-weighted tokens that the turn may spend before it asks for more; null without a budget. */
  readonly allowance: number | null
  /** Absent for heartbeats, which no message joins. */
  readonly joining?: Joining
}

interface ExecutedCall {
  readonly call: FunctionCall
  readonly result: ToolResult
}

const requestTokensOf = (inputTokens: ReadonlyArray<number>): { readonly requestTokens?: RequestTokens } => {
  const counted = inputTokens.filter((tokens) => tokens > 0)
  const [first] = counted
  return first === undefined ? {} : { requestTokens: { first, least: Math.min(...counted) } }
}

/** For the agent when its tool rounds are used up. The tools are still sent, because the provider's cache starts with them. */
const LAST_ROUND =
  "The tools of this turn are used up. Answer now in text: the work done, the work that remains, and what you need."

/** For the agent when the budget allows only one more answer. */
const LAST_OF_BUDGET =
  "The budget is used up, and no tool of this turn is executed any more. Answer now in text: the work done, and the work that remains."

/** The result of a call after the last tool round. */
const notExecuted = (call: FunctionCall): ToolResult => ({
  tool: call.name,
  success: false,
  isEffect: false,
  code: "forbidden",
  json: refusalJson(call.name, "forbidden", "not executed: the tools of this turn are used up")
})

/** The turn's input after the results of a round, with a text behind them. */
const nextInput = (results: ReadonlyArray<ExecutedCall>, text: string | null): ReadonlyArray<InputItem> => [
  ...results.map(({ call, result }): InputItem => ({
    type: "function_call_output",
    call_id: call.callId,
    output: result.json
  })),
  ...(text === null ? [] : [{ type: "message", role: "user", content: text } satisfies InputItem])
]

/** Runs turns: rounds of request and tool calls until the agent answers in text, at most MAX_TOOL_ROUNDS with tools. */
export class Turns extends Context.Service<
  Turns,
  {
    /** Interruption and the deadline abort the running request, which also ends the run in the gateway. */
    run(turn: Turn): Effect.Effect<TurnEnd, TurnFailure | ToolInterruption>
  }
>()("runtime-service/services/Turns") {
  static readonly layer = Layer.effect(
    Turns,
    Effect.suspend(() => make)
  )
}

/** A round as a step of the attempt. */
const roundStep =
  (round: number) =>
  (exit: Exit.Exit<RoundAnswer, TurnFailure>, times: StepTimes): RunStep => {
    const { inputTokens, outputTokens } = Exit.isSuccess(exit) ? exit.value.usage : noUsage
    const error = Exit.isSuccess(exit) ? null : stepError(exit.cause)
    return { kind: "round", round, ...times, inputTokens, outputTokens, error }
  }

/** A round as a span of the trace. */
const asSpan = (
  telemetry: Tracing,
  { context: { agent, notification, sessionKey }, spending }: Turn,
  request: GatewayRequest,
  round: number,
  answer: Effect.Effect<RoundAnswer, TurnFailure>
): Effect.Effect<RoundAnswer, TurnFailure> =>
  answer.pipe(
    Effect.tap((answer) =>
      Effect.flatMap(Ref.get(spending), ({ model }) =>
        telemetry.note({
          "gen_ai.response.id": answer.responseId,
          "gen_ai.response.model": model ?? undefined,
          "gen_ai.response.finish_reasons": [
            answer._tag === "Calls" ? "tool_calls" : answer.isTruncated ? "length" : "stop"
          ],
          "gen_ai.usage.input_tokens": answer.usage.inputTokens,
          "gen_ai.usage.output_tokens": answer.usage.outputTokens,
          "gen_ai.usage.cache_read.input_tokens": answer.usage.cacheReadTokens,
          "gen_ai.usage.cache_creation.input_tokens": answer.usage.cacheWriteTokens,
          "gen_ai.output.messages": telemetry.content(() =>
            answer._tag === "Text" ? answer.text : JSON.stringify(answer.calls)
          )
        })
      )
    ),
    telemetry.span(`invoke_agent ${agent.name}`, {
      kind: "client",
      attributes: {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "openclaw",
        "gen_ai.agent.id": agent.id,
        "gen_ai.agent.name": agent.name,
        "gen_ai.conversation.id": sessionKey,
        "gen_ai.request.model": `openclaw/${agent.slug}`,
        "mission_control.run.id": notification.id,
        "mission_control.round": round,
        "gen_ai.system_instructions": telemetry.content(() => request.instructions),
        "gen_ai.input.messages": telemetry.content(() =>
          typeof request.input === "string" ? request.input : JSON.stringify(request.input)
        )
      }
    })
  )

const make = Effect.gen(function* () {
  const config = yield* RuntimeConfig
  const gateway = yield* Gateway
  const guard = yield* GatewayGuard
  const agentTools = yield* AgentTools
  const controlPlane = yield* ControlPlane
  const metrics = yield* Metrics
  const telemetry = yield* Telemetry
  const events = yield* GatewayEvents

  const send = (turn: Turn, request: GatewayRequest, round: number): Effect.Effect<RoundAnswer, TurnFailure> => {
    const answer = Ref.update(turn.spending, requestSent).pipe(
      Effect.andThen(asStep(turn.spending, gateway.sendToOpenClaw(request), roundStep(round))),
      Effect.tap(({ responseId, usage }) =>
        Effect.flatMap(events.modelOf(turn.context.sessionKey), (model) =>
          Ref.update(turn.spending, (spending) => requestAnswered(spending, usage, { model, runId: responseId }))
        )
      ),
      Effect.tapError((failure) => Ref.update(turn.spending, (spending) => requestFailed(spending, failure)))
    )
    return telemetry.isOn ? asSpan(telemetry, turn, request, round, answer) : answer
  }

  /**
   * Each run of the effect joins the messages that are new, and returns their text, or null. If the call fails, the turn
   * continues: the messages wait for the next round, or for a separate turn.
   */
  const newMessagesOf = ({ fence, joining }: Turn): Effect.Effect<string | null, LeaseLost | BootConflict> => {
    if (joining === undefined) return Effect.succeed(null)
    let handled: string | null = null
    // A call without an answer may have joined messages, which the push no longer lists.
    let isUnanswered = false
    return Effect.gen(function* () {
      const news = yield* joining.news
      if (!isUnanswered && (news === null || news === handled)) return null
      isUnanswered = true
      const joined = yield* Effect.result(controlPlane.join(fence, (yield* Ref.get(joining.joined)).length))
      if (Result.isFailure(joined)) {
        const { failure } = joined
        if (failure._tag === "LeaseLost" || failure._tag === "BootConflict") return yield* failure
        yield* Effect.logWarning(`new messages could not join the turn: ${describeFailure(failure)}`)
        return null
      }
      isUnanswered = false
      handled = news
      const events = joined.success
      if (events.length === 0) return null
      yield* Ref.update(joining.joined, (earlier) => [...earlier, ...events])
      yield* Effect.logInfo(`${counted(events.length, "message")} joined the turn`)
      return joining.text(events)
    })
  }

  const rounds = Effect.fnUntraced(function* (turn: Turn, budget: TurnBudget) {
    const { context, prompt } = turn
    const offered = config.clientToolsEnabled ? agentTools.offered(context.agent) : []
    const called: Array<string> = []
    const inputTokens: Array<number> = []
    let round = 0
    let calls = 0
    let stoppedBy: BudgetRefusal | null = null
    let input: string | ReadonlyArray<InputItem> = prompt.input
    const newMessages = newMessagesOf(turn)
    let answer: RoundAnswer | null = null
    do {
      const request: GatewayRequest = {
        agentSlug: context.agent.slug,
        sessionKey: context.sessionKey,
        instructions: prompt.instructions,
        input,
        // No tools only for an agent that keeps calling them after they are used up.
        tools: round > config.maxToolRounds ? [] : offered
      }
      round += 1
      const sent = yield* Effect.raceFirst(send(turn, request, round), budget.usedUp)
      if ("reason" in sent) {
        // The request was aborted in the middle, and what its tools did stays.
        stoppedBy = sent
        answer = null
        break
      }
      answer = sent
      // Reported now and not at the turn's end, so that a long turn as the breaker's probe does not block all others.
      yield* guard.completed(context.agent.id)
      inputTokens.push(answer.usage.inputTokens)
      if (answer._tag === "Calls") calls += answer.calls.length
      if (telemetry.isOn) {
        const { model, usage } = yield* Ref.get(turn.spending)
        yield* telemetry.noteRoot({
          "mission_control.rounds": round,
          "mission_control.tool_calls": calls,
          "gen_ai.response.model": model ?? undefined,
          "gen_ai.usage.input_tokens": usage.inputTokens,
          "gen_ai.usage.output_tokens": usage.outputTokens,
          "gen_ai.usage.cache_read.input_tokens": usage.cacheReadTokens,
          "gen_ai.usage.cache_creation.input_tokens": usage.cacheWriteTokens
        })
      }
      yield* metrics.tokensUsed(context.agent.slug, answer.usage, context.notification.id)
      if (answer._tag === "Text" || round > config.maxToolRounds + 1) break
      const isUsedUp = round > config.maxToolRounds || stoppedBy !== null
      // In the agent's order, because a call can depend on an earlier one.
      const results: ReadonlyArray<ExecutedCall> = yield* Effect.forEach(answer.calls, (call) =>
        Effect.map(
          isUsedUp ? Effect.succeed(notExecuted(call)) : agentTools.executeAgentTool(turn, call),
          (result) => ({
            call,
            result
          })
        )
      )
      called.push(...results.filter(({ result }) => result.isEffect && result.success).map(({ result }) => result.tool))
      // The agent was asked for a last answer and called tools instead.
      if (stoppedBy !== null) break
      const noMore = yield* budget.check(weightedTokensOf(answer.usage))
      if (noMore !== null) {
        stoppedBy = noMore.refusal
        if (noMore.isUsedUp) break
      }
      const lastWords = stoppedBy !== null ? LAST_OF_BUDGET : round >= config.maxToolRounds ? LAST_ROUND : null
      // After the budget and only before another round with tools, so that what joins is sent and can be acted on.
      input = nextInput(results, lastWords ?? (yield* newMessages))
    } while (round <= config.maxToolRounds + 1)
    const effects = [...called, ...(turn.httpEffects ?? [])]
    const spoken: SpokenText =
      answer?._tag === "Text"
        ? readSpokenText(answer.text)
        : { _tag: "Silent", reason: "calls although no tools were offered" }
    // With effects of earlier attempts, which the prompt lists, no answer may be necessary.
    if (
      stoppedBy === null &&
      spoken._tag === "Silent" &&
      effects.length === 0 &&
      context.earlier.effects.length === 0
    ) {
      return yield* new TurnSilent({ detail: `the agent ended its turn without an answer (${spoken.reason})` })
    }
    const isTruncated = answer?._tag === "Text" && answer.isTruncated
    const stopped = stoppedBy === null ? {} : { stoppedBy }
    return { spoken, isTruncated, ...requestTokensOf(inputTokens), effects, ...stopped }
  })

  const run = Effect.fn("Turns.run")(function* (turn: Turn) {
    const startedAt = yield* Clock.currentTimeMillis
    const { notification, sessionKey } = turn.context
    const budget = yield* makeTurnBudget(controlPlane, turn)
    const { onModelCall } = budget
    const onTool = (tool: string | null) => metrics.toolSeen(tool, notification.id)
    const followed = events
      .follow(sessionKey, { onTool, onModelCall })
      .pipe(
        Effect.andThen(Effect.forkScoped(watchStuckTurn({ events, metrics }, { run: notification.id, sessionKey }))),
        Effect.andThen(rounds(turn, budget))
      )
    return yield* Effect.scoped(followed).pipe(
      Effect.timeoutOrElse({
        duration: config.turnTimeout,
        orElse: () =>
          Effect.fail(
            new TurnTimeout({
              detail: `no end within TURN_TIMEOUT_MS (${Duration.format(config.turnTimeout)}): aborted`
            })
          )
      }),
      Effect.ensuring(Effect.flatMap(Clock.currentTimeMillis, (now) => metrics.turnEnded(now - startedAt)))
    )
  })

  return Turns.of({ run })
})
