/** How the gateway's program is started: command, arguments and environment. */
import { Effect, Schema } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import { RuntimeConfig } from "../Config.ts"
import type { Settings } from "../Config.ts"
import { withheldFromChildren } from "../host/WithheldFromChildren.ts"

/** The gateway's program could not be started. */
export class GatewayNotStarted extends Schema.TaggedError<GatewayNotStarted>()("GatewayNotStarted", {
  detail: Schema.String
}) {}

/** The error of a command that could not be started, with its fix. */
export const notStarted = (command: string) => (error: { readonly reason: { readonly _tag: string } }) =>
  new GatewayNotStarted({
    detail: `OPENCLAW_GATEWAY_PATH is ${JSON.stringify(command)}, which cannot be started (${error.reason._tag}): install openclaw or set the variable to its path`
  })

/** The environment of the gateway and its other commands. The gateway's agents can read it, so it has no secret of ours. */
export const gatewayEnvironment = ({ gatewayConfigPath, stateDir }: Settings) => ({
  ...withheldFromChildren,
  OPENCLAW_GATEWAY_URL: undefined,
  OPENCLAW_STATE_DIR: stateDir,
  OPENCLAW_CONFIG_PATH: gatewayConfigPath,
  NO_COLOR: "1"
})

/** The arguments before `gateway` in OPENCLAW_GATEWAY_ARGS, for example a script that an interpreter runs. */
const programArguments = ({ gatewayArgs }: Settings): ReadonlyArray<string> =>
  gatewayArgs.slice(0, Math.max(0, gatewayArgs.indexOf("gateway")))

/** Runs another command of the gateway's program, for example `--version`, and returns its output. */
export const runGatewayCommand = Effect.fnUntraced(function* (words: ReadonlyArray<string>) {
  const config = yield* RuntimeConfig
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  return yield* spawner
    .string(
      ChildProcess.make(config.gatewayPath, [...programArguments(config), ...words], {
        env: gatewayEnvironment(config),
        extendEnv: true,
        stdin: "ignore"
      })
    )
    .pipe(Effect.mapError(notStarted(config.gatewayPath)))
})
