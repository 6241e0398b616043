import { Console, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { Operator } from "../services/Operator.ts"

const rotate = Command.make(
  "rotate",
  {
    agent: Argument.String("agent").pipe(Argument.withDescription("The agent's slug or id")),
    task: Flag.String("task").pipe(Flag.withDescription("Only the session of this task"), Flag.optional)
  },
  Effect.fn(function* ({ agent, task }) {
    const count = yield* (yield* Operator).rotate(agent, Option.getOrUndefined(task))
    yield* Console.error(`${count} ${count === 1 ? "session starts" : "sessions start"} over with the next turn.`)
  })
).pipe(
  Command.withDescription("Begin new sessions for an agent, for example if a history is too long"),
  Command.withExamples([
    { command: "mission-control-runtime sessions rotate engineer", description: "All sessions of an agent" }
  ])
)

/** `sessions`: the agents' conversations in the gateway. */
export const sessions = Command.make("sessions").pipe(
  Command.withDescription("Begin new sessions for agents"),
  Command.withSubcommands([rotate])
)
