import { type Infer, v } from "convex/values"
import type { Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { usageSum } from "../../tables/usage.ts"
import { accountOf } from "../agents/agents.ts"
import { budgetReport, budgetReportOf } from "../budgets/budgetReport.ts"
import { bounded } from "../database/bounded.ts"
import { dayIn } from "./days.ts"
import { addUsage, noUsage, type UsageSum } from "./usage.ts"

const dayMs = 24 * 60 * 60 * 1_000
const maxDays = 400
const maxRows = 4_000
/** The maximum number of lines in a report, the most expensive first. */
const maxLines = 400

const dimension = v.union(v.literal("agent"), v.literal("task"), v.literal("day"), v.literal("model"))

export const reportArgs = { by: dimension, days: v.optional(v.number()) }

/** A line for each agent, task, day or model, and the total. */
export const usageReport = v.object({
  /** The account's name. */
  account: v.string(),
  by: dimension,
  /** The first and the last day, YYYY-MM-DD. */
  from: v.string(),
  to: v.string(),
  timeZone: v.string(),
  lines: v.array(
    v.object({
      /** An id, a day or a model; `unknown` if the model is not known. */
      key: v.string(),
      /** The agent's slug or the task's title; otherwise the same as the key. */
      name: v.string(),
      sum: usageSum
    })
  ),
  total: usageSum,
  ...budgetReport.fields,
  /** Some rows or lines were left out. */
  isCut: v.boolean()
})

type Report = Infer<typeof usageReport>

interface Part {
  readonly key: string
  readonly sum: UsageSum
}

/** One row's sums, by the report's dimension. */
const partsOf = (
  by: "agent" | "day" | "model",
  row: {
    readonly agentId: string
    readonly day: string
    readonly today: UsageSum
    readonly models: ReadonlyArray<{ readonly model: string | null; readonly sum: UsageSum }>
  }
): ReadonlyArray<Part> =>
  by === "model"
    ? row.models.map(({ model, sum }) => ({ key: model ?? "unknown", sum }))
    : [{ key: by === "agent" ? row.agentId : row.day, sum: row.today }]

const nameOf = async (ctx: Pick<QueryCtx, "db">, by: Report["by"], key: string): Promise<string> => {
  if (by === "agent") return (await ctx.db.get("agents", key as Id<"agents">))?.slug ?? key
  if (by === "task") return (await ctx.db.get("tasks", key as Id<"tasks">))?.title ?? key
  return key
}

/** What an account spent in the last days; see app/usage:report. */
export const usageReportOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  { by, days }: { readonly by: Report["by"]; readonly days?: number }
): Promise<Report> => {
  const { name: account, timeZone } = await accountOf(ctx, accountId)
  const now = Date.now()
  const to = dayIn(timeZone, now)
  const from = dayIn(timeZone, now - (bounded(days, 7, maxDays) - 1) * dayMs)
  const sums = new Map<string, UsageSum>()
  const add = ({ key, sum }: Part) => sums.set(key, addUsage(sums.get(key) ?? noUsage, sum))
  let count = 0
  if (by === "task") {
    const rows = await ctx.db
      .query("usageTotals")
      .withIndex("by_account", (q) => q.eq("accountId", accountId).gte("day", from))
      .order("desc")
      .take(maxRows)
    for (const { taskId, total } of rows) add({ key: taskId, sum: total })
    count = rows.length
  } else {
    const rows = await ctx.db
      .query("usageDays")
      .withIndex("by_account", (q) => q.eq("accountId", accountId).gte("day", from))
      .order("desc")
      .take(maxRows)
    for (const row of rows) for (const part of partsOf(by, row)) add(part)
    count = rows.length
  }
  const sorted = [...sums].toSorted(([left, a], [right, b]) =>
    by === "day" ? (left < right ? 1 : -1) : b.weightedTokens - a.weightedTokens
  )
  const lines = []
  for (const [key, sum] of sorted.slice(0, maxLines)) lines.push({ key, name: await nameOf(ctx, by, key), sum })
  const total = [...sums.values()].reduce((left, right) => addUsage(left, right), noUsage)
  const limits = await budgetReportOf(ctx, accountId, now)
  return {
    account,
    by,
    from,
    to,
    timeZone,
    lines,
    total,
    ...limits,
    isCut: count === maxRows || sorted.length > maxLines
  }
}
