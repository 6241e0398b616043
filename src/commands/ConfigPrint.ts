import { ConfigProvider, Console, Effect, Result } from "effect"
import { Command, Flag } from "effect/cli"
import { configurationPage } from "../domain/settings/ConfigurationPage.ts"
import { textTable } from "../domain/text/TextTable.ts"
import { readSettings } from "../layers/Config.ts"
import { printSettings } from "../layers/ConfigPrint.ts"

const print = Command.make(
  "print",
  {
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print JSON"), Flag.withDefault(false)),
    markdown: Flag.Boolean("markdown").pipe(
      Flag.withDescription("Print the page of the documents instead of what holds here"),
      Flag.withDefault(false)
    )
  },
  Effect.fn(function* ({ json, markdown }) {
    if (markdown) return yield* Console.log(configurationPage.trimEnd())
    const provider = yield* ConfigProvider.ConfigProvider
    // Secrets are left out by the reader itself: there is no redactor without valid settings.
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
  Command.withDescription("Print every variable: its value or default, and where it comes from; secrets are left out"),
  Command.withExamples([
    { command: "mission-control-runtime config print", description: "What holds here; problems go to standard error" },
    { command: "mission-control-runtime config print --json", description: "The same for a machine" }
  ])
)

/** `config`: what the environment says. */
export const config = Command.make("config").pipe(
  Command.withDescription("The settings of the environment"),
  Command.withSubcommands([print])
)
