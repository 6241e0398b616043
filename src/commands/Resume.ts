import { Console, Effect } from "effect"
import { Command } from "effect/cli"
import { Operator } from "../services/Operator.ts"
import { ifGiven } from "./IfGiven.ts"
import { agent, nameOf } from "./Pause.ts"

/** `resume`: ends a pause. */
export const resume = Command.make(
  "resume",
  { agent },
  Effect.fn(function* ({ agent }) {
    yield* (yield* Operator).resume(ifGiven("agent", agent))
    yield* Console.error(`${nameOf(agent)} is resumed.`)
  })
).pipe(
  Command.withDescription("Resume a paused agent or the account"),
  Command.withExamples([{ command: "mission-control-runtime resume engineer", description: "One agent" }])
)
