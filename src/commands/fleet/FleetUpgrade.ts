import { Console, Duration, Effect, Option, Result, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { fleetFunctions } from "../../domain/fleet/FleetFunctions.ts"
import { describePlan, parseWaves, planWaves, selectAccounts } from "../../domain/fleet/WavePlan.ts"
import type { RolloutTarget } from "../../domain/fleet/WavePlan.ts"
import { isVersion } from "../../domain/shared/Versions.ts"
import { Fleet } from "../../services/Fleet.ts"
import { endWith } from "../EndedWith.ts"
import { jsonFlag, print, printJson } from "../Print.ts"
import { followRollout } from "./FleetRollout.ts"

const flags = {
  waves: Flag.String("waves").pipe(
    Flag.withDescription("Sizes of the waves: numbers of accounts, or percentages of all; default 1,5%,25%,100%"),
    Flag.withDefault("1,5%,25%,100%")
  ),
  account: Flag.String("account").pipe(
    Flag.withDescription("Only this account: its key or name, or the beginning of its id or name. May be repeated"),
    Flag.atLeast(0)
  ),
  first: Flag.String("first").pipe(
    Flag.withDescription("This account before all others, e.g. your own. May be repeated"),
    Flag.atLeast(0)
  ),
  deadline: Flag.Finite("deadline").pipe(
    Flag.withDescription("Minutes until an account must be online on the target; default 30"),
    Flag.withDefault(30)
  ),
  observe: Flag.Finite("observe").pipe(
    Flag.withDescription("Minutes for which an account must then stay healthy; default 5"),
    Flag.withDefault(5)
  ),
  apply: Flag.Boolean("apply").pipe(
    Flag.withDescription("Start it. Without this the command only prints the waves"),
    Flag.withDefault(false)
  ),
  follow: Flag.Boolean("follow").pipe(
    Flag.withDescription("Print the progress until it ends or stops"),
    Flag.withDefault(false)
  ),
  json: jsonFlag
}
interface Flags {
  readonly waves: string
  readonly account: ReadonlyArray<string>
  readonly first: ReadonlyArray<string>
  readonly deadline: number
  readonly observe: number
  readonly apply: boolean
  readonly follow: boolean
  readonly json: boolean
}

const MAX_ACCOUNTS = 100_000

/** The limits of the control plane, in minutes. */
const [MIN_DEADLINE, MAX_MINUTES] = [0.02, 1_440]

const Started = Schema.Struct({ rolloutId: Schema.String })

/** Prints the waves and, with `--apply`, starts the rollout. */
const rollOut = Effect.fnUntraced(function* (target: RolloutTarget, given: Flags) {
  const fleet = yield* Fleet
  const sizes = parseWaves(given.waves)
  if (Result.isFailure(sizes)) return yield* endWith(64, sizes.failure)
  if (!(given.deadline >= MIN_DEADLINE && given.deadline <= MAX_MINUTES)) {
    return yield* endWith(64, `--deadline is ${given.deadline}: set it to ${MIN_DEADLINE} to ${MAX_MINUTES} minutes.`)
  }
  if (!(given.observe >= 0 && given.observe <= MAX_MINUTES)) {
    return yield* endWith(64, `--observe is ${given.observe}: set it to 0 to ${MAX_MINUTES} minutes.`)
  }
  const idsOf = (names: ReadonlyArray<string>) =>
    Effect.forEach(names, (name) => Effect.map(fleet.account(name), ({ id }) => id))
  const [named, first] = [yield* idsOf(given.account), yield* idsOf(given.first)]
  const { accounts } = yield* fleet.accounts({}, { after: 0, limit: MAX_ACCOUNTS })
  const plan = planWaves(selectAccounts(accounts, named, first), target, sizes.success)
  const none = `There is no account to ${target.kind}.`
  if (!given.apply) {
    if (given.json) return yield* printJson({ ...target, ...plan, rolloutId: null })
    yield* print(describePlan(target, plan))
    return yield* Console.error(plan.waves.length === 0 ? none : "Nothing was changed. Add --apply to start it.")
  }
  if (plan.waves.length === 0) return yield* endWith(1, describePlan(target, plan), none)
  const shared = {
    waves: plan.waves.map((wave) => wave.map(({ id }) => id)),
    deadlineMs: Duration.toMillis(Duration.minutes(given.deadline)),
    observeMs: Duration.toMillis(Duration.minutes(given.observe))
  }
  const { openclawVersion, runtimeVersion } = target
  const { rolloutId } =
    target.kind === "restart"
      ? yield* fleet.mutation(fleetFunctions.restartInWaves, Started, shared)
      : yield* fleet.mutation(fleetFunctions.upgradeInWaves, Started, {
          ...shared,
          ...(runtimeVersion === null ? {} : { runtimeVersion }),
          ...(openclawVersion === null ? {} : { openclawVersion })
        })
  if (given.json) yield* printJson({ ...target, ...plan, rolloutId })
  else yield* print(describePlan(target, plan))
  if (given.follow) return yield* followRollout(given.json)
  yield* Console.error("Started. `fleet rollout show --follow` shows the progress.")
})

/** `fleet upgrade`: other versions for many accounts, in waves. */
export const fleetUpgrade = Command.make(
  "upgrade",
  {
    runtimeVersion: Flag.String("runtime-version").pipe(
      Flag.withDescription("The version of the runtime to install"),
      Flag.optional
    ),
    openclawVersion: Flag.String("openclaw-version").pipe(
      Flag.withDescription("The version of the gateway to install"),
      Flag.optional
    ),
    ...flags
  },
  Effect.fn(function* ({ openclawVersion, runtimeVersion, ...given }) {
    const versions = [runtimeVersion, openclawVersion].flatMap(Option.toArray)
    if (versions.length === 0)
      return yield* endWith(64, "Name a target: --runtime-version, --openclaw-version or both.")
    if (!versions.every(isVersion)) {
      return yield* endWith(64, "A version has 1 to 64 letters, digits, dots, pluses and hyphens.")
    }
    const target = {
      kind: "upgrade" as const,
      runtimeVersion: Option.getOrNull(runtimeVersion),
      openclawVersion: Option.getOrNull(openclawVersion)
    }
    yield* rollOut(target, given)
  })
).pipe(
  Command.withDescription(
    "Upgrade the accounts that are not on the target versions, in waves. Each wave begins after the one before is healthy"
  ),
  Command.withShortDescription("Upgrade accounts in waves"),
  Command.withExamples([
    {
      command: "mission-control-runtime fleet upgrade --runtime-version 1.1.0",
      description: "Print the waves"
    },
    {
      command: "mission-control-runtime fleet upgrade --runtime-version 1.1.0 --first Staging --apply --follow",
      description: "Upgrade the account Staging, then the others, and print the progress"
    }
  ])
)

/** `fleet restart`: a restart of many accounts, in waves. */
export const fleetRestart = Command.make(
  "restart",
  flags,
  Effect.fn(function* (given) {
    yield* rollOut({ kind: "restart", runtimeVersion: null, openclawVersion: null }, given)
  })
).pipe(
  Command.withDescription("Restart the accounts' runtimes in waves. Each wave begins after the one before is healthy"),
  Command.withShortDescription("Restart accounts in waves"),
  Command.withExamples([
    { command: "mission-control-runtime fleet restart --waves 10%,100% --apply", description: "In two waves" }
  ])
)
