import { Effect, Option } from "effect"
import type { ConfigProvider } from "effect"
import { REDACTED } from "../../domain/observability/Redaction.ts"
import { allVariables, usualOf } from "../../domain/settings/Variables.ts"
import type { VariableName } from "../../domain/settings/Variables.ts"
import { raw, safe } from "./ConfigReader.ts"
import type { Read } from "./ConfigReader.ts"

/** The effective value of a variable and its source; never the value of a secret. */
export interface PrintedVariable {
  readonly name: VariableName
  readonly value: string
  readonly from: "environment" | "file" | "default" | "missing"
}

/** Every variable with its value or default, even if the configuration as a whole is invalid. */
export const printSettings = Effect.fn("Config.printSettings")(function* (provider: ConfigProvider.ConfigProvider) {
  const printed: Array<PrintedVariable> = []
  for (const [name, variable] of allVariables) {
    const orNone = (read: Read<Option.Option<string>>) => Effect.orElseSucceed(read, () => Option.none<string>())
    const direct = yield* orNone(raw(provider, name))
    const file = variable.kind === "secret" ? yield* orNone(raw(provider, `${name}_FILE`)) : Option.none<string>()
    printed.push(
      Option.isSome(direct)
        ? { name, value: variable.kind === "secret" ? REDACTED : safe(direct.value), from: "environment" }
        : Option.isSome(file)
          ? { name, value: `${REDACTED} (${safe(file.value)})`, from: "file" }
          : { name, value: usualOf(variable), from: variable.usual === null ? "missing" : "default" }
    )
  }
  return printed
})
