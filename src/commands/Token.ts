import { Effect } from "effect"
import { Command } from "effect/cli"
import { RuntimeConfig } from "../layers/Config.ts"
import { Operator } from "../services/Operator.ts"
import { jsonFlag, print, printJson } from "./Print.ts"

const check = Command.make(
  "check",
  { json: jsonFlag },
  Effect.fn(function* ({ json }) {
    const { accountId, convexUrl } = yield* RuntimeConfig
    yield* (yield* Operator).backlog
    return json
      ? yield* printJson({ accepted: true, accountId, convexUrl })
      : yield* print(`${convexUrl} accepts the token of account ${accountId}.`)
  })
).pipe(
  Command.withDescription("Ask the deployment whether it accepts SERVICE_TOKEN; exit code 77 when it does not"),
  Command.withExamples([{ command: "mission-control-runtime token check", description: "Before a start" }])
)

/** `token`: the account's service token. */
export const token = Command.make("token").pipe(
  Command.withDescription("The account's service token"),
  Command.withSubcommands([check])
)
