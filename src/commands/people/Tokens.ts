import { Console, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { personFunctions } from "../../domain/people/PersonFunctions.ts"
import { Token, tokenTable } from "../../domain/people/PersonViews.ts"
import { People } from "../../services/People.ts"
import { jsonFlag } from "../Print.ts"
import { list, refusalShown } from "./Shown.ts"

const provision = Command.make(
  "provision",
  { label: Flag.String("label").pipe(Flag.withDescription("What it is for"), Flag.optional) },
  Effect.fn(function* ({ label }) {
    const Made = Schema.Struct({ id: Schema.String, serviceToken: Schema.String })
    const { id, serviceToken } = yield* (yield* People).mutation(personFunctions.provisionToken, Made, {
      ...Option.match(label, { onNone: () => ({}), onSome: (label) => ({ label }) })
    })
    // Past the redactor, which would hide it: it is shown this once.
    yield* Console.log(serviceToken)
    yield* Console.error(
      `Set SERVICE_TOKEN of the runtime to it; it is not shown again. To revoke it: tokens revoke ${id}`
    )
  }, refusalShown)
).pipe(Command.withDescription("Make a service token for a runtime, and print it once"))

const revoke = Command.make(
  "revoke",
  { token: Argument.String("token").pipe(Argument.withDescription("The token's id, as `tokens list` shows it")) },
  Effect.fn(function* ({ token }) {
    yield* (yield* People).mutation(personFunctions.revokeToken, Schema.Null, { id: token })
    yield* Console.error("The token is revoked.")
  }, refusalShown)
).pipe(Command.withDescription("Revoke a service token at once"))

const listTokens = Command.make(
  "list",
  { json: jsonFlag },
  Effect.fn(function* ({ json }) {
    const tokens = yield* (yield* People).query(personFunctions.tokens, Schema.Array(Token), {})
    yield* list(tokens, json, tokenTable, "There are no service tokens: make one with `tokens provision`.")
  }, refusalShown)
).pipe(Command.withDescription("List the service tokens, without their secrets"))

export const tokens = Command.make("tokens").pipe(
  Command.withDescription("Provision, list or revoke the runtimes' service tokens"),
  Command.withSubcommands([provision, listTokens, revoke])
)
