import { Console, Effect } from "effect"
import { Command } from "effect/cli"
import { Operator } from "../services/Operator.ts"
import { agent, named, whoOf } from "./Pause.ts"

/** `resume`: the end of a pause. */
export const resume = Command.make(
  "resume",
  { agent },
  Effect.fn(function* ({ agent }) {
    yield* (yield* Operator).resume(named(agent))
    yield* Console.error(`${whoOf(agent)} is resumed.`)
  })
).pipe(
  Command.withDescription("Resume a paused agent, or the account"),
  Command.withExamples([{ command: "mission-control-runtime resume engineer", description: "One agent" }])
)
