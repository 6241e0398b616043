import type { Infer } from "convex/values"
import type { Doc, Id } from "../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../_generated/server.js"
import type { budgetPeriod, hold } from "../schema.ts"
import { accountOf, activeAgents } from "./agents.ts"
import { tellOf } from "./budgetNotices.ts"
import { dayIn, endOf, monthOf } from "./days.ts"
import { offer } from "./sessions.ts"
import { latestDay, sumsOn, type UsageSum } from "./usage.ts"

type Budget = Doc<"budgets">
export type Hold = Infer<typeof hold>
type Period = Infer<typeof budgetPeriod>

/** Why work is done: it may use this share of a budget. Heartbeats and passive updates stop first, people's messages last. */
const shares = { person: 1, own: 0.9, passive: 0.8 } as const
export type Urgency = keyof typeof shares

/** From this share on people are warned. */
const warningShare = 0.8
/** A run may spend this share of a budget at most before it asks for more, and is allowed this share at least. */
const mostAllowed = 0.01
const leastAllowed = 0.001
/** In between it is allowed twice what the agent's attempts spend on average: this much before its first. */
const firstAttemptTokens = 20_000
/** An agent draws this share of the account's budget at once: of 200 agents the unused slices are at most 40 %. */
const drawShare = 0.002
/** Dollars per price-weighted token where no price is known. */
const assumedPrice = 3 / 1_000_000
/** The most runs of an agent or task at once whose reservations are read, and agents of a task. */
const mostRead = 200

export const urgencyOf = ({ events, isRequired }: Pick<Doc<"notifications">, "events" | "isRequired">): Urgency => {
  if (!isRequired) return "passive"
  return events.some(({ actor }) => actor.type === "person") ? "person" : "own"
}

/** The name of a budget's present window. */
const windowOf = (period: Period, day: string): string =>
  period === "day" ? day : period === "month" ? monthOf(day) : "all"

const inPeriod = (period: Period, sums: ReturnType<typeof sumsOn>): UsageSum =>
  period === "day" ? sums.today : period === "month" ? sums.month : sums.total

/** What was spent in the budget's unit; tokens without a price count as expensive. */
export const amountOf = (unit: Budget["unit"], { cost, unpricedTokens, weightedTokens }: UsageSum): number =>
  unit === "tokens" ? weightedTokens : cost + unpricedTokens * assumedPrice

/** What a price-weighted token has cost. A model that costs nothing has a price all the same: slices stay finite. */
const dollarsPerToken = (total: UsageSum): number =>
  total.weightedTokens > 0
    ? Math.max(amountOf("usd", total) / total.weightedTokens, assumedPrice / 1_000)
    : assumedPrice

const drawOf = (
  ctx: Pick<QueryCtx, "db">,
  budgetId: Id<"budgets">,
  agentId: Id<"agents">
): Promise<Doc<"budgetDraws"> | null> =>
  ctx.db
    .query("budgetDraws")
    .withIndex("by_budget", (q) => q.eq("budgetId", budgetId).eq("agentId", agentId))
    .unique()

/** The most budgets that an account has. */
export const maxBudgets = 200

/** All budgets of the account: one range, at most 200 rows. */
export const budgetsOf = (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<Array<Budget>> =>
  ctx.db
    .query("budgets")
    .withIndex("by_scope", (q) => q.eq("accountId", accountId))
    .take(maxBudgets)

/** What live runs of these sessions may still spend, without the one that asks. */
const reservedBy = (sessions: ReadonlyArray<Doc<"sessions">>, except: Id<"sessions"> | undefined): number =>
  sessions.reduce((sum, { _id, lease }) => sum + (_id === except ? 0 : (lease?.allowance ?? 0)), 0)

/** Live deliveries of the agent: its heartbeat never runs next to another run. */
const leasedOfAgent = (ctx: Pick<QueryCtx, "db">, agentId: Id<"agents">): Promise<Array<Doc<"sessions">>> =>
  ctx.db
    .query("sessions")
    .withIndex("by_agent_expiry", (q) => q.eq("agentId", agentId).eq("kind", "notification").gt("expiresAt", 0))
    .take(mostRead)

/** Who wants to spend, and for what. */
export interface Spender {
  readonly agentId: Id<"agents">
  readonly taskId: Id<"tasks"> | undefined
  readonly urgency: Urgency
  /** A run that asks for more: its session, and the price-weighted tokens that it has used. */
  readonly running?: { readonly session: Id<"sessions">; readonly used: number }
}

/** A run may spend this many price-weighted tokens (null: without limit), or nothing, because of a budget. */
export type Permission =
  | { readonly allowance: number | null }
  | { readonly refusedBy: Budget; readonly reason: string; readonly until: number | null }

/** How much of one budget is left for the spender, in price-weighted tokens. */
interface Room {
  readonly budget: Budget
  readonly window: string
  /** The budget's unit by price-weighted token. */
  readonly rate: number
  readonly tokens: number
  /** Spent and reserved, or drawn. */
  readonly used: number
  /** Of the account's budgets: what the agent has drawn and not used, what all and it have drawn, and its row. */
  readonly drawn?: {
    readonly own: number
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

/** What a transaction has read of budgets and of what agents spent, kept in line with what it writes. */
export class SpendingBook {
  private budgets: Promise<Array<Budget>> | undefined
  private readonly agents = new Map<string, Promise<{ readonly sums: ReturnType<typeof sumsOn>; reserved: number }>>()
  private readonly draws = new Map<string, Promise<{ row: Doc<"budgetDraws"> | null }>>()
  private readonly ctx: MutationCtx
  readonly account: Pick<Doc<"accounts">, "_id" | "timeZone">
  readonly now: number
  readonly day: string
  /** Counts the ranges that are read. */
  private readonly note: (intervals: number) => void

  constructor(
    ctx: MutationCtx,
    account: Pick<Doc<"accounts">, "_id" | "timeZone">,
    now: number,
    note: (intervals: number) => void = () => {}
  ) {
    this.ctx = ctx
    this.account = account
    this.now = now
    this.day = dayIn(account.timeZone, now)
    this.note = note
  }

  /** The budgets that concern the work of an agent on a task. */
  async budgetsFor(agentId: Id<"agents">, taskId: Id<"tasks"> | undefined): Promise<Array<Budget>> {
    if (this.budgets === undefined) this.note(1)
    const all = await (this.budgets ??= budgetsOf(this.ctx, this.account._id))
    return all.filter((each) =>
      each.taskId === undefined ? [undefined, agentId].includes(each.agentId) : each.taskId === taskId
    )
  }

  /** The agent's sums, and what its live runs may spend, without the one of this session. */
  agent(agentId: Id<"agents">, except: Id<"sessions"> | undefined) {
    const read = async () => {
      this.note(2)
      const sums = sumsOn(this.day, await latestDay(this.ctx, agentId))
      return { sums, reserved: reservedBy(await leasedOfAgent(this.ctx, agentId), except) }
    }
    const known = this.agents.get(agentId) ?? read()
    this.agents.set(agentId, known)
    return known
  }

  drawn(budgetId: Id<"budgets">, agentId: Id<"agents">) {
    const key = `${budgetId} ${agentId}`
    const read = async () => {
      this.note(1)
      return { row: await drawOf(this.ctx, budgetId, agentId) }
    }
    const known = this.draws.get(key) ?? read()
    this.draws.set(key, known)
    return known
  }

  /** What was spent on the task in the budget's unit, and what live runs on it may spend. */
  async task(budget: Budget, taskId: Id<"tasks">, except: Id<"sessions"> | undefined) {
    this.note(2)
    const rows = await this.ctx.db
      .query("usageTotals")
      .withIndex("by_task", (q) => q.eq("taskId", taskId))
      .take(mostRead)
    const leased = await this.ctx.db
      .query("sessions")
      .withIndex("by_lease_task", (q) => q.eq("leaseTaskId", taskId))
      .take(mostRead)
    const sumOf = (row: (typeof rows)[number]) => amountOf(budget.unit, inPeriod(budget.period, sumsOn(this.day, row)))
    return { spent: rows.reduce((sum, row) => sum + sumOf(row), 0), reserved: reservedBy(leased, except) }
  }
}

/**
 * How many tokens a run may spend before it asks again: a small share of each budget that concerns it, so that what
 * is spent and reserved stays within every limit. Draws slices of the account's budgets. Reads the budgets once for the
 * book, and if one concerns the run, three ranges for each agent and two for the budget of a task.
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
  const rooms: Array<Room> = []
  for (const budget of budgets) {
    const rate = budget.unit === "tokens" ? 1 : dollars
    const window = windowOf(budget.period, day)
    const cap = budget.limit * shares[urgency]
    if (budget.taskId !== undefined) {
      const { reserved: others, spent } = await book.task(budget, budget.taskId, running?.session)
      const all = spent + (used + others) * rate
      rooms.push({ budget, window, rate, tokens: (cap - all) / rate, used: all })
    } else if (budget.agentId !== undefined) {
      const all = amountOf(budget.unit, inPeriod(budget.period, sums)) + reserved * rate
      rooms.push({ budget, window, rate, tokens: (cap - all) / rate, used: all })
    } else {
      const { row } = await book.drawn(budget._id, agentId)
      const drawnBefore = budget.window === window ? budget.drawn : 0
      const drawn = row?.window === window ? row.drawn : 0
      const unused = drawn - amountOf(budget.unit, inPeriod(budget.period, sums)) - reserved * rate
      // After the limit was lowered, what the agent drew of the higher one and did not use goes back.
      const returned = drawnBefore > budget.limit ? Math.max(0, unused) : 0
      const [total, own] = [drawnBefore - returned, unused - returned]
      const left = Math.max(0, cap - total)
      // Beyond their share, agents' own work does not use what was drawn before either.
      const tokens = urgency !== "person" && left === 0 ? 0 : (own + left) / rate
      rooms.push({ budget, window, rate, tokens, used: total, drawn: { own, total, agents: drawn - returned, row } })
    }
  }
  const { attempts, weightedTokens } = sums.total
  const wanted = 2 * (attempts > 0 ? weightedTokens / attempts : firstAttemptTokens)
  const sliceOf = ({ budget: { limit }, rate }: Room) =>
    Math.max(1, Math.min((limit * mostAllowed) / rate, Math.max((limit * leastAllowed) / rate, wanted)))
  const extra = Math.floor(Math.min(...rooms.map((room) => Math.min(room.tokens, sliceOf(room)))))
  const refusing = rooms.filter(({ tokens }) => tokens < 1)
  if (extra < 1) {
    const ends = refusing.map(({ budget }) =>
      budget.period === "lifetime" ? null : endOf(budget.period, account.timeZone, now)
    )
    const until = ends.includes(null) ? null : Math.max(...ends.filter((end) => end !== null))
    const index = Math.max(0, ends.indexOf(until))
    const room = refusing[index] ?? rooms[0]
    if (room === undefined) return { allowance: null }
    const share = Math.round(100 * shares[urgency])
    const reason = `${share} % of ${describe(room.budget)} is used`
    await tellOf(ctx, room.budget, { window: room.window, kind: "stopped", taskId, what: describe(room.budget) })
    return { refusedBy: room.budget, reason, until }
  }
  for (const { budget, drawn, rate, used: spent, window } of rooms) {
    let present = spent
    if (drawn !== undefined && drawn.own < extra * rate) {
      const left = budget.limit * shares[urgency] - drawn.total
      const amount = Math.min(left, Math.max(budget.limit * drawShare, extra * rate - drawn.own))
      present = drawn.total + amount
      await ctx.db.patch("budgets", budget._id, { window, drawn: present })
      Object.assign(budget, { window, drawn: present })
      const change = { window, drawn: drawn.agents + amount }
      if (drawn.row === null) await ctx.db.insert("budgetDraws", { budgetId: budget._id, agentId, ...change })
      else await ctx.db.patch("budgetDraws", drawn.row._id, change)
      const entry = await book.drawn(budget._id, agentId)
      entry.row = drawn.row === null ? await drawOf(ctx, budget._id, agentId) : { ...drawn.row, ...change }
    }
    if (present >= budget.limit * warningShare) {
      await tellOf(ctx, budget, { window, kind: "warned", taskId, what: describe(budget) })
    }
  }
  known.reserved += extra
  return { allowance: used + extra }
}

/** Later than any moment at which work can be due. */
const never = 8_640_000_000_000_000

/** Keeps a notification waiting for a budget without counting an attempt. */
export const holdBack = async (
  ctx: MutationCtx,
  { _id, at, readyAt }: Pick<Doc<"notifications">, "_id" | "at" | "readyAt">,
  { reason, refusedBy, until }: Exclude<Permission, { readonly allowance: unknown }>
): Promise<void> => {
  const since = until ?? never
  await ctx.db.patch("notifications", _id, {
    held: { budgetId: refusedBy._id, reason, until, at, readyAt },
    at: since,
    readyAt: since,
    retryAt: until ?? undefined
  })
}

const batch = 100

/** Makes notifications that wait for the budget ready again in their old order; returns whether there may be more. */
export const letGo = async (ctx: MutationCtx, budgetId: Id<"budgets">): Promise<boolean> => {
  const rows = await ctx.db
    .query("notifications")
    .withIndex("by_held", (q) => q.eq("held.budgetId", budgetId))
    .take(batch)
  for (const { _id, held, sessionId } of rows) {
    if (held === undefined) continue
    const { at, readyAt } = held
    await ctx.db.patch("notifications", _id, { held: undefined, retryAt: undefined, at, readyAt })
    const session = sessionId === undefined ? null : await ctx.db.get("sessions", sessionId)
    if (session !== null) await offer(ctx, session, at)
  }
  return rows.length === batch
}

/** What was spent of a budget in its present window, in its unit. Reads the latest sums of these agents, or of the task's. */
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
      .take(mostRead)
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

/** Deletes the budget with what was drawn of it. Reads at most a row for each agent there was. */
export const deleteBudget = async (ctx: MutationCtx, budgetId: Id<"budgets">): Promise<void> => {
  await ctx.db.delete("budgets", budgetId)
  const draws = await ctx.db
    .query("budgetDraws")
    .withIndex("by_budget", (q) => q.eq("budgetId", budgetId))
    .take(1_000)
  for (const { _id } of draws) await ctx.db.delete("budgetDraws", _id)
}

/** Counts what agents have spent and reserved in the present window as drawn of an account's new or changed budget. */
export const drawSpent = async (ctx: MutationCtx, budgetId: Id<"budgets">): Promise<void> => {
  const budget = await ctx.db.get("budgets", budgetId)
  if (budget === null || budget.agentId !== undefined || budget.taskId !== undefined) return
  const day = dayIn((await accountOf(ctx, budget.accountId)).timeZone, Date.now())
  const window = windowOf(budget.period, day)
  let total = 0
  for (const { _id: agentId } of await activeAgents(ctx, budget.accountId)) {
    const sums = sumsOn(day, await latestDay(ctx, agentId))
    const reserved = reservedBy(await leasedOfAgent(ctx, agentId), undefined)
    const rate = budget.unit === "tokens" ? 1 : dollarsPerToken(sums.total)
    const drawn = amountOf(budget.unit, inPeriod(budget.period, sums)) + reserved * rate
    const row = await drawOf(ctx, budgetId, agentId)
    if (row !== null) await ctx.db.patch("budgetDraws", row._id, { window, drawn })
    else if (drawn > 0) await ctx.db.insert("budgetDraws", { budgetId, agentId, window, drawn })
    total += drawn
  }
  await ctx.db.patch("budgets", budgetId, { window, drawn: total })
}
