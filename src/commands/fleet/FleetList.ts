import { Clock, Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { attentions, fleetTable } from "../../domain/fleet/FleetAccount.ts"
import { Fleet } from "../../services/Fleet.ts"
import { ifGiven } from "../IfGiven.ts"
import { jsonFlag, print, printJson } from "../Print.ts"

/** `fleet list`: the accounts, a page at a time. */
export const fleetList = Command.make(
  "list",
  {
    only: Flag.Literals("only", attentions).pipe(
      Flag.withDescription("Only accounts that are failing, offline or paused, or that have dead letters"),
      Flag.optional
    ),
    name: Flag.String("name").pipe(
      Flag.withDescription("Only accounts whose name or key contains this text"),
      Flag.optional
    ),
    runtimeVersion: Flag.String("runtime-version").pipe(
      Flag.withDescription("Only accounts with a runtime of this version"),
      Flag.optional
    ),
    openclawVersion: Flag.String("openclaw-version").pipe(
      Flag.withDescription("Only accounts with a gateway of this version"),
      Flag.optional
    ),
    limit: Flag.Int("limit").pipe(
      Flag.withDescription("At most this many accounts; default 200"),
      Flag.withDefault(200)
    ),
    after: Flag.Finite("after").pipe(
      Flag.withDescription("Continue after an earlier page, with the cursor that it ended with"),
      Flag.withDefault(0)
    ),
    json: jsonFlag
  },
  Effect.fn(function* ({ after, json, limit, name, only, openclawVersion, runtimeVersion }) {
    const filter = {
      ...ifGiven("only", only),
      ...ifGiven("name", name),
      ...ifGiven("runtimeVersion", runtimeVersion),
      ...ifGiven("openclawVersion", openclawVersion)
    }
    const page = yield* (yield* Fleet).accounts(filter, { after, limit: Math.max(1, limit) })
    if (json) return yield* printJson(page)
    if (page.accounts.length === 0) yield* Console.error("No account matches.")
    else yield* print(fleetTable(page.accounts, yield* Clock.currentTimeMillis))
    if (page.next !== null) yield* Console.error(`There may be more: add --after ${page.next}`)
  })
).pipe(
  Command.withDescription("List the accounts with their runtimes, queue, dead letters, failures and usage of today"),
  Command.withShortDescription("List the accounts of the deployment"),
  Command.withExamples([
    { command: "mission-control-runtime fleet list --only failing", description: "Accounts that need attention" },
    {
      command: "mission-control-runtime fleet list --runtime-version 1.0.0 --json",
      description: "Accounts on a version, as JSON"
    }
  ])
)
