import { Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { budgetTables, usageDimensions, usageTable } from "../domain/usage/UsageReport.ts"
import { AccountWork } from "../services/AccountWork.ts"
import { jsonFlag, print, printJson } from "./Print.ts"

/** `usage`: what the account's agents have spent. */
export const usage = Command.make(
  "usage",
  {
    by: Flag.Literals("by", usageDimensions).pipe(
      Flag.withDescription("What to group by; default agent"),
      Flag.withDefault("agent")
    ),
    days: Flag.Int("days").pipe(
      Flag.withDescription("How many days up to today, 1 to 400; default 7"),
      Flag.withDefault(7)
    ),
    json: jsonFlag
  },
  Effect.fn(function* ({ by, days, json }) {
    const report = yield* (yield* AccountWork).usage({ by, days })
    if (json) return yield* printJson(report)
    if (report.lines.length === 0) yield* Console.error(`No usage from ${report.from} to ${report.to}.`)
    const tables = [report.lines.length === 0 ? "" : usageTable(report), budgetTables(report)]
    yield* print(tables.filter((table) => table !== "").join("\n\n"))
  })
).pipe(
  Command.withDescription("Show the account's usage, its budgets, and the work that budgets hold"),
  Command.withShortDescription("Show usage and budgets"),
  Command.withExamples([
    { command: "mission-control-runtime usage", description: "The last 7 days, by agent" },
    { command: "mission-control-runtime usage --by task --days 30 --json", description: "By task, as JSON" }
  ])
)
