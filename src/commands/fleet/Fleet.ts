import { Command } from "effect/cli"
import { fleetDelete } from "./FleetDelete.ts"
import { fleetExport } from "./FleetExport.ts"
import { fleetList } from "./FleetList.ts"
import { fleetPause, fleetResume } from "./FleetPause.ts"
import { fleetProvision } from "./FleetProvision.ts"
import { fleetShow } from "./FleetShow.ts"

/** `fleet`: all accounts of a deployment. */
export const fleet = Command.make("fleet").pipe(
  Command.withDescription("List, show, provision, pause, export and delete the accounts of a deployment"),
  Command.withShortDescription("Operate all accounts of a deployment"),
  Command.withSubcommands([fleetList, fleetShow, fleetProvision, fleetPause, fleetResume, fleetExport, fleetDelete])
)
