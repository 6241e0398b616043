import { Console, Layer } from "effect"
import { CliConfig, CliOutput, GlobalFlag } from "effect/cli"

/** A wrong call prints its errors and where to find the help. Only the help of the root lists the global flags. */
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

/** The help, the version, errors of wrong calls, and the flags that every command has. */
export const helpLayer = Layer.merge(
  CliOutput.layerPresenter(presenter),
  CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })
)
