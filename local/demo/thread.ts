import { createInterface } from "node:readline"
import { Effect, Queue, Schedule } from "effect"
import type { Person } from "../person.ts"
import type { Story } from "./story.ts"

export type Message = { readonly id: string; readonly author: { readonly name: string }; readonly content: string }

/** Reads a task's messages each time it runs, shows those it has not shown before, and returns all. */
export const showThread = (
  person: Person,
  task: { readonly accountId: string; readonly taskId: string },
  story: Story
): Effect.Effect<ReadonlyArray<Message>> => {
  const shown = new Set<string>()
  return Effect.promise(async () => {
    const messages: ReadonlyArray<Message> = await person.query("app/messages:list", task)
    for (const message of messages) {
      if (shown.has(message.id)) continue
      shown.add(message.id)
      story.message(message.author.name, message.content)
    }
    return messages
  })
}

/**
 * Posts each line that is typed to the task, and repeats `show`, until the scope ends. `prepare` runs before a post and
 * returns the message. Failures of the control plane are printed or, while reading, ignored: it may be restarting.
 */
export const talk = (
  person: Person,
  task: { readonly accountId: string; readonly taskId: string },
  story: Story,
  prepare: (line: string) => Promise<string>,
  show: Effect.Effect<unknown> = showThread(person, task, story)
) =>
  Effect.gen(function* () {
    const lines = yield* Queue.unbounded<string>()
    yield* Effect.acquireRelease(
      Effect.sync(() =>
        createInterface({ input: process.stdin, terminal: false }).on("line", (line) => {
          if (line.trim() !== "") Queue.offerUnsafe(lines, line.trim())
        })
      ),
      (reader) => Effect.sync(() => reader.close())
    )
    const post = (line: string) =>
      Effect.promise(() =>
        prepare(line)
          .then((content) => person.mutation("app/messages:post", { ...task, content }))
          .catch((error: Error) => story.say(`not posted, try again: ${error.message}`))
      )
    yield* Queue.take(lines).pipe(Effect.flatMap(post), Effect.forever, Effect.forkScoped)
    return yield* show.pipe(
      Effect.ignoreCause,
      Effect.repeat(Schedule.spaced("200 millis")),
      Effect.andThen(Effect.never)
    )
  })
