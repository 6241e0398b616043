import { Command } from "effect/cli"
import { fleetList } from "./FleetList.ts"

/** `fleet`: all accounts of a deployment. */
export const fleet = Command.make("fleet").pipe(
  Command.withDescription("List the accounts of a deployment"),
  Command.withSubcommands([fleetList])
)
