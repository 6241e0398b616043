import { Console, Layer } from "effect"
import { CliConfig, CliOutput, GlobalFlag } from "effect/cli"

/** A wrong call gets its error and the way to the help. The help itself shows the flags of a whole program once. */
const presenter: CliOutput.Presenter = {
  present: (event) => {
    switch (event._tag) {
      case "Version":
        return CliOutput.defaultPresenter.present(event)
      case "Help": {
        const isRoot = event.commandPath.length <= 1
        const globalFlags = (event.helpDoc.globalFlags ?? []).filter(({ name }) => isRoot || name === "help")
        return CliOutput.defaultPresenter.present({ ...event, helpDoc: { ...event.helpDoc, globalFlags } })
      }
      case "InvalidInvocation": {
        const errors = new Set(event.errors.map(({ message }) => message.replace(/\s*\n\s*/g, " ")))
        return Console.error([...errors, `See ${event.commandPath.join(" ")} --help.`].join("\n"))
      }
    }
  }
}

/** How the command line explains itself, and the flags that every command has. */
export const helpLayer = Layer.merge(
  CliOutput.layerPresenter(presenter),
  CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })
)
