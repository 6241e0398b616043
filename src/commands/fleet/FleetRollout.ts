import { Console, Effect, Ref, Schedule, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { fleetFunctions } from "../../domain/fleet/FleetFunctions.ts"
import {
  describeProgress,
  isMoving,
  logLine,
  nextCommand,
  progressLine,
  Rollout,
  RolloutPage,
  rolloutAccountTable
} from "../../domain/fleet/Rollout.ts"
import type { RolloutAccount } from "../../domain/fleet/Rollout.ts"
import { Fleet } from "../../services/Fleet.ts"
import { endWith } from "../EndedWith.ts"
import { jsonFlag, print, printJson } from "../Print.ts"
import { untilStopped } from "../UntilStopped.ts"

const current = Effect.flatMap(Fleet, ({ query }) => query(fleetFunctions.rollout, Rollout, {}))

/** All accounts of the latest rollout in their order, page by page. */
const accountsOf = Effect.fnUntraced(function* ({ id: rolloutId }: Rollout) {
  const fleet = yield* Fleet
  const found: Array<RolloutAccount> = []
  let after: number | null = -1
  while (after !== null) {
    const args = { rolloutId, after, limit: 200 }
    const page: typeof RolloutPage.Type = yield* fleet.query(fleetFunctions.rolloutAccounts, RolloutPage, args)
    found.push(...page.accounts)
    after = page.next
  }
  return found
})

/** How often a call is repeated while the deployment does not answer: for at least five minutes. */
const OUTAGE_CALLS = 60

/** States that an operator should know of. */
const notable = new Set(["failed", "left_out", "skipped", "rollback_failed"])

/** Prints the rollout; with or without its log. */
const printRollout = Effect.fnUntraced(function* (rollout: Rollout, json: boolean, hasLog: boolean) {
  const accounts = yield* accountsOf(rollout)
  if (json) return yield* printJson({ ...rollout, accounts })
  const listed = accounts.filter(({ state }) => notable.has(state))
  const table = rolloutAccountTable(listed)
  yield* print([describeProgress(rollout, hasLog), ...(table === "" ? [] : ["", table])].join("\n"))
  const next = nextCommand(rollout)
  if (next !== null) yield* Console.error(next)
})

/**
 * Prints each change of the latest rollout until it ends or stops, then its waves and failed accounts. Ends with exit code 1 if it did not
 * end as done or rolled back.
 */
export const followRollout = Effect.fnUntraced(function* (json: boolean) {
  const seen = yield* Ref.make<ReadonlySet<string>>(new Set())
  const look = Effect.gen(function* () {
    const rollout = yield* current
    const lines = [...rollout.log.map(logLine), ...(isMoving(rollout) ? [progressLine(rollout)] : [])]
    const before = yield* Ref.getAndSet(seen, new Set(lines))
    if (!json) for (const line of lines) if (!before.has(line)) yield* print(line)
    return rollout
  })
  // A rollout takes hours, in which the deployment may not answer for a moment.
  const patiently = Effect.retry(look, {
    while: ({ _tag }) => _tag === "ControlPlaneUnavailable",
    schedule: Schedule.spaced("5 seconds"),
    times: OUTAGE_CALLS
  })
  const last = yield* look.pipe(
    Effect.andThen(Effect.repeat(patiently, { while: isMoving, schedule: Schedule.spaced("5 seconds") })),
    untilStopped
  )
  if (last === undefined) return
  yield* printRollout(last, json, false)
  if (last.state !== "done" && last.state !== "rolled_back") return yield* endWith(1)
})

const follow = Flag.Boolean("follow").pipe(
  Flag.withDescription("Print the progress until the rollout ends or stops"),
  Flag.withDefault(false)
)

const show = Command.make(
  "show",
  { follow, json: jsonFlag },
  Effect.fn(function* ({ follow, json }) {
    yield* follow ? followRollout(json) : Effect.flatMap(current, (rollout) => printRollout(rollout, json, true))
  })
).pipe(
  Command.withDescription("Show the latest upgrade or restart in waves: its waves, log, and accounts that failed"),
  Command.withShortDescription("Show the latest rollout"),
  Command.withExamples([
    { command: "mission-control-runtime fleet rollout show --follow", description: "Until it ends or stops" }
  ])
)

const resume = Command.make(
  "resume",
  {
    skip: Flag.String("skip").pipe(
      Flag.withDescription(
        "Take this account out instead: its key or name, or the beginning of its id or name. May be repeated"
      ),
      Flag.atLeast(0)
    ),
    follow
  },
  Effect.fn(function* ({ follow, skip }) {
    const fleet = yield* Fleet
    const skipped = yield* Effect.forEach(skip, (name) => fleet.account(name))
    yield* fleet.mutation(fleetFunctions.resumeRollout, Schema.Null, { skip: skipped.map(({ id }) => id) })
    yield* Console.error("Resumed.")
    if (follow) yield* followRollout(false)
  })
).pipe(
  Command.withDescription("Continue a stopped rollout: try the failed accounts again, except those to skip"),
  Command.withShortDescription("Continue a stopped rollout"),
  Command.withExamples([
    { command: "mission-control-runtime fleet rollout resume", description: "Try the failed accounts again" },
    { command: "mission-control-runtime fleet rollout resume --skip Acme", description: "Continue without Acme" }
  ])
)

const rollback = Command.make(
  "rollback",
  {
    all: Flag.Boolean("all").pipe(
      Flag.withDescription("All waves of the upgrade instead of the last one"),
      Flag.withDefault(false)
    ),
    follow
  },
  Effect.fn(function* ({ all, follow }) {
    yield* (yield* Fleet).mutation(fleetFunctions.rollBackRollout, Schema.Null, { all })
    yield* Console.error("The rollback has begun.")
    if (follow) yield* followRollout(false)
  })
).pipe(
  Command.withDescription("Return the last wave of the latest upgrade to its former versions, or all waves"),
  Command.withShortDescription("Roll the latest upgrade back"),
  Command.withExamples([
    { command: "mission-control-runtime fleet rollout rollback", description: "The wave that stopped" },
    { command: "mission-control-runtime fleet rollout rollback --all --follow", description: "All waves" }
  ])
)

const cancel = Command.make(
  "cancel",
  {},
  Effect.fn(function* () {
    yield* (yield* Fleet).mutation(fleetFunctions.cancelRollout, Schema.Null, {})
    yield* Console.error("Cancelled. Accounts keep the versions that they have.")
  })
).pipe(
  Command.withDescription("End the active rollout. Accounts keep the versions that they have"),
  Command.withShortDescription("End the active rollout"),
  Command.withExamples([{ command: "mission-control-runtime fleet rollout cancel", description: "End it" }])
)

/** `fleet rollout`: the latest upgrade or restart in waves. */
export const fleetRollout = Command.make("rollout").pipe(
  Command.withDescription("Show, resume, roll back or cancel the latest upgrade or restart in waves"),
  Command.withSubcommands([show, resume, rollback, cancel])
)
