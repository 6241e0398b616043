import { Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { budgetTables, usageDimensions, usageTable } from "../domain/usage/UsageReport.ts"
import { Operator } from "../services/Operator.ts"
import { jsonFlag, print, printJson } from "./Print.ts"

/** `usage`: what the account's agents spent. */
export const usage = Command.make(
  "usage",
  {
    by: Flag.Literals("by", usageDimensions).pipe(
      Flag.withDescription("A line for each agent, task, day or model"),
      Flag.withDefault("agent")
    ),
    days: Flag.Int("days").pipe(Flag.withDescription("The last days, 1 to 400, with today"), Flag.withDefault(7)),
    json: jsonFlag
  },
  Effect.fn(function* ({ by, days, json }) {
    const report = yield* (yield* Operator).usage({ by, days })
    if (json) return yield* printJson(report)
    if (report.lines.length === 0) yield* Console.error(`Nothing was spent from ${report.from} to ${report.to}.`)
    const tables = [report.lines.length === 0 ? "" : usageTable(report), budgetTables(report)]
    yield* print(tables.filter((table) => table !== "").join("\n\n"))
  })
).pipe(
  Command.withDescription("Show what the account's agents spent, the budgets, and the work that they hold"),
  Command.withExamples([
    { command: "mission-control-runtime usage", description: "The last 7 days by agent" },
    { command: "mission-control-runtime usage --by task --days 30 --json", description: "By task, as JSON" }
  ])
)
