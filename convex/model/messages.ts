import { type Infer, v } from "convex/values"
import type { Doc, Id } from "../_generated/dataModel.js"
import type { MutationCtx } from "../_generated/server.js"
import { messageKind, notificationType } from "../schema.ts"
import { actor } from "./actor.ts"
import { cut } from "./cut.ts"
import { fanOutMessage } from "./fanOut.ts"
import { type Origin } from "./origin.ts"
import { clearHopNotice, recordSign } from "./participants.ts"

/** A message of a thread. */
export const messageView = v.object({
  id: v.string(),
  author: actor,
  content: v.string(),
  kind: messageKind,
  createdAt: v.number(),
  /** The content was cut for whoever asked. */
  isCut: v.boolean(),
  /** The type of what a reply answered. */
  answersType: v.union(notificationType, v.null())
})
export type MessageView = Infer<typeof messageView>

/** The longest content a message holds, in characters. */
export const maxMessageLength = 100_000
const cutMark = "\n\n[cut: the message was too long]"

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
 * Writes a message into the thread, cut with a mark beyond its longest length, and notifies everyone concerned. Writes
 * no row that the messages of other authors in the task write too.
 */
export const postMessage = async (
  ctx: Pick<MutationCtx, "db">,
  task: Doc<"tasks">,
  message: {
    readonly content: string
    readonly kind: Doc<"messages">["kind"]
    readonly run?: Pick<Doc<"messages">, "runId" | "epoch" | "answersType" | "isTruncated">
  },
  origin: Origin
): Promise<Id<"messages">> => {
  const content =
    message.content.length > maxMessageLength
      ? cut(message.content, maxMessageLength - cutMark.length) + cutMark
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
  // A fallback speaks for an agent that said nothing.
  if (message.kind !== "fallback") await recordSign(ctx, task, origin.actor, "message")
  if (origin.actor.type === "person") await clearHopNotice(ctx, task._id)
  const isQuiet = message.kind === "fallback" || message.kind === "note"
  await fanOutMessage(ctx, task, { _id: id, content }, origin, isQuiet)
  return id
}
