import { Console, Effect, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { fleetFunctions } from "../../domain/fleet/FleetFunctions.ts"
import { Fleet } from "../../services/Fleet.ts"
import { account } from "./FleetAccountArgument.ts"

/** `fleet pause`: stops an account from starting turns. */
export const fleetPause = Command.make(
  "pause",
  {
    account,
    release: Flag.Boolean("release").pipe(
      Flag.withDescription("Also abort running turns; they run again after the pause, and the attempt does not count"),
      Flag.withDefault(false)
    )
  },
  Effect.fn(function* ({ account, release }) {
    const fleet = yield* Fleet
    const { id, name } = yield* fleet.account(account)
    yield* fleet.mutation(fleetFunctions.pause, Schema.Null, { accountId: id, release })
    yield* Console.error(
      `${name} is paused: no new turns start, and running turns ${release ? "are aborted" : "continue"}.`
    )
  })
).pipe(Command.withDescription("Pause an account: no turn or heartbeat starts until it is resumed"))

/** `fleet resume`: ends such a pause. */
export const fleetResume = Command.make(
  "resume",
  { account },
  Effect.fn(function* ({ account }) {
    const fleet = yield* Fleet
    const { id, name } = yield* fleet.account(account)
    yield* fleet.mutation(fleetFunctions.resume, Schema.Null, { accountId: id })
    yield* Console.error(`${name} is resumed.`)
  })
).pipe(Command.withDescription("End the pause of an account"))
