import { Console, Effect, Schema, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import { personFunctions } from "../../domain/people/PersonFunctions.ts"
import { describeMessage, Message } from "../../domain/people/PersonViews.ts"
import { People } from "../../services/People.ts"
import { jsonFlag, print, printJson } from "../Print.ts"
import { untilStopped } from "../UntilStopped.ts"
import { task } from "./Arguments.ts"

export const thread = Command.make(
  "thread",
  {
    task,
    follow: Flag.Boolean("follow").pipe(
      Flag.withDescription("Print each new message until Ctrl-C"),
      Flag.withDefault(false)
    ),
    json: jsonFlag
  },
  Effect.fn(function* ({ follow, json, task }) {
    const people = yield* People
    const { id } = yield* people.task(task)
    const printAll = (messages: ReadonlyArray<Message>) =>
      Effect.forEach(messages, (message) => (json ? printJson(message) : print(describeMessage(message))), {
        discard: true
      })
    if (!follow) {
      const args = { taskId: id, limit: 100 }
      const messages = yield* people.query(personFunctions.thread, Schema.Array(Message), args)
      if (json) return yield* printJson(messages)
      return messages.length === 0 ? yield* Console.error("The thread is empty.") : yield* printAll(messages)
    }
    const seen = new Set<string>()
    yield* Console.error("Following the thread. Ctrl-C ends this.")
    yield* people.thread(id).pipe(
      Stream.runForEach((messages) => {
        const unseen = messages.filter((message) => !seen.has(message.id))
        for (const message of unseen) seen.add(message.id)
        return printAll(unseen)
      }),
      untilStopped
    )
  })
).pipe(
  Command.withDescription("Show a task's thread: its last 100 messages"),
  Command.withExamples([
    { command: "mission-control-runtime thread <task> --follow", description: "Also new messages as they arrive" }
  ])
)
