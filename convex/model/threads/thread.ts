import type { Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { readWithin } from "../database/readWithin.ts"
import { type MessageView, toMessageView } from "./messages.ts"

export const threadMessageLength = 4_000

/**
 * The last messages of a thread, oldest first, each cut; only those after `since` if it is given. Stops early when the
 * characters read use up the budget.
 */
export const threadOf = async (
  ctx: Pick<QueryCtx, "db">,
  taskId: Id<"tasks">,
  length: number,
  budget: number,
  { messageLength = threadMessageLength, since = 0 }: { readonly messageLength?: number; readonly since?: number } = {}
): Promise<Array<MessageView>> => {
  const newestFirst = ctx.db
    .query("messages")
    .withIndex("by_task", (q) => q.eq("taskId", taskId).gt("_creationTime", since))
    .order("desc")
  const messages = await readWithin(newestFirst, length, budget, (message) => message.content.length)
  return messages.map((message) => toMessageView(message, messageLength)).toReversed()
}
