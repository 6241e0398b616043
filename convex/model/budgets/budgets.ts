import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import { accountOf, activeAgents } from "../agents/agents.ts"
import { dayIn, endOf } from "../usage/days.ts"
import { latestDay, sumsOn } from "../usage/usage.ts"
import { sendBudgetNotice } from "./budgetNotices.ts"
import {
  amountOf,
  type Budget,
  budgetsOf,
  dollarsPerToken,
  drawOf,
  drawsOf,
  inPeriod,
  isOfAccount,
  maxRead,
  saveDraw,
  type SpendingBook,
  windowOf
} from "./spendingBook.ts"

/**
 * The share of a budget that work may use, by who caused it. Heartbeats and passive updates stop first, messages from
 * people last.
 */
const shares = { person: 1, agent: 0.9, passive: 0.8 } as const
export type Urgency = keyof typeof shares

/** From this share on, people are warned. */
const warningShare = 0.8
/** The maximum and minimum share of a budget that a run may spend before it asks for more. */
const maxAllowed = 0.01
const minAllowed = 0.001
/**
 * Between the two, the allowance is twice the agent's average per attempt. Before its first attempt this is the
 * average.
 */
const firstAttemptTokens = 20_000
/** How long work waits that is held only because other runs have reserved the rest. */
const reservedMs = 60_000
/**
 * The share of the account's budget that an agent draws at once. With 200 agents, at most 40 % sits in unused slices.
 */
const drawShare = 0.002
export const urgencyOf = ({ events, isRequired }: Pick<Doc<"notifications">, "events" | "isRequired">): Urgency => {
  if (!isRequired) return "passive"
  return events.some(({ actor }) => actor.type === "person") ? "person" : "agent"
}

/** The agent that wants to spend, and for what. */
export interface Spender {
  readonly agentId: Id<"agents">
  readonly taskId: Id<"tasks"> | undefined
  readonly urgency: Urgency
  /** Set if a running run asks for more: its session, and the price-weighted tokens that it has used. */
  readonly running?: { readonly session: Id<"sessions">; readonly used: number }
}

/** The number of price-weighted tokens that a run may spend (null: no limit), or the budget that refuses. */
export type Permission =
  | { readonly allowance: number | null }
  | { readonly refusedBy: Budget; readonly reason: string; readonly until: number | null }

/** How much of one budget is left for the spender, in price-weighted tokens. */
interface Headroom {
  readonly budget: Budget
  readonly window: string
  /** The budget's unit per price-weighted token. */
  readonly rate: number
  readonly tokens: number
  /** Like `tokens`, but ignores what running runs have reserved and not spent. */
  readonly unspent: number
  /** Spent and reserved, or drawn. */
  readonly used: number
  /**
   * For the account's budgets: what this agent has drawn and not used, what all agents have drawn, what this agent has
   * drawn, and the agent's row.
   */
  readonly drawn?: {
    readonly unused: number
    readonly total: number
    readonly agents: number
    readonly row: Doc<"budgetDraws"> | null
  }
}

const describe = ({ agentId, limit, period, taskId, unit }: Budget): string => {
  const of = agentId !== undefined ? "the agent's" : taskId !== undefined ? "the task's" : "the account's"
  const amount = unit === "usd" ? `$${limit}` : `${limit.toLocaleString("en-US")} price-weighted tokens`
  return `${of} budget of ${amount}${period === "lifetime" ? "" : ` a ${period}`}`
}

/**
 * Sets what agents have drawn of an account's budget to what they have spent and reserved in the current window, so
 * that unused draws return to the budget. Reads two ranges for each agent, and the rows of the draws.
 */
export const recountDraws = async (ctx: MutationCtx, book: SpendingBook, budget: Budget): Promise<void> => {
  if (!isOfAccount(budget)) return
  const window = windowOf(budget.period, book.day)
  const rows = await book.drawsOf(budget._id)
  const agents = await activeAgents(ctx, budget.accountId)
  const counted = { window, drawn: 0, spent: 0 }
  // Includes removed agents, whose rows keep what they spent.
  for (const agentId of new Set([...agents.map(({ _id }) => _id), ...rows.map((row) => row.agentId)])) {
    const { reserved, sums } = await book.spentBy(agentId, undefined)
    const rate = budget.unit === "tokens" ? 1 : dollarsPerToken(sums.total)
    const spent = amountOf(budget.unit, inPeriod(budget.period, sums))
    const drawn = spent + reserved * rate
    const row = rows.find((each) => each.agentId === agentId)
    const isChanged = row === undefined ? drawn > 0 : row.drawn !== drawn || row.window !== window
    if (isChanged) await saveDraw(ctx, budget._id, agentId, row ?? null, { window, drawn })
    counted.drawn += drawn
    counted.spent += spent
  }
  await ctx.db.patch("budgets", budget._id, counted)
  Object.assign(budget, counted)
  book.clearDraws()
}

/**
 * Draws from the account's budgets what a run spent beyond its allowance. Otherwise other agents' claims could still use
 * it until this agent's next claim. Reads the budgets and the agent's latest sums, and writes two rows of each budget.
 */
export const drawExcess = async (
  ctx: MutationCtx,
  { accountId, agentId }: Pick<Doc<"sessions">, "accountId" | "agentId">,
  tokens: number
): Promise<void> => {
  const budgets = (await budgetsOf(ctx, accountId)).filter(isOfAccount)
  if (budgets.length === 0) return
  const day = dayIn((await accountOf(ctx, accountId)).timeZone, Date.now())
  const { total } = sumsOn(day, await latestDay(ctx, agentId))
  for (const { _id, drawn, period, spent, unit, window: last } of budgets) {
    const window = windowOf(period, day)
    const amount = unit === "tokens" ? tokens : tokens * dollarsPerToken(total)
    const present = last === window ? { drawn, spent } : { drawn: 0, spent: 0 }
    await ctx.db.patch("budgets", _id, { ...present, window, drawn: present.drawn + amount })
    const row = await drawOf(ctx, _id, agentId)
    const before = row?.window === window ? row.drawn : 0
    await saveDraw(ctx, _id, agentId, row, { window, drawn: before + amount })
  }
}

/** Returns unused draws to the budget, at most once a minute, and not if all of it is spent. Returns whether it did. */
const reclaimDraws = async (
  ctx: MutationCtx,
  book: SpendingBook,
  { budget, unspent, window }: Headroom
): Promise<boolean> => {
  if (budget.window === window && (unspent < 1 || book.now - budget.countedAt < reservedMs)) return false
  await recountDraws(ctx, book, budget)
  await ctx.db.patch("budgets", budget._id, { countedAt: book.now })
  Object.assign(budget, { countedAt: book.now })
  return true
}

/**
 * How many tokens a run may spend before it asks again: a small share of each budget that applies to it, so that the
 * total of spent and reserved tokens stays within every limit. Draws slices of the account's budgets. Reads the budgets
 * once per SpendingBook. If a budget applies, also reads three ranges for each agent and two for a task's budget; once
 * a minute, if the account's budget is fully drawn, three ranges for each agent of the account.
 */
export const permit = async (ctx: MutationCtx, book: SpendingBook, spender: Spender): Promise<Permission> => {
  const { agentId, running, taskId, urgency } = spender
  const { account, day, now } = book
  const budgets = await book.budgetsFor(agentId, taskId)
  if (budgets.length === 0) return { allowance: null }
  const known = await book.agent(agentId, running?.session)
  const { sums } = known
  const used = running?.used ?? 0
  const reserved = used + known.reserved
  const dollars = dollarsPerToken(sums.total)
  const headrooms: Array<Headroom> = []
  for (const budget of budgets) {
    const rate = budget.unit === "tokens" ? 1 : dollars
    const window = windowOf(budget.period, day)
    const cap = budget.limit * shares[urgency]
    if (budget.taskId !== undefined) {
      const { reserved: others, spent } = await book.task(budget, budget.taskId, running?.session)
      const all = spent + (used + others) * rate
      const unspent = (cap - spent) / rate - used
      headrooms.push({ budget, window, rate, tokens: (cap - all) / rate, unspent, used: all })
    } else if (budget.agentId !== undefined) {
      const spent = amountOf(budget.unit, inPeriod(budget.period, sums))
      const all = spent + reserved * rate
      const unspent = (cap - spent) / rate - used
      headrooms.push({ budget, window, rate, tokens: (cap - all) / rate, unspent, used: all })
    } else {
      const readHeadroom = async (): Promise<Headroom> => {
        const { row } = await book.drawn(budget._id, agentId)
        const isPresent = budget.window === window
        const drawn = row?.window === window ? row.drawn : 0
        const before = isPresent ? budget.drawn : 0
        const drawnUnused = drawn - amountOf(budget.unit, inPeriod(budget.period, sums)) - reserved * rate
        // If the limit was lowered, unused draws of the higher limit return to the budget.
        const returned = before > budget.limit ? Math.max(0, drawnUnused) : 0
        const total = before - returned
        const unused = drawnUnused - returned
        const left = Math.max(0, cap - total)
        // Above their share, agents' own work may not use earlier draws either.
        const tokens = urgency !== "person" && left === 0 ? 0 : (unused + left) / rate
        const unspent = (cap - (isPresent ? budget.spent : 0)) / rate - used
        const draws = { unused, total, agents: drawn - returned, row }
        return { budget, window, rate, tokens, unspent, used: total, drawn: draws }
      }
      const headroom = await readHeadroom()
      headrooms.push(headroom.tokens < 1 && (await reclaimDraws(ctx, book, headroom)) ? await readHeadroom() : headroom)
    }
  }
  const { attempts, estimatedTokens, weightedTokens } = sums.total
  // Estimates hold allowances: counted here, each crash would make the next allowance larger.
  const reported = weightedTokens - estimatedTokens
  const wanted = 2 * (reported > 0 ? reported / attempts : firstAttemptTokens)
  const sliceOf = ({ budget: { limit }, rate }: Headroom) =>
    Math.max(1, Math.min((limit * maxAllowed) / rate, Math.max((limit * minAllowed) / rate, wanted)))
  const extra = Math.floor(Math.min(...headrooms.map((each) => Math.min(each.tokens, sliceOf(each)))))
  const refusing = headrooms.filter(({ tokens }) => tokens < 1)
  if (extra < 1) {
    const [first] = refusing
    if (first === undefined) return { allowance: null }
    const exhausted = refusing.filter(({ unspent }) => unspent < 1)
    if (exhausted.length === 0) {
      const reason = `other runs have reserved the rest of ${describe(first.budget)}`
      return { refusedBy: first.budget, reason, until: now + reservedMs }
    }
    const ends = exhausted.map(({ budget }) =>
      budget.period === "lifetime" ? null : endOf(budget.period, account.timeZone, now)
    )
    const until = ends.includes(null) ? null : Math.max(...ends.filter((end) => end !== null))
    const { budget, window } = exhausted[ends.indexOf(until)] ?? first
    const share = Math.round(100 * shares[urgency])
    const reason = `${share} % of ${describe(budget)} is used`
    await sendBudgetNotice(ctx, budget, { window, kind: "stopped", taskId, what: describe(budget) })
    return { refusedBy: budget, reason, until }
  }
  for (const { budget, drawn, rate, used: spent, window } of headrooms) {
    let present = spent
    if (drawn !== undefined && drawn.unused < extra * rate) {
      const left = budget.limit * shares[urgency] - drawn.total
      const amount = Math.min(left, Math.max(budget.limit * drawShare, extra * rate - drawn.unused))
      present = drawn.total + amount
      const counted = { window, drawn: present, spent: budget.window === window ? budget.spent : 0 }
      await ctx.db.patch("budgets", budget._id, counted)
      Object.assign(budget, counted)
      const change = { window, drawn: drawn.agents + amount }
      await saveDraw(ctx, budget._id, agentId, drawn.row, change)
      const entry = await book.drawn(budget._id, agentId)
      entry.row = drawn.row === null ? await drawOf(ctx, budget._id, agentId) : { ...drawn.row, ...change }
    }
    if (present >= budget.limit * warningShare) {
      await sendBudgetNotice(ctx, budget, { window, kind: "warned", taskId, what: describe(budget) })
    }
  }
  known.reserved += extra
  return { allowance: used + extra }
}

/**
 * What was spent of a budget in its current window, in its unit. Reads the latest sums of these agents, or of the task.
 */
export const spentOf = async (
  ctx: Pick<QueryCtx, "db">,
  budget: Budget,
  agents: ReadonlyArray<Doc<"agents">>
): Promise<number> => {
  const { taskId } = budget
  const day = dayIn((await accountOf(ctx, budget.accountId)).timeZone, Date.now())
  const rows: Array<Pick<Doc<"usageTotals">, "day" | "today" | "month" | "total">> = []
  if (taskId !== undefined) {
    const ofTask = await ctx.db
      .query("usageTotals")
      .withIndex("by_task", (q) => q.eq("taskId", taskId))
      .take(maxRead)
    rows.push(...ofTask)
  } else {
    for (const { _id } of agents) {
      if (budget.agentId !== undefined && budget.agentId !== _id) continue
      const latest = await latestDay(ctx, _id)
      if (latest !== null) rows.push(latest)
    }
  }
  return rows.reduce((sum, row) => sum + amountOf(budget.unit, inPeriod(budget.period, sumsOn(day, row))), 0)
}

/** Deletes the budget and its draws. Reads at most one row for each agent, removed ones included. */
export const deleteBudget = async (ctx: MutationCtx, budgetId: Id<"budgets">): Promise<void> => {
  await ctx.db.delete("budgets", budgetId)
  for (const { _id } of await drawsOf(ctx, budgetId)) await ctx.db.delete("budgetDraws", _id)
}
