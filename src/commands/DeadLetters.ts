import { Console, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { deadLetterTable, describeDeadLetter } from "../domain/delivery/DeadLetter.ts"
import { Operator } from "../services/Operator.ts"
import { endWith } from "./EndedWith.ts"
import { jsonFlag, print, printJson } from "./Print.ts"

const MOST = 200

const id = Argument.String("id").pipe(Argument.withDescription("The notification's id"))

const list = Command.make(
  "list",
  {
    limit: Flag.Int("limit").pipe(Flag.withDescription("How many at most, 1 to 200"), Flag.withDefault(50)),
    json: jsonFlag
  },
  Effect.fn(function* ({ json, limit }) {
    const letters = yield* (yield* Operator).deadLetters(Math.min(MOST, Math.max(1, limit)))
    if (json) return yield* printJson(letters)
    return letters.length === 0 ? yield* Console.error("No dead letters.") : yield* print(deadLetterTable(letters))
  })
).pipe(
  Command.withDescription("List the notifications that were given up, the latest first"),
  Command.withExamples([
    { command: "mission-control-runtime dead-letters list", description: "The latest 50" },
    { command: "mission-control-runtime dead-letters list --json | jq -r '.[].id'", description: "Their ids" }
  ])
)

const show = Command.make(
  "show",
  { id, json: jsonFlag },
  Effect.fn(function* ({ id, json }) {
    const letters = yield* (yield* Operator).deadLetters(MOST)
    const letter = letters.find((each) => each.id === id)
    if (letter === undefined) return yield* endWith(1, `No dead letter ${id} among the latest ${MOST}.`)
    return json ? yield* printJson(letter) : yield* print(describeDeadLetter(letter))
  })
).pipe(
  Command.withDescription("Show everything about one"),
  Command.withExamples([
    { command: "mission-control-runtime dead-letters show <id>", description: "Why it was given up" }
  ])
)

const retry = Command.make(
  "retry",
  { id },
  Effect.fn(function* ({ id }) {
    yield* (yield* Operator).retry(id)
    yield* Console.error(`${id} is ready again, with a new budget of attempts.`)
  })
).pipe(
  Command.withDescription("Make one ready again with a new budget of attempts"),
  Command.withExamples([
    { command: "mission-control-runtime dead-letters retry <id>", description: "After its cause is fixed" }
  ])
)

const discard = Command.make(
  "discard",
  {
    id,
    reason: Flag.String("reason").pipe(Flag.withDescription("Kept with the notification"), Flag.optional)
  },
  Effect.fn(function* ({ id, reason }) {
    yield* (yield* Operator).discard(id, Option.getOrUndefined(reason))
    yield* Console.error(`${id} is discarded.`)
  })
).pipe(
  Command.withDescription("End one for good"),
  Command.withExamples([
    {
      command: 'mission-control-runtime dead-letters discard <id> --reason "answered by hand"',
      description: "With why"
    }
  ])
)

/** `dead-letters`: what was given up, and what becomes of it. */
export const deadLetters = Command.make("dead-letters").pipe(
  Command.withDescription("The notifications that were given up"),
  Command.withSubcommands([list, show, retry, discard])
)
