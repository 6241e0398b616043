import type { Infer } from "convex/values"
import { costOf, weightedTokensOf } from "../../src/domain/TokenPrice.ts"
import type { Doc, Id } from "../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../_generated/server.js"
import type { attemptUsage, spending, usageSum } from "../schema.ts"
import { accountOf } from "./agents.ts"
import { dayIn, monthOf } from "./days.ts"
import { refusal } from "./refusal.ts"
import { endLease, type LeasedSession, type LeaseEnd } from "./sessions.ts"

export type Spending = Infer<typeof spending>
export type AttemptUsage = Infer<typeof attemptUsage>
export type UsageSum = Infer<typeof usageSum>

const maxPrices = 200
/** Dollars per million tokens. */
const maxPrice = 10_000

/** Fails with `invalid` unless each price is possible and each model is named once, and with `limit` for too many. */
export const checkPrices = (prices: Doc<"accounts">["prices"]): void => {
  if (prices.length > maxPrices) throw refusal("limit", `An account has prices of at most ${maxPrices} models.`)
  for (const { model, price } of prices) {
    if (model.trim() === "" || prices.filter((each) => each.model === model).length > 1) {
      throw refusal("invalid", "Name each model once, and * for all others.")
    }
    if (!Object.values(price).every((dollars) => dollars >= 0 && dollars <= maxPrice)) {
      throw refusal("invalid", `A price is 0 to ${maxPrice} dollars per million tokens: correct that of ${model}.`)
    }
  }
}

/** Input tokens of a request whose session has none before it. */
const firstRequestTokens = 10_000

/** Whose attempt it is. */
export type Attempt = Pick<Doc<"attempts">, "accountId" | "agentId" | "kind" | "run" | "epoch"> & {
  readonly taskId: Id<"tasks"> | undefined
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

/** Running sums as of that day: what belongs to an earlier day or month is left out. */
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

/** Adds to the sums of the agent, and to those of its work on the task. Reads and writes one row of each. */
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

/** The report with an estimate for each request that was not answered. */
const usageOf = (
  account: Doc<"accounts">,
  report: Spending,
  lastRequest: Doc<"sessions">["lastRequest"]
): AttemptUsage => {
  const { contextTokens, model: reported, price: given, unanswered, ...rest } = report
  const model = reported ?? lastRequest?.model ?? null
  const size = contextTokens > 0 ? contextTokens : (lastRequest?.inputTokens ?? firstRequestTokens)
  const usage = { ...rest, inputTokens: rest.inputTokens + unanswered * size }
  const priced = (name: string | null) => account.prices.find((each) => each.model === name)?.price
  const earlier = reported === null ? lastRequest?.price : null
  const price = given ?? priced(model) ?? earlier ?? priced("*") ?? null
  const cost = price === null ? null : costOf(usage, price)
  return { ...usage, model, weightedTokens: weightedTokensOf(usage), cost, isEstimated: unanswered > 0 }
}

/** What is recorded of an attempt whose process is gone: one request. */
const oneRequest: Spending = {
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  rounds: 0,
  unanswered: 1,
  contextTokens: 0,
  model: null,
  price: null
}

/**
 * Records what an attempt spent, once: a report replaces an estimate, and nothing replaces an exact record. `unknown`
 * records an estimate unless something is known. Reads four rows and writes three.
 */
export const recordUsage = async (
  ctx: MutationCtx,
  attempt: Attempt,
  session: Pick<Doc<"sessions">, "lastRequest">,
  report: Spending | "unknown"
): Promise<void> => {
  const { accountId, agentId, epoch, kind, run, taskId } = attempt
  const found = await ctx.db
    .query("attempts")
    .withIndex("by_run", (q) => q.eq("run", run).eq("epoch", epoch))
    .unique()
  if (found !== null && (report === "unknown" || !found.usage.isEstimated)) return
  const now = Date.now()
  const account = await accountOf(ctx, accountId)
  const usage = usageOf(account, report === "unknown" ? oneRequest : report, session.lastRequest)
  const day = dayIn(account.timeZone, now)
  if (found === null) {
    const whose = { accountId, agentId, kind, run, epoch, ...(taskId === undefined ? {} : { taskId }) }
    await ctx.db.insert("attempts", { ...whose, endedAt: now, usage })
  } else {
    await ctx.db.patch("attempts", found._id, { usage })
    await addToSums(ctx, attempt, day, found.usage.model, addUsage(noUsage, sumOf(found.usage), -1))
  }
  await addToSums(ctx, attempt, day, usage.model, sumOf(usage))
}

/** The attempt that holds the session. */
const attemptOf = ({ accountId, agentId, lease }: LeasedSession): Attempt => ({
  accountId,
  agentId,
  kind: lease.kind,
  run: lease.run,
  epoch: lease.epoch,
  taskId: lease.taskId
})

/**
 * Records what the attempt spent and frees its session; an attempt without a request has no usage. `end` is as for
 * endLease.
 */
export const endAttempt = async (
  ctx: MutationCtx,
  session: LeasedSession,
  report: Spending | "unknown" | undefined,
  end: LeaseEnd
): Promise<void> => {
  // A run may have spent all that was reserved for it.
  const { allowance } = session.lease
  const reserved =
    allowance === undefined
      ? {}
      : { lastRequest: { model: null, price: null, ...session.lastRequest, inputTokens: allowance } }
  if (report !== undefined) {
    const known = report === "unknown" ? { ...session, ...reserved } : session
    await recordUsage(ctx, attemptOf(session), known, report)
  }
  const isAnswered = report !== undefined && report !== "unknown" && report.contextTokens > 0
  await endLease(
    ctx,
    isAnswered
      ? { ...session, lastRequest: { inputTokens: report.contextTokens, model: report.model, price: report.price } }
      : session,
    end
  )
}
