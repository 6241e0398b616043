import { Console, Effect, Schema } from "effect"
import { Argument, Command } from "effect/cli"
import { personFunctions } from "../../domain/people/PersonFunctions.ts"
import { People } from "../../services/People.ts"
import { task } from "./Arguments.ts"
import { warnOfUnknownMentions } from "./UnknownMentions.ts"

export const post = Command.make(
  "post",
  {
    task,
    text: Argument.String("text").pipe(
      Argument.withDescription("The message; @slug mentions an agent, @all all of them")
    )
  },
  Effect.fn(function* ({ task, text }) {
    const people = yield* People
    const { id, status, title } = yield* people.task(task)
    const Posted = Schema.Struct({ messageId: Schema.String })
    yield* people.mutation(personFunctions.post, Posted, { taskId: id, content: text })
    yield* warnOfUnknownMentions(text)
    if (status === "archived") {
      yield* Console.error(
        "The task is archived. An agent answers there only if you mention it; others are not notified."
      )
    }
    yield* Console.error(`Posted to "${title}". Follow it with \`thread ${task} --follow\`.`)
  })
).pipe(
  Command.withDescription("Post a message to a task's thread"),
  Command.withExamples([
    { command: 'mission-control-runtime post <task> "@engineer can you fix it?"', description: "Ask an agent" }
  ])
)
