import { Effect } from "effect"
import type { Account } from "../account.ts"
import type { Person } from "../person.ts"
import type { Story } from "./story.ts"
import type { Message } from "./thread.ts"

type Task = { readonly id: string; readonly title: string; readonly status: string }
type Document = {
  readonly id: string
  readonly title: string
  readonly author: { readonly name: string }
  readonly updatedAt: number
  readonly content: string
}
type Notification = {
  readonly id: string
  readonly recipientType: string
  readonly recipientName: string | null
  readonly state: string
  readonly attempts: number
  readonly events: ReadonlyArray<{ readonly text: string | null }>
}

/** Lines of a document that are shown. */
const shownLines = 30

/**
 * Shows each time what is new since the last time, in every task: tasks that agents created, messages, documents, agents
 * that began to work, and notices to the person, for example of a budget.
 */
export const showAccount = (
  person: Person,
  account: Account,
  mainTaskId: string,
  story: Story
): Effect.Effect<void> => {
  const { accountId } = account
  const shown = new Set<string>([mainTaskId])
  /** Whether the key is asked for the first time. */
  const isNew = (key: string): boolean => shown.size !== shown.add(key).size
  const showTask = async ({ id, title }: Task) => {
    if (isNew(id)) story.aside(`new task: ${title}`)
    const messages: ReadonlyArray<Message> = await person.query("app/messages:list", { accountId, taskId: id })
    for (const message of messages.filter((each) => isNew(each.id))) {
      const where = id === mainTaskId ? "" : ` (in the task "${title}")`
      story.message(`${message.author.name}${where}`, message.content)
    }
  }
  const showDocument = ({ author, content, id, title, updatedAt }: Document) => {
    if (!isNew(`${id} ${updatedAt}`)) return
    const lines = content.trimEnd().split("\n")
    const rest = lines.length - shownLines
    story.aside(`document by ${author.name}: ${title}`)
    for (const line of lines.slice(0, shownLines)) story.aside(`| ${line}`)
    if (rest > 0) story.aside(`| [${rest} more lines]`)
  }
  return Effect.promise(async () => {
    const [tasks, documents, notifications]: [
      ReadonlyArray<Task>,
      ReadonlyArray<Document>,
      ReadonlyArray<Notification>
    ] = await Promise.all([
      person.query("app/tasks:list", { accountId, limit: 50 }),
      person.query("app/documents:list", { accountId, limit: 20 }),
      person.query("app/notifications:list", { accountId, limit: 50 })
    ])
    for (const task of tasks.toReversed()) await showTask(task)
    for (const document of documents.toReversed()) showDocument(document)
    for (const { attempts, events, id, recipientName, recipientType, state } of notifications.toReversed()) {
      if (recipientType === "agent" && state === "claimed" && isNew(`${id} ${attempts}`)) {
        story.aside(`${recipientName} is working ...`)
      }
      const texts = recipientType === "person" ? events.flatMap(({ text }) => text ?? []) : []
      for (const [index, text] of texts.entries()) {
        if (!isNew(`${id} text ${index}`)) continue
        story.aside(`notice: ${text}`)
        if (/budget .*is used up/.test(text)) story.say("Press Ctrl-C, and start again with a larger --budget.")
      }
    }
  })
}
