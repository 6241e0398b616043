import { Clock, Console, Effect, Option, Schedule, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { statusScreen } from "../domain/StatusScreen.ts"
import { endWith } from "./EndedWith.ts"
import { askRuntime, urlFlag } from "./LocalEndpoint.ts"
import { untilStopped } from "./UntilStopped.ts"

const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))
/** Clears the screen and its history, and goes to its top; written to terminals only. */
const CLEAR = "\u001b[2J\u001b[3J\u001b[H"

const look = Effect.fnUntraced(function* (url: Option.Option<string>, json: boolean) {
  const { body } = yield* askRuntime(url, "/health")
  const health = decodeJson(body)
  if (Option.isNone(health)) return "The answer of /health is no JSON: something else listens there."
  return json ? JSON.stringify(health.value, null, 2) : statusScreen(health.value, yield* Clock.currentTimeMillis)
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
      return yield* look(url, json).pipe(
        Effect.flatMap((screen) => Console.log(screen)),
        Effect.catchTag("RuntimeAway", ({ detail }) => endWith(1, detail))
      )
    }
    const isTerminal = process.stdout.isTTY === true
    // A runtime that restarts is away for a moment: that is something to watch too.
    yield* look(url, json).pipe(
      Effect.catchTag("RuntimeAway", ({ detail }) => Effect.succeed(detail)),
      Effect.flatMap((screen) => Console.log(isTerminal ? `${CLEAR}${screen}` : `${screen}\n`)),
      Effect.repeat(Schedule.spaced("2 seconds")),
      untilStopped
    )
  })
).pipe(
  Command.withDescription("Show what the runtime of this machine does: exit code 1 when none answers"),
  Command.withExamples([
    { command: "mission-control-runtime status", description: "One screen" },
    { command: "mission-control-runtime status --watch", description: "Until interrupted" },
    { command: "mission-control-runtime status --json | jq .gateway", description: "A part of it" }
  ])
)
