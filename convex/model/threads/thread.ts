import type { Doc, Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { readWithin } from "../database/readWithin.ts"
import { type MessageView, toMessageView } from "./messages.ts"

export const threadMessageLength = 4_000

/**
 * The last messages of a thread, oldest first; only those after `since` if it is given. Stops early when the characters
 * read use up the budget.
 */
export const lastMessages = async (
  ctx: Pick<QueryCtx, "db">,
  taskId: Id<"tasks">,
  length: number,
  budget: number,
  since = 0
): Promise<Array<Doc<"messages">>> => {
  const newestFirst = ctx.db
    .query("messages")
    .withIndex("by_task", (q) => q.eq("taskId", taskId).gt("_creationTime", since))
    .order("desc")
  const messages = await readWithin(newestFirst, length, budget, (message) => message.content.length)
  return messages.toReversed()
}

/** The same for agents: each is cut. */
export const threadOf = async (
  ctx: Pick<QueryCtx, "db">,
  taskId: Id<"tasks">,
  length: number,
  budget: number,
  since = 0
): Promise<Array<MessageView>> => {
  const messages = await lastMessages(ctx, taskId, length, budget, since)
  return messages.map((message) => toMessageView(message, threadMessageLength))
}
