import { Clock, Effect } from "effect"
import { Command } from "effect/cli"
import { AccountDetails, describeAccount } from "../../domain/fleet/AccountDetails.ts"
import { fleetFunctions } from "../../domain/fleet/FleetFunctions.ts"
import { Fleet } from "../../services/Fleet.ts"
import { jsonFlag, print, printJson } from "../Print.ts"
import { account } from "./FleetAccountArgument.ts"

/** `fleet show`: one account in detail. */
export const fleetShow = Command.make(
  "show",
  { account, json: jsonFlag },
  Effect.fn(function* ({ account, json }) {
    const fleet = yield* Fleet
    const { id } = yield* fleet.account(account)
    const details = yield* fleet.query(fleetFunctions.account, AccountDetails, { accountId: id })
    yield* json ? printJson(details) : print(describeAccount(details, yield* Clock.currentTimeMillis))
  })
).pipe(
  Command.withDescription(
    "Show an account: settings, runtimes, agents, members, tokens, budgets, dead letters and activities"
  ),
  Command.withShortDescription("Show one account")
)
