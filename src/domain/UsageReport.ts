import { Schema } from "effect"
import { textTable } from "./TextTable.ts"

/** What usage can be reported by. */
export const usageDimensions = ["agent", "task", "day", "model"] as const
export type UsageDimension = (typeof usageDimensions)[number]

/** What several attempts spent; cost in US dollars of what has a price. */
export const UsageSum = Schema.Struct({
  attempts: Schema.Finite,
  inputTokens: Schema.Finite,
  outputTokens: Schema.Finite,
  cacheReadTokens: Schema.Finite,
  cacheWriteTokens: Schema.Finite,
  weightedTokens: Schema.Finite,
  /** The parts of weightedTokens that are estimated, and that have no price. */
  estimatedTokens: Schema.Finite,
  cost: Schema.Finite,
  unpricedTokens: Schema.Finite
})
export type UsageSum = typeof UsageSum.Type

/** What an account's agents spent in some days of its time zone, the most expensive line first. */
export const UsageReport = Schema.Struct({
  by: Schema.Literals(usageDimensions),
  from: Schema.String,
  to: Schema.String,
  timeZone: Schema.String,
  lines: Schema.Array(Schema.Struct({ key: Schema.String, name: Schema.String, sum: UsageSum })),
  total: UsageSum,
  /** Not everything could be read. */
  isCut: Schema.Boolean
})
export type UsageReport = typeof UsageReport.Type

export const whole = (count: number): string => Math.round(count).toLocaleString("en-US")

/** Dollars of what has a price; a dash if nothing has. */
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

/** A line each, and what the figures leave out. */
export const usageTable = (report: UsageReport): string => {
  const { by, from, isCut, lines, timeZone, to, total } = report
  const share = (part: number) => `${Math.round((100 * part) / Math.max(1, total.weightedTokens))} %`
  const scope = by === "task" ? "Everything spent on tasks worked on" : "Spent"
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
    ...(isCut ? ["Not all rows were read: ask for fewer days."] : [])
  ].join("\n")
}
