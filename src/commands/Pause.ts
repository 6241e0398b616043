import { Console, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { Operator } from "../services/Operator.ts"
import { ifGiven } from "./IfGiven.ts"

/** The agent to pause or resume; without it the account. */
export const agent = Argument.String("agent").pipe(
  Argument.withDescription("The agent's slug or id; without it the whole account"),
  Argument.optional
)
export const nameOf = (agent: Option.Option<string>) =>
  Option.match(agent, { onNone: () => "The account", onSome: (agent) => `Agent ${agent}` })

/** `pause`: stops an agent, or the whole account, from starting turns. */
export const pause = Command.make(
  "pause",
  {
    agent,
    release: Flag.Boolean("release").pipe(
      Flag.withDescription("Also abort running turns; they run again after the pause, and the attempt does not count"),
      Flag.withDefault(false)
    )
  },
  Effect.fn(function* ({ agent, release }) {
    yield* (yield* Operator).pause({ ...ifGiven("agent", agent), release })
    yield* Console.error(`${nameOf(agent)} is paused.`)
  })
).pipe(
  Command.withDescription("Pause an agent or the account: no turn or heartbeat starts until it is resumed"),
  Command.withShortDescription("Pause an agent or the account"),
  Command.withExamples([
    { command: "mission-control-runtime pause engineer", description: "One agent" },
    { command: "mission-control-runtime pause --release", description: "The account; aborts its running turns" }
  ])
)
