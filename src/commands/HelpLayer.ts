import { Console, Effect, Layer } from "effect"
import { CliConfig, CliOutput, GlobalFlag, TerminalCapabilities } from "effect/cli"
import { wrapForTerminal } from "../layers/host/Terminal.ts"

/** A command that a reader may copy. */
const isCommand = (line: string) => line.startsWith("  mission-control-runtime ")

/** A wrong call prints its errors and where to find the help. Only the help of the root lists the global flags. */
const presenter: CliOutput.Presenter = {
  present: Effect.fnUntraced(function* (event) {
    switch (event._tag) {
      case "Version":
        return yield* CliOutput.defaultPresenter.present(event)
      case "Help": {
        const isRoot = event.commandPath.length <= 1
        const globalFlags = (event.helpDoc.globalFlags ?? []).filter(({ name }) => isRoot || name === "help")
        const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
        const help = CliOutput.defaultFormatter({ colors: canColor }).formatHelpDoc({ ...event.helpDoc, globalFlags })
        return yield* Console.log(wrapForTerminal(help, isCommand))
      }
      case "InvalidInvocation": {
        const errors = new Set(event.errors.map(({ message }) => message.replace(/\s*\n\s*/g, " ")))
        return yield* Console.error([...errors, `See ${event.commandPath.join(" ")} --help.`].join("\n"))
      }
    }
  })
}

/** The help, the version, errors of wrong calls, and the flags that every command has. */
export const helpLayer = Layer.merge(
  CliOutput.layerPresenter(presenter),
  CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })
)
