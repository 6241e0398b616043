import { Effect, Option, Schema } from "effect"
import { runGatewayCommand } from "./GatewayCommand.ts"

const TIMEOUT = "60 seconds"

const Report = Schema.Struct({
  valid: Schema.Boolean,
  issues: Schema.optionalKey(Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String })))
})
const decodeReport = Schema.decodeUnknownOption(Schema.fromJsonString(Report))

/**
 * The issues that `openclaw config validate` reports for the gateway's configuration, one line each; none if the command
 * returns no report. Takes about four seconds.
 */
export const checkGatewayConfig = runGatewayCommand(["config", "validate", "--json"]).pipe(
  Effect.map((output) =>
    // Other lines may precede the report.
    Option.map(decodeReport(output.slice(Math.max(0, output.indexOf("{")))), ({ issues, valid }) =>
      valid
        ? []
        : (issues ?? [{ path: "<root>", message: "invalid" }]).map(({ message, path }) => `${path}: ${message}`)
    )
  ),
  Effect.timeout(TIMEOUT),
  Effect.orElseSucceed(() => Option.none<ReadonlyArray<string>>()),
  Effect.withSpan("GatewayConfigCheck.checkGatewayConfig")
)
