import type { Infer } from "convex/values"
import { costOf, weightedTokensOf } from "../../../src/domain/shared/TokenPrice.ts"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import type { attemptEnd, attemptUsage, spending } from "../../tables/attempts.ts"
import type { usageSum } from "../../tables/usage.ts"
import { refusal } from "../access/refusal.ts"
import { accountOf } from "../agents/agents.ts"
import { cut } from "../database/cut.ts"
import type { Lease, LeasedSession } from "../queue/sessions.ts"
import { type Trace, traceOf } from "../runs/traces.ts"
import { dayIn, monthOf } from "./days.ts"

export type Spending = Infer<typeof spending>

/** The model of a message that a run writes; nothing if it is not known. */
export const modelOf = (report: Spending | undefined): { readonly model?: string } =>
  report === undefined || report.model === null ? {} : { model: report.model }
export type AttemptUsage = Infer<typeof attemptUsage>
export type UsageSum = Infer<typeof usageSum>

const maxPrices = 200
/** Dollars per million tokens. */
const maxPrice = 10_000

/**
 * Fails with `invalid` unless each price is in range and each model is named once, and with `limit` for too many
 * prices.
 */
export const checkPrices = (prices: Doc<"accounts">["prices"]): void => {
  if (prices.length > maxPrices)
    throw refusal("limit", `An account has prices of at most ${maxPrices} models. Remove some.`)
  for (const { model, price } of prices) {
    if (model.trim() === "" || prices.filter((each) => each.model === model).length > 1) {
      throw refusal("invalid", "A model has no name or is named twice. Name each model once, and * for all others.")
    }
    if (!Object.values(price).every((dollars) => dollars >= 0 && dollars <= maxPrice)) {
      throw refusal("invalid", `A price is 0 to ${maxPrice} dollars per million tokens. Correct the price of ${model}.`)
    }
  }
}

/** The estimated input tokens of a request in a session without an earlier one. */
const firstRequestTokens = 10_000

/** Identifies an attempt. */
export type Attempt = Pick<Doc<"attempts">, "accountId" | "agentId" | "kind" | "run" | "epoch"> & {
  readonly taskId: Id<"tasks"> | undefined
  /** Undefined if its lease has ended. */
  readonly lease: Lease | undefined
}

/** How an attempt ended. */
export interface AttemptEnd extends Trace {
  readonly end: Infer<typeof attemptEnd>
  readonly reason?: string
}

const maxReason = 300
const maxSteps = 60
const maxStepText = 64

/** The steps of the attempt's turn. Nothing is known about a process that is gone. */
const timelineOf = (
  report: Spending | "unknown" | undefined
): Pick<Doc<"attempts">, "isDelta" | "steps" | "stepsLeftOut"> => {
  if (report === undefined || report === "unknown") return { steps: [], stepsLeftOut: 0 }
  const { isDelta, steps, stepsLeftOut } = report
  const short = (text: string) => cut(text, maxStepText)
  return {
    isDelta,
    steps: steps.slice(-maxSteps).map((step) => {
      const error = step.error === null ? null : short(step.error)
      return step.kind === "tool" ? { ...step, tool: short(step.tool), error } : { ...step, error }
    }),
    stepsLeftOut: stepsLeftOut + Math.max(0, steps.length - maxSteps)
  }
}

export const noUsage: UsageSum = {
  attempts: 0,
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  weightedTokens: 0,
  estimatedTokens: 0,
  cost: 0,
  unpricedTokens: 0
}

export const addUsage = (left: UsageSum, right: UsageSum, sign: 1 | -1 = 1): UsageSum => ({
  attempts: left.attempts + sign * right.attempts,
  inputTokens: left.inputTokens + sign * right.inputTokens,
  outputTokens: left.outputTokens + sign * right.outputTokens,
  cacheReadTokens: left.cacheReadTokens + sign * right.cacheReadTokens,
  cacheWriteTokens: left.cacheWriteTokens + sign * right.cacheWriteTokens,
  weightedTokens: left.weightedTokens + sign * right.weightedTokens,
  estimatedTokens: left.estimatedTokens + sign * right.estimatedTokens,
  cost: left.cost + sign * right.cost,
  unpricedTokens: left.unpricedTokens + sign * right.unpricedTokens
})

const sumOf = ({ cost, isEstimated, weightedTokens, ...usage }: AttemptUsage): UsageSum => ({
  attempts: 1,
  inputTokens: usage.inputTokens,
  outputTokens: usage.outputTokens,
  cacheReadTokens: usage.cacheReadTokens,
  cacheWriteTokens: usage.cacheWriteTokens,
  weightedTokens,
  estimatedTokens: isEstimated ? weightedTokens : 0,
  cost: cost ?? 0,
  unpricedTokens: cost === null ? weightedTokens : 0
})

/** The running sums as of that day, without what belongs to an earlier day or month. */
export const sumsOn = (day: string, sums: Pick<Doc<"usageTotals">, "day" | "today" | "month" | "total"> | null) => {
  const { month, today, total } = sums ?? { month: noUsage, today: noUsage, total: noUsage }
  if (sums !== null && sums.day >= day) return { day: sums.day, today, month, total }
  return { day, today: noUsage, month: sums !== null && monthOf(sums.day) === monthOf(day) ? month : noUsage, total }
}

/** The agent's latest day with usage, whose sums are current. Reads one row. */
export const latestDay = (ctx: Pick<QueryCtx, "db">, agentId: Id<"agents">): Promise<Doc<"usageDays"> | null> =>
  ctx.db
    .query("usageDays")
    .withIndex("by_agent", (q) => q.eq("agentId", agentId))
    .order("desc")
    .first()

type RunningSums = ReturnType<typeof sumsOn>

const plus = ({ day, month, today, total }: RunningSums, sum: UsageSum): RunningSums => ({
  day,
  today: addUsage(today, sum),
  month: addUsage(month, sum),
  total: addUsage(total, sum)
})

/** Adds to the sums of the agent, and of its work on the task. Reads and writes one row of each. */
const addToSums = async (
  ctx: MutationCtx,
  { accountId, agentId, taskId }: Attempt,
  day: string,
  model: string | null,
  sum: UsageSum
): Promise<void> => {
  const latest = await latestDay(ctx, agentId)
  const sums = plus(sumsOn(day, latest), sum)
  const models = latest === null || latest.day < day ? [] : latest.models
  const isKnown = models.some((each) => each.model === model)
  const changed = isKnown
    ? models.map((each) => (each.model === model ? { model, sum: addUsage(each.sum, sum) } : each))
    : [...models, { model, sum }]
  if (latest === null || latest.day < day) {
    await ctx.db.insert("usageDays", { accountId, agentId, ...sums, models: changed })
  } else await ctx.db.patch("usageDays", latest._id, { ...sums, models: changed })
  if (taskId === undefined) return
  const total = await ctx.db
    .query("usageTotals")
    .withIndex("by_task", (q) => q.eq("taskId", taskId).eq("agentId", agentId))
    .unique()
  const totals = plus(sumsOn(day, total), sum)
  if (total === null) await ctx.db.insert("usageTotals", { accountId, agentId, taskId, ...totals })
  else await ctx.db.patch("usageTotals", total._id, totals)
}

/** The reported usage, with an estimate for each request that was not answered. */
const usageOf = (
  account: Doc<"accounts">,
  report: Spending,
  lastRequest: Doc<"sessions">["lastRequest"]
): AttemptUsage => {
  const { contextTokens, model: reported, price: given, unanswered } = report
  const { cacheReadTokens, cacheWriteTokens, inputTokens, outputTokens, rounds } = report
  const model = reported ?? lastRequest?.model ?? null
  const size = contextTokens > 0 ? contextTokens : (lastRequest?.inputTokens ?? firstRequestTokens)
  const counted = inputTokens + unanswered * size
  const usage = { inputTokens: counted, outputTokens, cacheReadTokens, cacheWriteTokens, rounds }
  const priced = (name: string | null) => account.prices.find((each) => each.model === name)?.price
  const earlier = reported === null ? lastRequest?.price : null
  const price = given ?? priced(model) ?? earlier ?? priced("*") ?? null
  const cost = price === null ? null : costOf(usage, price)
  return { ...usage, model, weightedTokens: weightedTokensOf(usage), cost, isEstimated: unanswered > 0 }
}

/**
 * The usage recorded for an attempt whose process is gone: its whole allowance, and one request that may have exceeded
 * it. With a smaller estimate each crash could spend tokens that no budget counts.
 */
const worstCaseSpending = (lease: LeasedSession["lease"] | undefined): Spending => ({
  inputTokens: lease?.allowance ?? 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  rounds: 0,
  unanswered: 1,
  contextTokens: 0,
  model: null,
  price: null,
  isDelta: false,
  steps: [],
  stepsLeftOut: 0
})

/**
 * Records what an attempt did and spent, once. A report replaces an estimate; nothing replaces a report. `unknown`
 * records an estimate unless there is a record; without a report nothing was spent. Answers the price-weighted tokens of
 * the record, 0 if it made none. Reads four rows and writes three.
 */
export const recordAttempt = async (
  ctx: MutationCtx,
  attempt: Attempt,
  session: Pick<Doc<"sessions">, "lastRequest">,
  report: Spending | "unknown" | undefined,
  { end, reason, traceId }: AttemptEnd
): Promise<number> => {
  const { accountId, agentId, epoch, kind, lease, run, taskId } = attempt
  const found = await ctx.db
    .query("attempts")
    .withIndex("by_run", (q) => q.eq("run", run).eq("epoch", epoch))
    .unique()
  const estimate = found?.usage?.isEstimated === true ? found.usage : null
  if (found !== null && (estimate === null || report === "unknown" || report === undefined)) return 0
  const now = Date.now()
  const identity = { accountId, agentId, kind, run, epoch, ...(taskId === undefined ? {} : { taskId }) }
  const claim = lease === undefined ? {} : { claim: { at: lease.claimedAt, runtimeId: lease.runtimeId } }
  const ended = { endedAt: now, end, ...(reason === undefined ? {} : { reason: cut(reason, maxReason) }) }
  const timeline = { ...timelineOf(report), ...traceOf(traceId === undefined ? {} : { traceId }) }
  if (report === undefined) {
    await ctx.db.insert("attempts", { ...identity, ...claim, ...ended, ...timeline, usage: null })
    return 0
  }
  const account = await accountOf(ctx, accountId)
  const usage = usageOf(account, report === "unknown" ? worstCaseSpending(lease) : report, session.lastRequest)
  const day = dayIn(account.timeZone, now)
  if (found === null) await ctx.db.insert("attempts", { ...identity, ...claim, ...ended, ...timeline, usage })
  else {
    // The process reported, so it had not ended.
    await ctx.db.patch("attempts", found._id, { ...timeline, usage, ...(found.end === "process_ended" ? { end } : {}) })
  }
  if (estimate !== null) await addToSums(ctx, attempt, day, estimate.model, addUsage(noUsage, sumOf(estimate), -1))
  await addToSums(ctx, attempt, day, usage.model, sumOf(usage))
  return usage.weightedTokens
}
