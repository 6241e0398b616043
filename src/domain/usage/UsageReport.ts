import { DateTime, Schema } from "effect"
import { textTable } from "../text/TextTable.ts"

/** The dimensions by which usage is reported. */
export const usageDimensions = ["agent", "task", "day", "model"] as const
export type UsageDimension = (typeof usageDimensions)[number]

/** The usage of several attempts. The cost is in US dollars, of tokens with a known price. */
export const UsageSum = Schema.Struct({
  attempts: Schema.Finite,
  inputTokens: Schema.Finite,
  outputTokens: Schema.Finite,
  cacheReadTokens: Schema.Finite,
  cacheWriteTokens: Schema.Finite,
  weightedTokens: Schema.Finite,
  /** The parts of weightedTokens that are estimated, and that have no known price. */
  estimatedTokens: Schema.Finite,
  cost: Schema.Finite,
  unpricedTokens: Schema.Finite
})
export type UsageSum = typeof UsageSum.Type

/** The limit of an account, an agent or a task in a period, and what was spent in the present period. */
export const Budget = Schema.Struct({
  scope: Schema.Literals(["account", "agent", "task"]),
  name: Schema.NullOr(Schema.String),
  period: Schema.Literals(["day", "month", "lifetime"]),
  unit: Schema.Literals(["usd", "tokens"]),
  limit: Schema.Finite,
  spent: Schema.Finite,
  /** Epoch milliseconds; null for a lifetime. */
  until: Schema.NullOr(Schema.Finite)
})
export type Budget = typeof Budget.Type

/** Work that a budget holds. `until` is null if it is held until the budget is raised. */
export const Held = Schema.Struct({
  agent: Schema.String,
  task: Schema.String,
  reason: Schema.String,
  until: Schema.NullOr(Schema.Finite)
})

/** The usage of an account in a range of days of its time zone, the most expensive line first. */
export const UsageReport = Schema.Struct({
  /** The account's name. */
  account: Schema.String,
  by: Schema.Literals(usageDimensions),
  from: Schema.String,
  to: Schema.String,
  timeZone: Schema.String,
  lines: Schema.Array(Schema.Struct({ key: Schema.String, name: Schema.String, sum: UsageSum })),
  total: UsageSum,
  budgets: Schema.Array(Budget),
  /** At most 20. */
  held: Schema.Array(Held),
  /** Not everything could be read. */
  isCut: Schema.Boolean
})
export type UsageReport = typeof UsageReport.Type

export const whole = (count: number): string => Math.round(count).toLocaleString("en-US")

/** The cost in dollars; a dash if no price is known. */
export const costText = ({ cost, unpricedTokens }: Pick<UsageSum, "cost" | "unpricedTokens">): string =>
  cost === 0 && unpricedTokens > 0 ? "-" : `$${cost.toFixed(cost < 1 ? 4 : 2)}`

const row = (name: string, sum: UsageSum): ReadonlyArray<string> => [
  name,
  whole(sum.attempts),
  whole(sum.inputTokens),
  whole(sum.cacheReadTokens),
  whole(sum.cacheWriteTokens),
  whole(sum.outputTokens),
  whole(sum.weightedTokens),
  costText(sum)
]

/** The table, and the limits of its figures. */
export const usageTable = (report: UsageReport): string => {
  const { by, from, isCut, lines, timeZone, to, total } = report
  const share = (part: number) => `${Math.round((100 * part) / Math.max(1, total.weightedTokens))} %`
  const scope = by === "task" ? "All usage of tasks that had usage" : "Spent"
  return [
    `${scope} from ${from} to ${to} (${timeZone})`,
    textTable(
      [by, "attempts", "input", "cache read", "cache write", "output", "price-weighted", "cost"],
      [...lines.map(({ name, sum }) => row(name, sum)), row("total", total)]
    ),
    ...(total.estimatedTokens > 0
      ? [`${share(total.estimatedTokens)} of the price-weighted tokens are estimated.`]
      : []),
    ...(total.unpricedTokens > 0
      ? [`${share(total.unpricedTokens)} of the price-weighted tokens have no price and are not in the cost.`]
      : []),
    ...(isCut ? ["Not all usage could be read. Use fewer days."] : [])
  ].join("\n")
}

const amountText = (unit: Budget["unit"], amount: number): string =>
  unit === "usd" ? `$${amount.toFixed(2)}` : whole(amount)

export const untilText = (until: number | null, otherwise: string): string =>
  until === null ? otherwise : DateTime.formatIso(DateTime.makeUnsafe(until)).replace(/\.\d+Z$/, "Z")

/** A budget in words, and the work that waits because of it. */
export const budgetText = ({ limit, name, period, scope, spent, unit, until }: Budget) => {
  const share = spent / limit
  return {
    of: name === null ? scope : `${scope} ${name}`,
    period,
    used: `${amountText(unit, spent)} of ${amountText(unit, limit)}${unit === "tokens" ? " tokens" : ""}`,
    share: `${Math.floor(100 * share)} %`,
    ends: untilText(until, "never"),
    waits:
      share >= 1
        ? "all work waits"
        : share >= 0.9
          ? "work that agents started waits"
          : share >= 0.8
            ? "heartbeats and updates wait"
            : ""
  }
}

/** The budgets, and the work that they hold; empty without budgets. */
export const budgetTables = ({ budgets, held }: Pick<UsageReport, "budgets" | "held">): string => {
  const limits = budgets.map(budgetText)
  const tables = [
    textTable(
      ["budget of", "period", "used", "share", "ends", "effect"],
      limits.map(({ ends, of, period, share, used, waits }) => [of, period, used, share, ends, waits])
    ),
    textTable(
      ["held", "task", "until", "reason"],
      held.map(({ agent, reason, task, until }) => [agent, task, untilText(until, "the budget is raised"), reason])
    )
  ]
  return tables.filter((table) => table !== "").join("\n\n")
}
