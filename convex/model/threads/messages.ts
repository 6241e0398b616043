import { type Infer, v } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import { actor } from "../../tables/actor.ts"
import { notificationType } from "../../tables/notifications.ts"
import { messageKind } from "../../tables/threads.ts"
import { cut } from "../database/cut.ts"
import { noteAct } from "../limits/taskLoops.ts"
import { fanOutMessage } from "../notifications/fanOut.ts"
import { type Origin } from "../notifications/origin.ts"
import { recordParticipation } from "../tasks/participants.ts"
import { createDocument, maxContentLength } from "./documents.ts"

/** A message of a thread. */
export const messageView = v.object({
  id: v.string(),
  author: actor,
  content: v.string(),
  kind: messageKind,
  createdAt: v.number(),
  /** The content was cut for this answer. */
  isCut: v.boolean(),
  /** The type of event that a reply answered. */
  answersType: v.union(notificationType, v.null())
})
export type MessageView = Infer<typeof messageView>

/** The maximum length of a message, in characters. */
export const maxMessageLength = 100_000
const cutMark = "\n\n[cut: the message was too long]"

/**
 * Stores a content that is too long for a thread as a document of the task. Returns the message that names the
 * document.
 */
const storeAsDocument = async (
  ctx: MutationCtx,
  task: Doc<"tasks">,
  content: string,
  by: Origin["actor"]
): Promise<string> => {
  const isCut = content.length > maxContentLength
  const documentId = await createDocument(
    ctx,
    task.accountId,
    {
      title: cut(`${by.name}: ${task.title}`, 200),
      content: isCut ? cut(content, maxContentLength - cutMark.length) + cutMark : content,
      type: "note"
    },
    { actor: by, taskId: task._id }
  )
  return `This message has ${content.length} characters, which is too long for a thread. It was saved as the task's document ${documentId}.`
}

/** The message with its content cut to `length` characters. */
export const toMessageView = (message: Doc<"messages">, length: number): MessageView => ({
  id: message._id,
  author: message.author,
  content: cut(message.content, length),
  kind: message.kind,
  createdAt: message._creationTime,
  isCut: message.content.length > length,
  answersType: message.answersType ?? null
})

/**
 * Writes a message into the thread and notifies the agents and people concerned. A message that is too long becomes a
 * document of the task; its mentions still count. Writes no row that messages of other authors in the task write.
 */
export const postMessage = async (
  ctx: MutationCtx,
  task: Doc<"tasks">,
  message: {
    readonly content: string
    readonly kind: Doc<"messages">["kind"]
    readonly run?: Pick<Doc<"messages">, "runId" | "epoch" | "answersType" | "isTruncated" | "model">
    /** The people to whom it is a question, who are notified of that instead. */
    readonly asked?: ReadonlyArray<Id<"members">>
  },
  origin: Origin
): Promise<Id<"messages">> => {
  const content =
    message.content.length > maxMessageLength
      ? await storeAsDocument(ctx, task, message.content, origin.actor)
      : message.content
  const id = await ctx.db.insert("messages", {
    accountId: task.accountId,
    taskId: task._id,
    author: origin.actor,
    content,
    kind: message.kind,
    hops: origin.hops,
    ...message.run
  })
  // A fallback is posted for an agent that did not answer.
  if (message.kind !== "fallback") await recordParticipation(ctx, task, origin.actor, "message")
  if (origin.actor.type === "person") await noteAct(ctx, task)
  const isQuiet = message.kind === "fallback" || message.kind === "note"
  await fanOutMessage(ctx, task, { _id: id, content: message.content }, origin, { isQuiet, asked: message.asked })
  return id
}
