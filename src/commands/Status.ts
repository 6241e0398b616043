import { Clock, Console, Effect, Option, Schedule, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { statusScreen } from "../domain/observability/StatusScreen.ts"
import { paintFor, wrapForTerminal } from "../layers/host/Terminal.ts"
import { endWith } from "./EndedWith.ts"
import { askRuntime, RuntimeUnavailable, urlFlag } from "./LocalEndpoint.ts"
import { asScreen } from "./Print.ts"
import { untilStopped } from "./UntilStopped.ts"

const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

/** Reads /health; fails if another server answers. */
const look = Effect.fnUntraced(function* (url: Option.Option<string>, json: boolean) {
  const { base, body } = yield* askRuntime(url, "/health")
  const health = Option.getOrNull(decodeJson(body))
  const screen = statusScreen(health, yield* Clock.currentTimeMillis, base)
  if (screen === null)
    return yield* new RuntimeUnavailable({
      detail: "The server at that address is not a runtime of this version. Correct HEALTH_PORT or --url."
    })
  const { isHealthy } = screen
  return {
    isHealthy,
    text: json ? JSON.stringify(health, null, 2) : wrapForTerminal(screen.text(paintFor(process.stdout)))
  }
})

/** `status`: the state of the runtime on this machine, on one screen. */
export const status = Command.make(
  "status",
  {
    url: urlFlag,
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print /health as JSON"), Flag.withDefault(false)),
    watch: Flag.Boolean("watch").pipe(
      Flag.withAlias("w"),
      Flag.withDescription("Refresh every 2 s until interrupted"),
      Flag.withDefault(false)
    )
  },
  Effect.fn(function* ({ json, url, watch }) {
    if (!watch) {
      const { isHealthy, text } = yield* look(url, json).pipe(
        Effect.catchTag("RuntimeUnavailable", ({ detail }) => endWith(1, detail))
      )
      yield* Console.log(text)
      return isHealthy ? undefined : yield* endWith(2)
    }
    // A runtime that restarts is unavailable for a moment, which is not the end of the watch.
    yield* look(url, json).pipe(
      Effect.catchTag("RuntimeUnavailable", ({ detail }) => Effect.succeed({ text: detail })),
      Effect.flatMap(({ text }) => Console.log(asScreen(text))),
      Effect.repeat(Schedule.spaced("2 seconds")),
      untilStopped
    )
  })
).pipe(
  Command.withDescription(
    "Show the state of the runtime on this machine; exit code 0 if healthy, 1 if none answers, otherwise 2"
  ),
  Command.withShortDescription("Show the state of the runtime on this machine"),
  Command.withExamples([
    { command: "mission-control-runtime status", description: "One screen" },
    { command: "mission-control-runtime status --watch", description: "Refreshed until interrupted" },
    { command: "mission-control-runtime status --json | jq .gateway", description: "Only the gateway, as JSON" }
  ])
)
