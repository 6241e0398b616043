/** Stores the outcome of an attempt. */
import { Effect, Random } from "effect"
import { backoffBounds, backoffMillis } from "../../domain/delivery/Backoff.ts"
import { ownFailure } from "../../domain/delivery/Judgement.ts"
import type { Completed, Failed, Judgement, Released } from "../../domain/delivery/Judgement.ts"
import { afterJoin, contextsOf, fenceOf } from "../../domain/delivery/Run.ts"
import type { Fence, Outcome, Run, SpentUsage } from "../../domain/delivery/Run.ts"
import type { RunEnd } from "../../domain/delivery/RunEnd.ts"
import { RuntimeConfig } from "../../layers/Config.ts"
import { Redactor } from "../../layers/secrets/Redactor.ts"
import { ControlPlane } from "../../services/ControlPlane.ts"

/** How the attempt ended, with data for metrics and traces. */
export interface AttemptEnd extends Omit<RunEnd, "kind" | "agent"> {
  /** The owed answer is missing: the agent was silent, or the gateway does not say what happened. */
  readonly isSilence: boolean
  /** A turn of the agent ended without a failure. */
  readonly isTurnCompleted: boolean
}

/** An attempt's end; stored and without a retry unless `changes` differ. */
export const attemptEnd = (outcome: RunEnd["outcome"], changes: Partial<AttemptEnd> = {}): AttemptEnd => ({
  outcome,
  error: null,
  isSilence: false,
  isTurnCompleted: false,
  isStored: true,
  dueInMillis: null,
  ...changes
})

/** The delay of a retry after this number of failures in a row, in milliseconds, with full jitter. */
const backoff = Effect.fnUntraced(function* (failures: number, minimumMillis = 0) {
  const bounds = backoffBounds(yield* RuntimeConfig)
  return Math.max(minimumMillis, backoffMillis(bounds, failures, yield* Random.next))
})

/** An end with a retry. A run without one is over; only the next claim knows when its agent's next heartbeat is due. */
const retryEnd = (
  { kind }: Run,
  state: "ready" | "dead",
  retry: number | undefined,
  changes: Partial<AttemptEnd>
): AttemptEnd => {
  if (state === "ready") return attemptEnd("retrying", { ...changes, dueInMillis: retry ?? 0 })
  return kind === "notification" ? attemptEnd("dead", changes) : attemptEnd("given_up", { ...changes, dueInMillis: 0 })
}

const storeFailed = Effect.fnUntraced(function* (run: Run, judgement: Failed, usage: SpentUsage | undefined) {
  const { _tag, isFinal = false, minimumMillis, ...failure } = judgement
  const { deliveryMaxAttempts } = yield* RuntimeConfig
  const isLast = isFinal || (run.kind === "notification" && run.attempt >= deliveryMaxAttempts)
  const retry = isLast ? undefined : yield* backoff(run.failures + 1, minimumMillis)
  const state = yield* (yield* ControlPlane).fail(fenceOf(run), {
    ...failure,
    ...(retry === undefined ? {} : { retryInMillis: retry }),
    ...(usage === undefined ? {} : { usage })
  })
  const changes = { error: `${failure.class}: ${failure.error}`, isSilence: failure.silence }
  return state === "delivered" ? attemptEnd("fallback", changes) : retryEnd(run, state, retry, changes)
})

const storeReleased = Effect.fnUntraced(function* (run: Run, judgement: Released, usage: SpentUsage | undefined) {
  const { class: kind, error, exactMillis, isFirstBackoff = false, limit, minimumMillis } = judgement
  // A heartbeat counts only its own failures.
  const failures = isFirstBackoff ? 0 : (contextsOf(run).heartbeat?.earlier.attempts ?? run.failures)
  const retryInMillis = exactMillis ?? (yield* backoff(failures + 1, minimumMillis))
  const state = yield* (yield* ControlPlane).release(fenceOf(run), {
    retryInMillis,
    class: kind,
    error,
    ...(limit === undefined ? {} : { limit }),
    ...(usage === undefined ? {} : { usage })
  })
  return retryEnd(run, state, retryInMillis, { error: `${kind}: ${error}` })
})

/** If the control plane refuses the text because the task has changed, completes without it. */
const storeCompleted = Effect.fnUntraced(function* (
  fence: Fence,
  { error, outcome, remark, report: judged }: Completed,
  usage: SpentUsage | undefined
) {
  const controlPlane = yield* ControlPlane
  const report = usage === undefined ? judged : { ...judged, usage }
  const { message: _, ...silent } = report
  if (remark !== undefined) yield* Effect.logInfo(remark)
  const { dueAt, now } = yield* controlPlane.updateAgentHeartbeat(fence, report).pipe(
    Effect.catchIf(
      (failure) => failure._tag === "ControlPlaneRefused" && report.message !== undefined,
      (failure) =>
        Effect.logWarning(
          `the heartbeat's text could not be posted: ${"detail" in failure ? failure.detail : ""}`
        ).pipe(Effect.andThen(controlPlane.updateAgentHeartbeat(fence, { ...silent, currentTaskId: null })))
    )
  )
  const isTurnCompleted = outcome === "ok" || outcome === "acted" || outcome === "posted"
  return attemptEnd(outcome, { error: error ?? null, dueInMillis: dueAt - now, isTurnCompleted })
})

/** Beyond the limit the control plane notifies no agent of this run's events, and notifies a person. */
const logHopLimit = Effect.fnUntraced(function* (run: Run, { outcome }: Outcome) {
  const { maxAgentHops } = yield* RuntimeConfig
  const hops = contextsOf(run).delivery?.notification.hops ?? 0
  if (hops < maxAgentHops || (outcome !== "replied" && outcome !== "acted")) return
  yield* Effect.logWarning(
    "hop limit reached: no agent is notified of this turn until a person writes in the thread"
  ).pipe(Effect.annotateLogs({ hops, maxAgentHops }))
})

const store = Effect.fnUntraced(function* (
  run: Run,
  judgement: Judgement,
  usage: SpentUsage | undefined,
  joined: { readonly joined?: number }
) {
  const redactor = yield* Redactor
  switch (judgement._tag) {
    case "Delivered": {
      const { error, outcome } = judgement
      // The reason can contain the gateway's text.
      const reason = outcome.reason === undefined ? {} : { reason: redactor.error(outcome.reason) }
      yield* (yield* ControlPlane).complete(fenceOf(run), {
        ...outcome,
        ...reason,
        ...joined,
        ...(usage === undefined ? {} : { usage })
      })
      // A person's message that joined starts a new chain.
      if (joined.joined === undefined) yield* logHopLimit(run, outcome)
      // A notification that the policy skips needs no turn.
      const isTurnCompleted = error === undefined && usage !== undefined && outcome.outcome !== "stopped"
      return attemptEnd(outcome.outcome, { error: error ?? null, isTurnCompleted })
    }
    case "Completed":
      return yield* storeCompleted(fenceOf(run), judgement, usage)
    case "Failed":
      return yield* storeFailed(run, { ...judgement, ...joined, error: redactor.error(judgement.error) }, usage)
    case "Released":
      return yield* storeReleased(run, { ...judgement, error: redactor.error(judgement.error) }, usage)
  }
})

/**
 * Stores the judgement, the usage and how many messages joined the turn. If the control plane refuses it, the failure
 * counts as the run's own.
 */
export const storeJudgement = (run: Run, judgement: Judgement, usage: SpentUsage | undefined, count: number) => {
  const [counted, joined] = count === 0 ? [run, {}] : [afterJoin(run), { joined: count }]
  return Effect.catchTag(store(counted, judgement, usage, joined), "ControlPlaneRefused", ({ code, detail }) =>
    store(counted, ownFailure(code, detail), usage, joined)
  )
}
