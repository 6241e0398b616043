import { Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { usageDimensions, usageTable } from "../domain/UsageReport.ts"
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
    return report.lines.length === 0
      ? yield* Console.error(`Nothing was spent from ${report.from} to ${report.to}.`)
      : yield* print(usageTable(report))
  })
).pipe(
  Command.withDescription("Show what the account's agents spent"),
  Command.withExamples([
    { command: "mission-control-runtime usage", description: "The last 7 days by agent" },
    { command: "mission-control-runtime usage --by task --days 30 --json", description: "By task, as JSON" }
  ])
)
