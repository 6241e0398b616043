import { Effect, Option, Schema } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { withheldFromChildren } from "../host/WithheldFromChildren.ts"

const TIMEOUT = "60 seconds"

const Report = Schema.Struct({
  valid: Schema.Boolean,
  issues: Schema.optionalKey(Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String })))
})
const decodeReport = Schema.decodeUnknownOption(Schema.fromJsonString(Report))

/**
 * What `openclaw config validate` has against a configuration file, a line each; empty when it is valid, none when the
 * command does not answer. Takes about four seconds.
 */
export const checkGatewayConfig = Effect.fn("GatewayConfigCheck.checkGatewayConfig")(
  function* (options: {
    readonly command: string
    readonly prefix: ReadonlyArray<string>
    readonly stateDir: string
    readonly configPath: string
  }) {
    const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
    const output = yield* spawner.string(
      ChildProcess.make(options.command, [...options.prefix, "config", "validate", "--json"], {
        env: {
          ...withheldFromChildren,
          OPENCLAW_STATE_DIR: options.stateDir,
          OPENCLAW_CONFIG_PATH: options.configPath,
          NO_COLOR: "1"
        },
        extendEnv: true,
        stdin: "ignore"
      })
    )
    // Notes may stand before the report.
    return Option.map(decodeReport(output.slice(Math.max(0, output.indexOf("{")))), ({ issues, valid }) =>
      valid
        ? []
        : (issues ?? [{ path: "<root>", message: "invalid" }]).map(({ message, path }) => `${path}: ${message}`)
    )
  },
  Effect.timeout(TIMEOUT),
  Effect.orElseSucceed(() => Option.none<ReadonlyArray<string>>())
)
