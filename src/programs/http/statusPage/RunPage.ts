import { Clock, Effect } from "effect"
import { waitText } from "../../../domain/delivery/RunView.ts"
import { runWaterfall } from "../../../domain/observability/RunWaterfall.ts"
import { ControlPlane } from "../../../services/ControlPlane.ts"
import { previewDelivery } from "../../delivery/DeliveryPreview.ts"

/** The run for its own view on the page: one call of the control plane. Times are converted to this process's clock. */
export const readRun = Effect.fnUntraced(function* (id: string) {
  const controlPlane = yield* ControlPlane
  const details = yield* controlPlane.run(id)
  const there = yield* controlPlane.now
  const now = yield* Clock.currentTimeMillis
  const here = (millis: number) => millis - there + now
  const { decision, error, events, nextAttemptAt, run } = details
  return {
    id,
    agent: run.agentSlug,
    task: run.taskTitle,
    type: run.type ?? run.kind,
    state: run.state,
    outcome: run.outcome,
    outcomeReason: run.outcomeReason,
    wait: waitText(run),
    createdAt: here(details.createdAt),
    nextAttemptAt: nextAttemptAt === null ? null : here(nextAttemptAt),
    attempts: run.attempts,
    claims: details.claims,
    failures: details.failures,
    silences: details.silences,
    error: null,
    lastError: error === null ? null : { text: `${error.class}: ${error.message}`, at: here(error.at) },
    decision: decision === null ? null : { text: `${decision.kind} by ${decision.byName}`, at: here(decision.at) },
    events: events.map((event) => ({ ...event, at: here(event.at) })),
    effects: details.effects.map((effect) => ({ ...effect, at: here(effect.at) })),
    timeline: runWaterfall(details, there).map((attempt) => ({
      ...attempt,
      claimedAt: attempt.claimedAt === null ? null : here(attempt.claimedAt)
    }))
  }
})

/** The prompt that an attempt of the notification would get now: one call of the control plane. */
export const readPrompt = Effect.fnUntraced(function* (id: string) {
  const preview = yield* previewDelivery(id)
  if ("broken" in preview) return { error: `The notification has no prompt: ${preview.broken}.`, prompt: null }
  const { prompt, tools } = preview
  return { error: null, prompt, tools: tools.map(({ name }) => name) }
})
