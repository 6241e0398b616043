import { Clock, Console, Effect, Option, Schedule, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { statusScreen } from "../domain/observability/StatusScreen.ts"
import { endWith } from "./EndedWith.ts"
import { askRuntime, RuntimeAway, urlFlag } from "./LocalEndpoint.ts"
import { untilStopped } from "./UntilStopped.ts"

const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))
/** Clears the screen and its history, and goes to its top; written to terminals only. */
const CLEAR = "\u001b[2J\u001b[3J\u001b[H"

/** What /health answers; something else that listens there is no runtime. */
const look = Effect.fnUntraced(function* (url: Option.Option<string>, json: boolean) {
  const { body } = yield* askRuntime(url, "/health")
  const health = Option.getOrNull(decodeJson(body))
  const screen = statusScreen(health, yield* Clock.currentTimeMillis)
  if (screen === null) return yield* new RuntimeAway({ detail: "What answers there is no runtime of this version." })
  return json ? { ...screen, text: JSON.stringify(health, null, 2) } : screen
})

/** `status`: one screen of what the runtime of this machine does. */
export const status = Command.make(
  "status",
  {
    url: urlFlag,
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print /health as JSON"), Flag.withDefault(false)),
    watch: Flag.Boolean("watch").pipe(
      Flag.withAlias("w"),
      Flag.withDescription("Look again every two seconds until interrupted"),
      Flag.withDefault(false)
    )
  },
  Effect.fn(function* ({ json, url, watch }) {
    if (!watch) {
      const { isHealthy, text } = yield* look(url, json).pipe(
        Effect.catchTag("RuntimeAway", ({ detail }) => endWith(1, detail))
      )
      yield* Console.log(text)
      return isHealthy ? undefined : yield* endWith(2)
    }
    const isTerminal = process.stdout.isTTY === true
    // A runtime that restarts is away for a moment: that is something to watch too.
    yield* look(url, json).pipe(
      Effect.catchTag("RuntimeAway", ({ detail }) => Effect.succeed({ text: detail })),
      Effect.flatMap(({ text }) => Console.log(isTerminal ? `${CLEAR}${text}` : `${text}\n`)),
      Effect.repeat(Schedule.spaced("2 seconds")),
      untilStopped
    )
  })
).pipe(
  Command.withDescription(
    "Show what the runtime of this machine does; exit code 0 if it is healthy, 1 if none answers, otherwise 2"
  ),
  Command.withExamples([
    { command: "mission-control-runtime status", description: "One screen" },
    { command: "mission-control-runtime status --watch", description: "Until interrupted" },
    { command: "mission-control-runtime status --json | jq .gateway", description: "A part of it" }
  ])
)
