import { Command } from "effect/cli"
import { fleetDelete } from "./FleetDelete.ts"
import { fleetExport } from "./FleetExport.ts"
import { fleetList } from "./FleetList.ts"
import { fleetPause, fleetResume } from "./FleetPause.ts"
import { fleetProvision } from "./FleetProvision.ts"
import { fleetRollout } from "./FleetRollout.ts"
import { fleetShow } from "./FleetShow.ts"
import { fleetRestart, fleetUpgrade } from "./FleetUpgrade.ts"

/** `fleet`: all accounts of a deployment. */
export const fleet = Command.make("fleet").pipe(
  Command.withDescription(
    "List, show, provision, upgrade, restart, pause, export and delete the accounts of a deployment"
  ),
  Command.withShortDescription("Operate all accounts of a deployment"),
  Command.withSubcommands([
    fleetList,
    fleetShow,
    fleetProvision,
    fleetUpgrade,
    fleetRestart,
    fleetRollout,
    fleetPause,
    fleetResume,
    fleetExport,
    fleetDelete
  ])
)
