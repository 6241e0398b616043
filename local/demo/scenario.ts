import { Effect, Schedule } from "effect"
import type { Account } from "../account.ts"
import type { Person } from "../person.ts"
import type { Story } from "./story.ts"
import { type Message, showThread } from "./thread.ts"

type Notification = { readonly recipientType: string; readonly state: string }

const open = new Set(["ready", "claimed"])

/**
 * A person's message, an assignment, and a hand-over to QA in the Engineer's reply. Each step waits for its result in
 * the thread. Every new message is printed.
 */
export const playScenario = (person: Person, account: Account, story: Story) =>
  Effect.gen(function* () {
    const { accountId, agents } = account
    const task: { readonly taskId: string } = yield* Effect.promise(() =>
      person.mutation("app/tasks:create", {
        accountId,
        title: "Fix the login button",
        description: "On phones nothing happens when customers tap the login button."
      })
    )
    const { taskId } = task
    const tell = showThread(person, { accountId, taskId }, story)
    const until = (isReached: (messages: ReadonlyArray<Message>) => boolean) =>
      tell.pipe(Effect.repeat({ schedule: Schedule.spaced("50 millis"), until: isReached }))
    const hasSpoken = (name: string) => (messages: ReadonlyArray<Message>) =>
      messages.some((message) => message.author.name === name)

    yield* Effect.promise(() =>
      person.mutation("app/messages:post", {
        accountId,
        taskId,
        content: "@squad-lead customers cannot log in on their phones. Who can take this?"
      })
    )
    yield* until(hasSpoken("Squad Lead"))
    story.say("    Pat assigns the task to Engineer")
    yield* Effect.promise(() =>
      person.mutation("app/tasks:assign", { accountId, taskId, assigneeIds: [agents["engineer"]!] })
    )
    yield* until(hasSpoken("QA"))
    // Waits for the notifications that the last messages caused.
    const isQuiet = Effect.promise(async () => {
      const rows: ReadonlyArray<Notification> = await person.query("app/notifications:list", { accountId, limit: 500 })
      return !rows.some((row) => row.recipientType === "agent" && open.has(row.state))
    })
    yield* isQuiet.pipe(Effect.repeat({ schedule: Schedule.spaced("50 millis"), until: (quiet) => quiet }))
    yield* tell
    return task
  })
