import { Console, Effect, Schema } from "effect"
import { Argument, Command } from "effect/cli"
import { personFunctions } from "../../domain/people/PersonFunctions.ts"
import { Account, accountTable } from "../../domain/people/PersonViews.ts"
import { People } from "../../services/People.ts"
import { jsonFlag, print } from "../Print.ts"
import { list } from "./Shown.ts"

const create = Command.make(
  "create",
  { name: Argument.String("name").pipe(Argument.withDescription("The account's name")) },
  Effect.fn(function* ({ name }) {
    const Created = Schema.Struct({ accountId: Schema.String })
    const { accountId } = yield* (yield* People).mutation(personFunctions.createAccount, Created, { name })
    yield* print(accountId)
    yield* Console.error(
      `Account ${name} is created, and you are its owner. Next, run agents add and tokens provision. If you have other accounts, set ACCOUNT_ID=${accountId} first.`
    )
  })
).pipe(
  Command.withDescription("Create an account that you own, and print its id"),
  Command.withExamples([
    { command: 'mission-control-runtime accounts create "Acme"', description: "Your first account" }
  ])
)

const listAccounts = Command.make(
  "list",
  { json: jsonFlag },
  Effect.fn(function* ({ json }) {
    const accounts = yield* (yield* People).query(personFunctions.accounts, Schema.Array(Account), {})
    yield* list(accounts, json, accountTable, "You are not a member of any account. Create one with `accounts create`.")
  })
).pipe(Command.withDescription("List the accounts that you are a member of"))

export const accounts = Command.make("accounts").pipe(
  Command.withDescription("Create an account, or list your accounts"),
  Command.withSubcommands([create, listAccounts])
)
