import { v } from "convex/values"
import { memberMutation, memberQuery } from "../model/access/personFunctions.ts"
import { refusal } from "../model/access/refusal.ts"
import { bounded } from "../model/database/bounded.ts"
import { personOrigin } from "../model/notifications/origin.ts"
import { taskOf } from "../model/tasks/taskView.ts"
import { maxMessageLength, messageView, postMessage, toMessageView } from "../model/threads/messages.ts"
import { lastMessages } from "../model/threads/thread.ts"

/**
 * Posts a message in a task's thread. For members. Reads the task, its subscriptions, and the subscribed and mentioned
 * agents and members.
 */
export const post = memberMutation({
  args: { taskId: v.string(), content: v.string() },
  returns: v.object({ messageId: v.string() }),
  handler: async (ctx, { taskId, content }) => {
    const task = await taskOf(ctx, ctx.accountId, taskId)
    if (content.trim() === "") throw refusal("invalid", "The message is empty. Write a text.")
    if (content.length > maxMessageLength) {
      throw refusal("limit", `A message has at most ${maxMessageLength} characters. Shorten it.`)
    }
    return { messageId: await postMessage(ctx, task, { content, kind: "message" }, personOrigin(ctx.actor)) }
  }
})

/**
 * The last messages of a task's thread, oldest first, each with the model that wrote it if it is a reply and the gateway
 * named the model. For members. Reads the task and the messages.
 */
export const list = memberQuery({
  args: { taskId: v.string(), limit: v.optional(v.number()) },
  returns: v.array(v.object({ ...messageView.fields, model: v.union(v.string(), v.null()) })),
  handler: async (ctx, { taskId, limit }) => {
    const task = await taskOf(ctx, ctx.accountId, taskId)
    const messages = await lastMessages(ctx, task._id, bounded(limit, 100, 200), 4_000_000)
    return messages.map((message) => ({ ...toMessageView(message, maxMessageLength), model: message.model ?? null }))
  }
})
