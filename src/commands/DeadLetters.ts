import { Console, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { deadLetterTable, describeDeadLetter } from "../domain/delivery/DeadLetter.ts"
import { AccountWork } from "../services/AccountWork.ts"
import { jsonFlag, print, printJson } from "./Print.ts"

const MAX_LISTED = 200

const id = Argument.String("id").pipe(
  Argument.withDescription("The notification's id or its beginning, from dead-letters list")
)

const list = Command.make(
  "list",
  {
    limit: Flag.Int("limit").pipe(Flag.withDescription("How many to list, 1 to 200; default 50"), Flag.withDefault(50)),
    json: jsonFlag
  },
  Effect.fn(function* ({ json, limit }) {
    const letters = yield* (yield* AccountWork).deadLetters(Math.min(MAX_LISTED, Math.max(1, limit)))
    if (json) return yield* printJson(letters)
    return letters.length === 0 ? yield* Console.error("No dead letters.") : yield* print(deadLetterTable(letters))
  })
).pipe(
  Command.withDescription("List dead letters, the latest first"),
  Command.withExamples([
    { command: "mission-control-runtime dead-letters list", description: "The latest 50" },
    { command: "mission-control-runtime dead-letters list --json | jq -r '.[].id'", description: "Only their ids" }
  ])
)

const show = Command.make(
  "show",
  { id, json: jsonFlag },
  Effect.fn(function* ({ id, json }) {
    const letter = yield* (yield* AccountWork).deadLetter(id)
    return json ? yield* printJson(letter) : yield* print(describeDeadLetter(letter))
  })
).pipe(
  Command.withDescription("Show a dead letter: its events, attempts and last error"),
  Command.withExamples([
    { command: "mission-control-runtime dead-letters show <id>", description: "Why the delivery failed" }
  ])
)

const retry = Command.make(
  "retry",
  { id },
  Effect.fn(function* ({ id }) {
    const retried = yield* (yield* AccountWork).retry(id)
    yield* Console.error(`${retried} is ready again, with a new budget of attempts.`)
  })
).pipe(
  Command.withDescription("Make a dead letter ready again, with a new budget of attempts"),
  Command.withExamples([
    { command: "mission-control-runtime dead-letters retry <id>", description: "After the cause is fixed" }
  ])
)

const discard = Command.make(
  "discard",
  {
    id,
    reason: Flag.String("reason").pipe(Flag.withDescription("Stored with the notification"), Flag.optional)
  },
  Effect.fn(function* ({ id, reason }) {
    const discarded = yield* (yield* AccountWork).discard(id, Option.getOrUndefined(reason))
    yield* Console.error(`${discarded} is discarded.`)
  })
).pipe(
  Command.withDescription("Discard a dead letter: it is never delivered"),
  Command.withExamples([
    {
      command: 'mission-control-runtime dead-letters discard <id> --reason "answered by hand"',
      description: "With a reason"
    }
  ])
)

/** `dead-letters`: the notifications that failed for good. */
export const deadLetters = Command.make("dead-letters").pipe(
  Command.withDescription("List, retry or discard notifications that could not be delivered"),
  Command.withSubcommands([list, show, retry, discard])
)
