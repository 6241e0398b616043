/** The turn of a run, from its plan to its judgement. */
import { Effect, Redacted, Ref } from "effect"
import type { NotificationEvent } from "../../domain/delivery/DeliveryContext.ts"
import { judgeBroken, sharedFailure, unknownAgent } from "../../domain/delivery/Judgement.ts"
import type { Judgement, TurnPlan } from "../../domain/delivery/Judgement.ts"
import { planNotification } from "../../domain/delivery/NotificationPlan.ts"
import { fenceOf } from "../../domain/delivery/Run.ts"
import type { HeartbeatRun, NotificationRun, Run } from "../../domain/delivery/Run.ts"
import type { TurnEnd } from "../../domain/delivery/TurnEnd.ts"
import { blameOf, isTurnFailure, minimumRetryMillis } from "../../domain/delivery/TurnFailure.ts"
import type { TurnFailure } from "../../domain/delivery/TurnFailure.ts"
import { planHeartbeat } from "../../domain/heartbeats/HeartbeatPlan.ts"
import type { Spending } from "../../domain/usage/Spending.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { Gateway } from "../../layers/Gateway.ts"
import { Metrics } from "../../layers/Metrics.ts"
import { Redactor } from "../../layers/secrets/Redactor.ts"
import { describeHttpTools } from "../../services/AgentTools.ts"
import { ControlPlane } from "../../services/ControlPlane.ts"
import { GatewayGuard } from "../../services/GatewayGuard.ts"
import { Leases } from "../../services/Leases.ts"
import { LiveRuns } from "../../services/LiveRuns.ts"
import { toolContextOf } from "../../services/tools/AgentTool.ts"
import { Turns } from "../../services/Turns.ts"

type ReadableRun = NotificationRun | HeartbeatRun
type Joined = ReadonlyArray<NotificationEvent>

/** What an attempt has done so far, which is known for any end. */
export interface Progress {
  /** Grows with each request and tool call. */
  readonly spending: Ref.Ref<Spending>
  /** Grows with each message that joins. */
  readonly joined: Ref.Ref<Joined>
}

const planOf = Effect.fnUntraced(function* (run: ReadableRun) {
  const config = yield* RuntimeConfig
  return run.kind === "notification"
    ? planNotification(run, { maxAttempts: config.deliveryMaxAttempts, silenceLimit: config.noResponseLimit })
    : planHeartbeat(run, { now: yield* (yield* ControlPlane).now, skipsIdle: config.heartbeatSkipIdle })
})

/** Whether the session exceeds SESSION_TOKEN_LIMIT. Asks the gateway only if the turn's usage makes it possible. */
const isHistoryLong = Effect.fnUntraced(function* ({ context, kind }: ReadableRun, { requestTokens }: TurnEnd) {
  const limit = (yield* RuntimeConfig).sessionTokenLimit
  if (kind === "heartbeat" || limit === 0 || (requestTokens?.least ?? 0) <= limit) return false
  return ((yield* (yield* Gateway).historyTokens(context.sessionKey)) ?? 0) > limit
})

const onTurnEnd = Effect.fnUntraced(function* (run: ReadableRun, plan: TurnPlan, end: TurnEnd) {
  const redactor = yield* Redactor
  const spoken = end.spoken._tag === "Text" ? { ...end.spoken, text: redactor.redact(end.spoken.text) } : end.spoken
  return plan.judgeEnd({ ...end, spoken, isHistoryLong: yield* isHistoryLong(run, end) })
})

/** Reports the failure to the guard of the gateway. */
const onTurnFailure = Effect.fnUntraced(function* (run: ReadableRun, plan: TurnPlan, failure: TurnFailure) {
  const guard = yield* GatewayGuard
  const { agent } = run.context
  const error = (yield* Redactor).error(failure.detail)
  const blame = blameOf(failure, yield* guard.provider)
  const minimumMillis = minimumRetryMillis(failure)
  if (blame === "shared") {
    yield* guard.sharedFailure(failure, agent.id)
    const delay = failure._tag === "UnknownAgent" ? yield* guard.unknownAgentDelay(agent.id) : null
    return delay === null ? sharedFailure(failure._tag, error, minimumMillis) : unknownAgent(agent.slug, delay)
  }
  // It is not known whether a model was reached: while its provider is down, a gateway can refuse turns or answer
  // "internal error".
  yield* guard.inconclusive
  return plan.judgeFailure({ class: failure._tag, error, isSilence: blame === "silence", minimumMillis })
})

/** Prepares the run's turn. Its capability is valid in the scope. */
const runTurn = Effect.fnUntraced(function* (run: ReadableRun, plan: TurnPlan, { joined, spending }: Progress) {
  const config = yield* RuntimeConfig
  const context = toolContextOf(run)
  const fence = fenceOf(run)
  const live = yield* (yield* LiveRuns).open({ context, fence, spending })
  const access = { baseUrl: config.taskStatusBaseUrl, capability: Redacted.value(live.capability) }
  const { own } = yield* Redactor
  const written = plan.prompt(config.clientToolsEnabled ? {} : { httpTools: describeHttpTools(context, access) })
  // Only the run's capability is not redacted, at the end of its input.
  const prompt = { instructions: own(written.instructions), input: own(written.input) }
  if (run.kind === "notification") {
    yield* (yield* Metrics).posted(Math.max(0, (yield* (yield* ControlPlane).now) - run.readyAt))
  }
  const { createdTaskIds, httpEffects } = live
  const leases = yield* Leases
  const { joining } = plan
  const joins =
    joining === undefined
      ? {}
      : { joining: { news: leases.news(run), text: (events: Joined) => own(joining.text(events)), joined } }
  // The capability becomes invalid with the end of the turn, before it is judged.
  return yield* (yield* Turns)
    .run({ context, fence, prompt, createdTaskIds, httpEffects, spending, allowance: run.allowance, ...joins })
    .pipe(Effect.ensuring(live.end))
}, Effect.scoped)

/** Runs the run's turn, if it needs one, and judges its end with the messages that joined. */
export const judgeRun = Effect.fnUntraced(function* (run: Run, progress: Progress) {
  if ("broken" in run) return judgeBroken(run)
  const plan = yield* planOf(run)
  if (plan._tag !== "Turn") return plan
  const { agent } = run.context
  const delay = yield* (yield* GatewayGuard).unknownAgentDelay(agent.id)
  if (delay !== null) return unknownAgent(agent.slug, delay)
  const judging = Effect.map(Ref.get(progress.joined), (joined) =>
    joined.length === 0 ? plan : (plan.joining?.planWith(joined) ?? plan)
  )
  return yield* runTurn(run, plan, progress).pipe(
    Effect.flatMap((end) => Effect.flatMap(judging, (plan) => onTurnEnd(run, plan, end))),
    Effect.catchIf(isTurnFailure, (failure): Effect.Effect<Judgement, never, GatewayGuard | Redactor> =>
      Effect.flatMap(judging, (plan) => onTurnFailure(run, plan, failure))
    )
  )
})
