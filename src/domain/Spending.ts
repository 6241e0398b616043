import type { PricedModel } from "./ModelPrice.ts"
import type { SpentUsage, Usage } from "./Run.ts"
import { noUsage } from "./Run.ts"
import type { TurnFailure } from "./TurnFailure.ts"

/** What an attempt has spent so far; grows while its turn runs, whatever becomes of it. */
export interface Spending {
  readonly usage: Usage
  /** Requests that were answered. */
  readonly rounds: number
  /** Requests whose end is not known yet, or that failed although the model may have worked. */
  readonly unanswered: number
  /** Input tokens of the last answered request. */
  readonly contextTokens: number
}

export const noSpending: Spending = { usage: noUsage, rounds: 0, unanswered: 0, contextTokens: 0 }

const sum = (a: Usage, b: Usage): Usage => ({
  inputTokens: a.inputTokens + b.inputTokens,
  outputTokens: a.outputTokens + b.outputTokens,
  cacheReadTokens: a.cacheReadTokens + b.cacheReadTokens,
  cacheWriteTokens: a.cacheWriteTokens + b.cacheWriteTokens
})

/** A request is sent: if nothing is heard of it, it may have cost something. */
export const requestSent = (spending: Spending): Spending => ({ ...spending, unanswered: spending.unanswered + 1 })

export const requestAnswered = ({ rounds, unanswered, usage }: Spending, spent: Usage): Spending => ({
  usage: sum(usage, spent),
  rounds: rounds + 1,
  unanswered: unanswered - 1,
  contextTokens: spent.inputTokens
})

/** A request failed: with the usage that the gateway reported, for nothing, or at an unknown cost. */
export const requestFailed = (spending: Spending, failure: TurnFailure): Spending => {
  if ("usage" in failure && failure.usage !== undefined) return requestAnswered(spending, failure.usage)
  return canHaveCost(failure) ? spending : { ...spending, unanswered: spending.unanswered - 1 }
}

/** Whether the model may have worked for a request that failed so. A provider that refuses a call charges nothing. */
const canHaveCost = (failure: TurnFailure): boolean => {
  switch (failure._tag) {
    case "ConnectionLost":
    case "TurnTimeout":
    case "TurnAmbiguous":
    case "TurnUnreadable":
    case "TurnSilent":
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

/** What the control plane is told; nothing if no request can have cost anything. */
export const spentUsage = (
  { contextTokens, rounds, unanswered, usage }: Spending,
  { model, price }: PricedModel
): SpentUsage | undefined =>
  rounds + unanswered === 0 ? undefined : { ...usage, rounds, unanswered, contextTokens, model, price }
