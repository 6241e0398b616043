/** What attempts spent, as the control plane records it. */
import type { ArgumentsOf, functions } from "../../src/domain/controlPlane/ControlPlaneFunctions.ts"
import { weightedTokensOf } from "../../src/domain/shared/TokenPrice.ts"
import type { Mistake } from "./queueState.ts"

type Spent = ArgumentsOf<typeof functions.recordUsage>["usage"]

/** One attempt of a run. */
export interface SpentAttempt {
  readonly run: string
  readonly session: string
  readonly epoch: number
}

/** The record of an attempt in price-weighted tokens, or an estimate of them. */
export interface UsageRecord extends SpentAttempt {
  tokens: number
  isEstimated: boolean
  /** The window of the account's budget to which it belongs. */
  readonly window: number
  /** What it was allowed, and the size by which a request was estimated. */
  readonly allowance: number | null
  readonly request: number
}

/** The account's budget in price-weighted tokens, and how long its windows are. */
export interface Budget {
  readonly limit: number
  readonly windowMillis: number
}

/** Which share of the budget work may use. */
export const shares = { person: 1, own: 0.9, passive: 0.8 } as const

/** Input tokens of a request whose session has none before it. */
const FIRST_REQUEST = 10_000
/** Work that waits only for what other runs have reserved is tried again after so long. */
const RESERVED = 60_000

/** The records of one account, and their running sum. */
export class UsageModel {
  readonly records = new Map<string, UsageRecord>()
  /** By session: input tokens of its last answered request. */
  private readonly sizes = new Map<string, number>()
  total = 0
  budget: Budget | null = null
  private readonly mistakes: ReadonlySet<Mistake>

  constructor(mistakes: ReadonlySet<Mistake>) {
    this.mistakes = mistakes
  }

  window(now: number): number {
    return this.budget === null ? -1 : Math.floor(now / this.budget.windowMillis)
  }

  /** When the present window ends. */
  windowEnd(now: number): number {
    return this.budget === null ? now : (this.window(now) + 1) * this.budget.windowMillis
  }

  spentIn(window: number): number {
    return [...this.records.values()].reduce((sum, each) => sum + (each.window === window ? each.tokens : 0), 0)
  }

  /** How much more may be spent now if this much is reserved; null without a budget, 0 if nothing. */
  permit(now: number, share: number, reserved: number): number | null {
    if (this.budget === null) return null
    const known = this.mistakes.has("a budget without reservations") ? 0 : reserved
    const left = this.budget.limit * share - this.spentIn(this.window(now)) - known
    return Math.max(0, Math.floor(Math.min(left, Math.max(1, this.budget.limit / 100))))
  }

  /** Until when work waits: for a minute if no more than others' reservations is in its way, otherwise for the window. */
  heldUntil(now: number, share: number): number {
    const isReserved = this.permit(now, share, 0) !== 0
    const isForgiving = !this.mistakes.has("a reservation that holds work until the window ends")
    return isReserved && isForgiving ? now + RESERVED : this.windowEnd(now)
  }

  /** Records an attempt once: a report replaces an estimate, nothing replaces what is exact. */
  record(now: number, attempt: SpentAttempt, report: Spent | "unknown", allowance: number | null): void {
    const key = `${attempt.run} ${attempt.epoch}`
    const found = this.records.get(key)
    if (found !== undefined && (report === "unknown" || !found.isEstimated)) return
    const unanswered = report === "unknown" ? 1 : report.unanswered
    const own = report === "unknown" ? 0 : report.contextTokens
    const size = own > 0 ? own : (this.sizes.get(attempt.session) ?? FIRST_REQUEST)
    const isForgetful = this.mistakes.has("an estimate without the request that may go beyond the allowance")
    const most = isForgetful && allowance !== null ? allowance - size : (allowance ?? 0)
    const tokens = (report === "unknown" ? most : weightedTokensOf(report)) + unanswered * size
    if (!this.mistakes.has("a report counted next to its estimate")) this.total -= found?.tokens ?? 0
    this.total += tokens
    const { window = this.window(now), allowance: allowed = allowance } = found ?? {}
    const request = unanswered > 0 ? size : 0
    this.records.set(key, { ...attempt, tokens, isEstimated: unanswered > 0, window, allowance: allowed, request })
  }

  /** An attempt ended under its lease. */
  end(now: number, attempt: SpentAttempt, report: Spent | "unknown" | undefined, allowance: number | null): void {
    if (report === undefined) return
    this.record(now, attempt, report, allowance)
    if (report !== "unknown" && report.contextTokens > 0) this.sizes.set(attempt.session, report.contextTokens)
  }
}
