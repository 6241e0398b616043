import { Console, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { Operator } from "../services/Operator.ts"

/** The agent that is named, or the account. */
export const agent = Argument.String("agent").pipe(
  Argument.withDescription("The agent's slug or id; without one the account"),
  Argument.optional
)
export const named = (agent: Option.Option<string>) =>
  Option.match(agent, { onNone: () => ({}), onSome: (agent) => ({ agent }) })
export const whoOf = (agent: Option.Option<string>) =>
  Option.match(agent, { onNone: () => "The account", onSome: (agent) => `Agent ${agent}` })

/** `pause`: no new turns of an agent, or of the account. */
export const pause = Command.make(
  "pause",
  {
    agent,
    release: Flag.Boolean("release").pipe(
      Flag.withDescription("Abort running turns too; their work waits, at no attempt"),
      Flag.withDefault(false)
    )
  },
  Effect.fn(function* ({ agent, release }) {
    yield* (yield* Operator).pause({ ...named(agent), release })
    yield* Console.error(`${whoOf(agent)} is paused.`)
  })
).pipe(
  Command.withDescription("Pause an agent, or the account: no turn or heartbeat begins until it is resumed"),
  Command.withExamples([
    { command: "mission-control-runtime pause engineer", description: "One agent" },
    { command: "mission-control-runtime pause --release", description: "The account, with its running turns" }
  ])
)
