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
  Command.withDescription("Check whether the deployment accepts SERVICE_TOKEN; exit code 77 if not"),
  Command.withShortDescription("Check whether the deployment accepts SERVICE_TOKEN"),
  Command.withExamples([{ command: "mission-control-runtime token check", description: "Before the first start" }])
)

/** `token`: the account's service token. */
export const token = Command.make("token").pipe(
  Command.withDescription("Check the account's service token"),
  Command.withSubcommands([check])
)
