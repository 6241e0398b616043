import { Clock, Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { attentions, fleetTable } from "../../domain/fleet/FleetAccount.ts"
import { Fleet } from "../../services/Fleet.ts"
import { endWith } from "../EndedWith.ts"
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
    if (limit < 1) return yield* endWith(64, `--limit is ${limit}: set it to 1 or more.`)
    const filter = {
      ...ifGiven("only", only),
      ...ifGiven("name", name),
      ...ifGiven("runtimeVersion", runtimeVersion),
      ...ifGiven("openclawVersion", openclawVersion)
    }
    const page = yield* (yield* Fleet).accounts(filter, { after, limit })
    if (json) return yield* printJson(page)
    if (page.accounts.length === 0) {
      const isWhole = Object.keys(filter).length === 0 && after === 0
      yield* Console.error(
        isWhole
          ? "The deployment has no account. `fleet provision` creates one from a file."
          : "No account matches. Leave out some of the flags to see more."
      )
    } else yield* print(fleetTable(page.accounts, yield* Clock.currentTimeMillis))
    if (page.next !== null) yield* Console.error(`There may be more: add --after ${page.next}`)
  })
).pipe(
  Command.withDescription(
    [
      "List the accounts with their runtimes, queue, dead letters, failures and usage of today.",
      "SEEN is the time since a runtime's last report, DUE since the oldest due notification.",
      "DEAD counts dead letters, FAIL failures in a row.",
      "TODAY is the share of the daily budget, or the price-weighted tokens."
    ].join(" ")
  ),
  Command.withShortDescription("List the accounts of the deployment"),
  Command.withExamples([
    { command: "mission-control-runtime fleet list --only failing", description: "Accounts that need attention" },
    {
      command: "mission-control-runtime fleet list --runtime-version 1.0.0 --json",
      description: "Accounts on a version, as JSON"
    }
  ])
)
