import { Console, Effect, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { personFunctions } from "../../domain/people/PersonFunctions.ts"
import { Token, tokenTable } from "../../domain/people/PersonViews.ts"
import type { Kind } from "../../domain/text/ShortId.ts"
import { knownId } from "../../services/KnownId.ts"
import { People } from "../../services/People.ts"
import { ifGiven } from "../IfGiven.ts"
import { jsonFlag } from "../Print.ts"
import { list } from "./Shown.ts"

const provision = Command.make(
  "provision",
  { label: Flag.String("label").pipe(Flag.withDescription("A label for the token, such as its use"), Flag.optional) },
  Effect.fn(function* ({ label }) {
    const Made = Schema.Struct({ id: Schema.String, serviceToken: Schema.String })
    const { id, serviceToken } = yield* (yield* People).mutation(personFunctions.provisionToken, Made, {
      ...ifGiven("label", label)
    })
    // Not redacted, because the token is shown only here.
    yield* Console.log(serviceToken)
    yield* Console.error(
      `Set the runtime's SERVICE_TOKEN to it. It is not shown again. To revoke it, run tokens revoke ${id}.`
    )
  })
).pipe(Command.withDescription("Create a service token for a runtime, and print it once"))

const tokenKind: Kind<typeof Token.Type> = {
  noun: "token",
  listedBy: "tokens list",
  title: ({ label }) => label
}

const revoke = Command.make(
  "revoke",
  {
    token: Argument.String("token").pipe(Argument.withDescription("The token's id or its beginning, from tokens list"))
  },
  Effect.fn(function* ({ token }) {
    const people = yield* People
    const tokens = yield* people.query(personFunctions.tokens, Schema.Array(Token))
    const id = yield* knownId(personFunctions.tokens, tokens, token, tokenKind)
    yield* people.mutation(personFunctions.revokeToken, Schema.Null, { id })
    const isRevoked = tokens.some((each) => each.id === id && each.revokedAt !== null)
    yield* Console.error(isRevoked ? "The token was revoked before." : "The token is revoked.")
  })
).pipe(Command.withDescription("Revoke a service token at once"))

const listTokens = Command.make(
  "list",
  { json: jsonFlag },
  Effect.fn(function* ({ json }) {
    const tokens = yield* (yield* People).query(personFunctions.tokens, Schema.Array(Token), {})
    yield* list(tokens, json, tokenTable, "There are no service tokens. Create one with `tokens provision`.")
  })
).pipe(Command.withDescription("List the service tokens, without their secrets"))

export const tokens = Command.make("tokens").pipe(
  Command.withDescription("Provision, list or revoke the runtimes' service tokens"),
  Command.withSubcommands([provision, listTokens, revoke])
)
