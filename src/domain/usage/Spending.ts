import type { SpentUsage, Usage } from "../delivery/Run.ts"
import { noUsage } from "../delivery/Run.ts"
import type { RunStep } from "../delivery/RunStep.ts"
import type { TurnFailure } from "../delivery/TurnFailure.ts"
import type { PricedModel } from "./ModelPrice.ts"

/** What an attempt has done and spent so far. It is updated while the turn runs, so that it is known for any end. */
export interface Spending {
  /** When the attempt started, epoch milliseconds. */
  readonly startedAt: number
  readonly usage: Usage
  /** Answered requests. */
  readonly rounds: number
  /** Requests without an answer yet, or failed ones for which the model may have worked. */
  readonly unanswered: number
  /** What the gateway's events show of requests that are not answered: the usage of their model calls. */
  readonly shown: Usage
  /** The gateway's runs of the answered requests. Their usage is in the answers, so later events count nothing. */
  readonly answeredRuns: ReadonlyArray<string>
  /** Input tokens of the last answered request, or of the last model call of one that is not answered. */
  readonly contextTokens: number
  /** The model that answered last; null if the gateway's events do not name it. */
  readonly model: string | null
  /** The latest rounds and tool calls in order of their ends, and the number of earlier ones. */
  readonly steps: ReadonlyArray<RunStep>
  readonly stepsLeftOut: number
}

/** The spending of an attempt that starts now. */
export const noSpendingAt = (startedAt: number): Spending => ({ ...noSpending, startedAt })

export const noSpending: Spending = {
  startedAt: 0,
  usage: noUsage,
  rounds: 0,
  unanswered: 0,
  shown: noUsage,
  answeredRuns: [],
  contextTokens: 0,
  model: null,
  steps: [],
  stepsLeftOut: 0
}

/** Limits the size of the call that ends a long turn. */
const maxSteps = 60

export const stepEnded = (spending: Spending, step: RunStep): Spending => {
  const steps = [...spending.steps, step]
  const surplus = Math.max(0, steps.length - maxSteps)
  return { ...spending, steps: steps.slice(surplus), stepsLeftOut: spending.stepsLeftOut + surplus }
}

/** The tokens of both. */
export const addUsage = (a: Usage, b: Usage): Usage => ({
  inputTokens: a.inputTokens + b.inputTokens,
  outputTokens: a.outputTokens + b.outputTokens,
  cacheReadTokens: a.cacheReadTokens + b.cacheReadTokens,
  cacheWriteTokens: a.cacheWriteTokens + b.cacheWriteTokens
})

/** A request is sent. Without an answer it may still have cost something. */
export const requestSent = (spending: Spending): Spending => ({ ...spending, unanswered: spending.unanswered + 1 })

/** A model call of a request ended, as an event shows. */
export const modelCalled = (spending: Spending, runId: string, usage: Usage): Spending =>
  spending.answeredRuns.includes(runId)
    ? spending
    : { ...spending, shown: addUsage(spending.shown, usage), contextTokens: usage.inputTokens }

/** All tokens that the attempt is known to have spent. */
export const spentSoFar = ({ shown, usage }: Spending): Usage => addUsage(usage, shown)

const isCounted = ({ inputTokens, outputTokens }: Usage): boolean => inputTokens + outputTokens > 0

/**
 * The answer has the usage of all model calls of its request. If it counts none, what the events have shown remains.
 */
export const requestAnswered = (
  spending: Spending,
  reported: Usage,
  { model = null, runId }: { readonly model?: string | null; readonly runId?: string | undefined } = {}
): Spending => {
  const spent = isCounted(reported) ? reported : spending.shown
  return {
    ...spending,
    model: model ?? spending.model,
    usage: addUsage(spending.usage, spent),
    rounds: spending.rounds + 1,
    unanswered: spending.unanswered - 1,
    shown: noUsage,
    answeredRuns: runId === undefined ? spending.answeredRuns : [...spending.answeredRuns, runId],
    contextTokens: spent.inputTokens
  }
}

/** A request failed: with the usage that is known, at no cost, or at an unknown cost. */
export const requestFailed = (spending: Spending, failure: TurnFailure): Spending => {
  if ("usage" in failure && failure.usage !== undefined) return requestAnswered(spending, failure.usage)
  if (isAfterLastCall(failure) && isCounted(spending.shown)) return requestAnswered(spending, noUsage)
  return canHaveCost(failure) ? spending : { ...spending, unanswered: spending.unanswered - 1 }
}

/** Whether all model calls of the request had ended, so that the events have shown what it cost. */
const isAfterLastCall = ({ _tag }: TurnFailure): boolean => _tag === "TurnSilent" || _tag === "ContextOverflow"

/**
 * Whether the model may have worked for a request with this failure. A provider that refuses a call charges nothing.
 */
const canHaveCost = (failure: TurnFailure): boolean => {
  switch (failure._tag) {
    case "ConnectionLost":
    case "TurnTimeout":
    case "TurnAmbiguous":
    case "TurnUnreadable":
    case "TurnSilent":
    case "ContextOverflow":
    case "TurnStopped":
    case "GatewayRestarted":
      return true
    case "ProviderFailed":
      return failure.status >= 500 || failure.status === 408
    case "GatewayUnreachable":
    case "GatewayMisconfigured":
    case "UnknownAgent":
    case "TurnRefused":
      return false
  }
}

/** The usage to report to the control plane; none if no request can have cost anything. */
export const spentUsage = (
  spending: Spending,
  { model, price }: PricedModel,
  isDelta: boolean
): SpentUsage | undefined => {
  const { contextTokens, rounds, steps, stepsLeftOut, unanswered } = spending
  const spent = spentSoFar(spending)
  return rounds + unanswered === 0 && !isCounted(spent)
    ? undefined
    : { ...spent, rounds, unanswered, contextTokens, model, price, isDelta, steps, stepsLeftOut }
}
