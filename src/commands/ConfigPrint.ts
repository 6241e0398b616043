import { ConfigProvider, Console, Effect, Result } from "effect"
import { Command, Flag } from "effect/cli"
import { configurationPage } from "../domain/settings/ConfigurationPage.ts"
import { textTable } from "../domain/text/TextTable.ts"
import { readSettings } from "../layers/Config.ts"
import { printSettings } from "../layers/config/ConfigPrint.ts"

const print = Command.make(
  "print",
  {
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print JSON"), Flag.withDefault(false)),
    markdown: Flag.Boolean("markdown").pipe(
      Flag.withDescription("Print docs/configuration.md instead of this environment's values"),
      Flag.withDefault(false)
    )
  },
  Effect.fn(function* ({ json, markdown }) {
    if (markdown) return yield* Console.log(configurationPage.trimEnd())
    const provider = yield* ConfigProvider.ConfigProvider
    // printSettings leaves secrets out, because there is no redactor without valid settings.
    const printed = yield* printSettings(provider)
    yield* Console.log(
      json
        ? JSON.stringify(printed, null, 2)
        : textTable(
            ["name", "value", "from"],
            printed.map(({ from, name, value }) => [name, value, from])
          )
    )
    const settings = yield* Effect.result(readSettings(provider))
    if (Result.isFailure(settings)) return yield* settings.failure
    return settings.success.hints.length === 0 ? undefined : yield* Console.error(settings.success.hints.join("\n"))
  })
).pipe(
  Command.withDescription("Print every variable, its value or default, and where it comes from; leaves out secrets"),
  Command.withShortDescription("Print every variable and where its value comes from"),
  Command.withExamples([
    { command: "mission-control-runtime config print", description: "A table; problems go to standard error" },
    { command: "mission-control-runtime config print --json", description: "The same as JSON" }
  ])
)

/** `config`: the variables of the environment. */
export const config = Command.make("config").pipe(
  Command.withDescription("Print the runtime's variables"),
  Command.withSubcommands([print])
)
