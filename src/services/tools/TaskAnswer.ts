/** Tasks and messages in tools' answers: names instead of ids, readable dates, long texts cut. */
import { DateTime, Schema, Struct } from "effect"
import { TaskStatus } from "../../domain/delivery/DeliveryContext.ts"
import type { Actor, MessageView, TaskView } from "../../domain/delivery/DeliveryContext.ts"
import { cut } from "../../domain/text/Text.ts"

export const TaskAnswer = Schema.Struct({
  id: Schema.String,
  title: Schema.String,
  description: Schema.String,
  status: TaskStatus,
  priority: Schema.Finite,
  labels: Schema.Array(Schema.String),
  assignees: Schema.Array(Schema.String),
  blockedReason: Schema.NullOr(Schema.String),
  openQuestions: Schema.optionalKey(
    Schema.Array(
      Schema.Struct({ question: Schema.String, to: Schema.String, askedBy: Schema.String, askedAt: Schema.String })
    )
  ),
  dueDate: Schema.NullOr(Schema.String),
  prNumber: Schema.NullOr(Schema.Finite),
  createdBy: Schema.String,
  updatedAt: Schema.String
})

export const MessageAnswer = Schema.Struct({
  author: Schema.String,
  kind: Schema.String,
  createdAt: Schema.String,
  content: Schema.String
})

/** Limit of one message, so that it fits into a model's context. */
const MESSAGE_CHARACTERS = 4_000
/** Limit of a whole thread; the newest messages are kept. */
const THREAD_CHARACTERS = 100_000

/** Epoch milliseconds as ISO 8601; a number out of range unchanged. */
export const timeOf = (millis: number): string =>
  Math.abs(millis) <= 8.64e15 ? DateTime.formatIso(DateTime.makeUnsafe(millis)) : String(millis)

export const nameOf = (actor: Actor): string => (actor.slug === null ? actor.name : `@${actor.slug}`)

export const taskAnswer = ({ openQuestions, ...task }: TaskView): typeof TaskAnswer.Type => ({
  ...Struct.omit(task, ["isOrchestratorChat"]),
  ...(openQuestions === undefined
    ? {}
    : {
        openQuestions: openQuestions.map(({ askedAt, askedBy, person, text }) => ({
          question: text,
          to: person,
          askedBy: nameOf(askedBy),
          askedAt: timeOf(askedAt)
        }))
      }),
  assignees: task.assignees.map(({ slug }) => slug),
  dueDate: task.dueDate === null ? null : timeOf(task.dueDate),
  createdBy: nameOf(task.createdBy),
  updatedAt: timeOf(task.updatedAt)
})

/** The thread, oldest message first, without the oldest messages that exceed the limit. */
export const threadAnswer = (thread: ReadonlyArray<MessageView>): ReadonlyArray<typeof MessageAnswer.Type> => {
  const answers: Array<typeof MessageAnswer.Type> = []
  let characters = 0
  for (const message of thread.toReversed()) {
    const content = cut(message.content, MESSAGE_CHARACTERS)
    characters += content.length
    if (characters > THREAD_CHARACTERS) break
    answers.push({ author: nameOf(message.author), kind: message.kind, createdAt: timeOf(message.createdAt), content })
  }
  return answers.toReversed()
}
