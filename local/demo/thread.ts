import { Effect } from "effect"
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
