import { Console, Effect } from "effect"
import { Command } from "effect/cli"
import { endWith } from "./EndedWith.ts"
import { askRuntime, urlFlag } from "./LocalEndpoint.ts"

/** `healthcheck`: whether the process lives, for a container's health check without any other program. */
export const healthcheck = Command.make(
  "healthcheck",
  { url: urlFlag },
  Effect.fn(function* ({ url }) {
    const { status } = yield* askRuntime(url, "/livez").pipe(
      Effect.catchTag("RuntimeAway", ({ detail }) => endWith(1, detail))
    )
    return status === 200 ? yield* Console.log("live") : yield* endWith(1, `/livez answers HTTP ${status}`)
  })
).pipe(
  Command.withDescription("Say whether the runtime of this machine lives: exit code 0 or 1"),
  Command.withExamples([
    { command: "mission-control-runtime healthcheck", description: "As HEALTHCHECK of a container" }
  ])
)
