import type { Infer } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import type { budgetPeriod } from "../../tables/budgets.ts"
import { dayIn, monthOf } from "../usage/days.ts"
import { latestDay, sumsOn, type UsageSum } from "../usage/usage.ts"

export type Budget = Doc<"budgets">
type Period = Infer<typeof budgetPeriod>

/** Dollars per price-weighted token if no price is known. */
const assumedPrice = 3 / 1_000_000
/** The maximum number of rows read for reservations of an agent or task, and for agents of a task. */
export const maxRead = 200

/** The key of a budget's current window. */
export const windowOf = (period: Period, day: string): string =>
  period === "day" ? day : period === "month" ? monthOf(day) : "all"

export const inPeriod = (period: Period, sums: ReturnType<typeof sumsOn>): UsageSum =>
  period === "day" ? sums.today : period === "month" ? sums.month : sums.total

/** What was spent, in the budget's unit. Tokens without a price are charged at an expensive rate. */
export const amountOf = (unit: Budget["unit"], { cost, unpricedTokens, weightedTokens }: UsageSum): number =>
  unit === "tokens" ? weightedTokens : cost + unpricedTokens * assumedPrice

/**
 * The average cost of a price-weighted token. A model that costs nothing still gets a small price, so that slices stay
 * finite.
 */
export const dollarsPerToken = (total: UsageSum): number =>
  total.weightedTokens > 0
    ? Math.max(amountOf("usd", total) / total.weightedTokens, assumedPrice / 1_000)
    : assumedPrice

export const drawOf = (
  ctx: Pick<QueryCtx, "db">,
  budgetId: Id<"budgets">,
  agentId: Id<"agents">
): Promise<Doc<"budgetDraws"> | null> =>
  ctx.db
    .query("budgetDraws")
    .withIndex("by_budget", (q) => q.eq("budgetId", budgetId).eq("agentId", agentId))
    .unique()

/** Writes what the agent has drawn of the budget: over its row, or as a new one. */
export const saveDraw = async (
  ctx: Pick<MutationCtx, "db">,
  budgetId: Id<"budgets">,
  agentId: Id<"agents">,
  row: Doc<"budgetDraws"> | null,
  drawn: Pick<Doc<"budgetDraws">, "window" | "drawn">
): Promise<void> => {
  if (row === null) await ctx.db.insert("budgetDraws", { budgetId, agentId, ...drawn })
  else await ctx.db.patch("budgetDraws", row._id, drawn)
}

/** Whether it is the account's own budget, of which agents draw slices. */
export const isOfAccount = ({ agentId, taskId }: Budget): boolean => agentId === undefined && taskId === undefined

/** The agents' draws of the budget, at most 1,000 rows. */
export const drawsOf = (ctx: Pick<QueryCtx, "db">, budgetId: Id<"budgets">): Promise<Array<Doc<"budgetDraws">>> =>
  ctx.db
    .query("budgetDraws")
    .withIndex("by_budget", (q) => q.eq("budgetId", budgetId))
    .take(1_000)

/** The maximum number of budgets of an account. */
export const maxBudgets = 200

/** The fields of a new budget, of which nothing is drawn. */
export const undrawn = { window: "", drawn: 0, spent: 0, countedAt: 0 }

/** All budgets of the account: one range, at most 200 rows. */
export const budgetsOf = (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<Array<Budget>> =>
  ctx.db
    .query("budgets")
    .withIndex("by_scope", (q) => q.eq("accountId", accountId))
    .take(maxBudgets)

/** What the running runs of these sessions may still spend, except for one session. */
const reservedBy = (sessions: ReadonlyArray<Doc<"sessions">>, except: Id<"sessions"> | undefined): number =>
  sessions.reduce((sum, { _id, lease }) => sum + (_id === except ? 0 : (lease?.allowance ?? 0)), 0)

/** The sessions in which deliveries of the agent run now. A heartbeat never runs next to them. */
const leasedOfAgent = (ctx: Pick<QueryCtx, "db">, agentId: Id<"agents">): Promise<Array<Doc<"sessions">>> =>
  ctx.db
    .query("sessions")
    .withIndex("by_agent_expiry", (q) => q.eq("agentId", agentId).eq("kind", "notification").gt("expiresAt", 0))
    .take(maxRead)

/**
 * Caches what a transaction reads about budgets and spending, and keeps it consistent with what the transaction writes.
 */
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

  /** The budgets that apply to an agent's work on a task. */
  async budgetsFor(agentId: Id<"agents">, taskId: Id<"tasks"> | undefined): Promise<Array<Budget>> {
    if (this.budgets === undefined) this.note(1)
    const all = await (this.budgets ??= budgetsOf(this.ctx, this.account._id))
    return all.filter((each) =>
      each.taskId === undefined ? [undefined, agentId].includes(each.agentId) : each.taskId === taskId
    )
  }

  /** The agent's sums, and what its running runs may spend, except for this session. */
  agent(agentId: Id<"agents">, except: Id<"sessions"> | undefined) {
    const known = this.agents.get(agentId) ?? this.spentBy(agentId, except)
    this.agents.set(agentId, known)
    return known
  }

  /** The same, read from the database now. */
  async spentBy(agentId: Id<"agents">, except: Id<"sessions"> | undefined) {
    this.note(2)
    const sums = sumsOn(this.day, await latestDay(this.ctx, agentId))
    return { sums, reserved: reservedBy(await leasedOfAgent(this.ctx, agentId), except) }
  }

  /** The draws of all agents, at most 1,000 rows. */
  drawsOf(budgetId: Id<"budgets">): Promise<Array<Doc<"budgetDraws">>> {
    this.note(1)
    return drawsOf(this.ctx, budgetId)
  }

  clearDraws(): void {
    this.draws.clear()
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

  /** What was spent on the task in the budget's unit, and what running runs on it may spend. */
  async task(budget: Budget, taskId: Id<"tasks">, except: Id<"sessions"> | undefined) {
    this.note(2)
    const rows = await this.ctx.db
      .query("usageTotals")
      .withIndex("by_task", (q) => q.eq("taskId", taskId))
      .take(maxRead)
    const leased = await this.ctx.db
      .query("sessions")
      .withIndex("by_lease_task", (q) => q.eq("leaseTaskId", taskId))
      .take(maxRead)
    const sumOf = (row: (typeof rows)[number]) => amountOf(budget.unit, inPeriod(budget.period, sumsOn(this.day, row)))
    return { spent: rows.reduce((sum, row) => sum + sumOf(row), 0), reserved: reservedBy(leased, except) }
  }
}
