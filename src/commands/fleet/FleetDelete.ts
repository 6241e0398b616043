import { Console, Effect, Option, Schema, Terminal } from "effect"
import { Command, Flag } from "effect/cli"
import { fleetFunctions } from "../../domain/fleet/FleetFunctions.ts"
import { Fleet } from "../../services/Fleet.ts"
import { endWith } from "../EndedWith.ts"
import { account } from "./FleetAccountArgument.ts"

/** The name of the account to delete, typed by the operator. */
const typedName = Effect.fnUntraced(function* (name: string) {
  yield* Console.error(`This deletes the account ${JSON.stringify(name)} with all its data. Type its name to confirm:`)
  return yield* Effect.orElseSucceed((yield* Terminal.Terminal).readLine, () => "")
})

/** `fleet delete`: deletes an account with everything that belongs to it. */
export const fleetDelete = Command.make(
  "delete",
  {
    account,
    yesDelete: Flag.String("yes-delete").pipe(
      Flag.withDescription("The account's name, which confirms the deletion; without it the command asks"),
      Flag.optional
    )
  },
  Effect.fn(function* ({ account, yesDelete }) {
    const fleet = yield* Fleet
    const { id, name } = yield* fleet.account(account)
    const typed = yield* Option.match(yesDelete, { onNone: () => typedName(name), onSome: Effect.succeed })
    if (typed.trim() !== name)
      return yield* endWith(1, `Nothing was deleted, because the account's name is ${JSON.stringify(name)}.`)
    yield* fleet.mutation(fleetFunctions.remove, Schema.Null, { accountId: id, name })
    yield* Console.error(
      `${name} is being deleted: its tokens and members are gone, and the rest follows in the background. \`fleet list\` shows it until then.`
    )
  })
).pipe(
  Command.withDescription("Delete an account that is paused or offline, with everything that belongs to it"),
  Command.withShortDescription("Delete an account with all its data")
)
