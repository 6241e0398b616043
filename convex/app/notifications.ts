import { v } from "convex/values"
import { memberMutation, memberQuery } from "../model/access/personFunctions.ts"
import { bounded } from "../model/database/bounded.ts"
import { cut } from "../model/database/cut.ts"
import { deadLetter, discardDeadLetter, listDeadLetters, retryDeadLetter } from "../model/notifications/deadLetters.ts"
import { taskOf } from "../model/tasks/taskView.ts"
import { actor } from "../tables/actor.ts"
import {
  deadLetterDecision,
  notificationOutcome,
  notificationState,
  notificationType
} from "../tables/notifications.ts"
import { failure } from "../tables/runs.ts"

/**
 * The notifications of the account or of one task, newest first, with their states. For members. Reads two rows each,
 * at most 500 notifications.
 */
export const list = memberQuery({
  args: { taskId: v.optional(v.string()), limit: v.optional(v.number()) },
  returns: v.array(
    v.object({
      id: v.string(),
      taskId: v.string(),
      recipientType: v.union(v.literal("agent"), v.literal("person")),
      recipientName: v.union(v.string(), v.null()),
      /** The type of the event with the highest rank. */
      type: notificationType,
      /** The events that caused it, oldest first. `refusal` is the policy's reason. */
      events: v.array(
        v.object({
          type: notificationType,
          actor,
          createdAt: v.number(),
          messageId: v.union(v.string(), v.null()),
          /** The text of a request or notice that is not a message of the thread. */
          text: v.union(v.string(), v.null()),
          /** The agent's question that the message answers. */
          answers: v.union(v.string(), v.null()),
          refusal: v.union(v.string(), v.null()),
          /** It joined the turn while that ran. */
          hasJoined: v.boolean()
        })
      ),
      state: notificationState,
      attempts: v.number(),
      createdAt: v.number(),
      nextAttemptAt: v.union(v.number(), v.null()),
      /** The budget that holds it, and until when. `until` null: until someone raises the budget. */
      held: v.union(v.object({ reason: v.string(), until: v.union(v.number(), v.null()) }), v.null()),
      endedAt: v.union(v.number(), v.null()),
      outcome: v.union(notificationOutcome, v.null()),
      outcomeReason: v.union(v.string(), v.null()),
      error: v.union(failure, v.null()),
      /** Who retried or discarded it as a dead letter. */
      decision: v.union(deadLetterDecision, v.null()),
      traceId: v.union(v.string(), v.null())
    })
  ),
  handler: async (ctx, { taskId, limit }) => {
    const count = bounded(limit, 200, 500)
    const task = taskId === undefined ? null : await taskOf(ctx, ctx.accountId, taskId)
    const rows = await (
      task === null
        ? ctx.db.query("notifications").withIndex("by_account", (q) => q.eq("accountId", ctx.accountId))
        : ctx.db.query("notifications").withIndex("by_task_age", (q) => q.eq("taskId", task._id))
    )
      .order("desc")
      .take(count)
    const views = []
    for (const row of rows) {
      const recipient =
        row.agentId === undefined
          ? row.memberId === undefined
            ? null
            : await ctx.db.get("members", row.memberId)
          : await ctx.db.get("agents", row.agentId)
      views.push({
        id: row._id,
        taskId: row.taskId,
        recipientType: row.recipientType,
        recipientName: recipient?.name ?? null,
        type: row.type,
        events: row.events.map((event) => ({
          type: event.type,
          actor: event.actor,
          createdAt: event.at,
          messageId: event.messageId ?? null,
          text: event.request ?? null,
          answers: event.answers ?? null,
          refusal: event.refusal ?? null,
          hasJoined: event.joined !== undefined
        })),
        state: row.state,
        attempts: row.attempts,
        createdAt: row._creationTime,
        nextAttemptAt: row.retryAt ?? null,
        held: row.held === undefined ? null : { reason: row.held.reason, until: row.held.until },
        endedAt: row.endedAt ?? null,
        outcome: row.outcome ?? null,
        outcomeReason: row.outcomeReason ?? null,
        error: row.error ?? null,
        decision: row.decision ?? null,
        traceId: row.traceId ?? null
      })
    }
    return views
  }
})

const textLength = 500

/**
 * The caller's unread notifications, newest first, at most 200. One of type `response_request` is an agent's question,
 * which is unread until the caller answers in the task's thread. For members. Reads three rows each.
 */
export const inbox = memberQuery({
  args: {},
  returns: v.array(
    v.object({
      id: v.string(),
      type: notificationType,
      from: actor,
      taskId: v.string(),
      taskTitle: v.union(v.string(), v.null()),
      /** The question, the notice, or the beginning of the message. */
      text: v.string(),
      createdAt: v.number()
    })
  ),
  handler: async (ctx) => {
    const rows = await ctx.db
      .query("notifications")
      .withIndex("by_member", (q) => q.eq("memberId", ctx.member._id).eq("state", "unread"))
      .order("desc")
      .take(200)
    const views = []
    for (const { _creationTime: createdAt, _id: id, events, taskId, type } of rows) {
      const [event] = events
      if (event === undefined) continue
      const task = await ctx.db.get("tasks", taskId)
      const { actor: from, messageId, request } = event
      const message = request !== undefined || messageId === undefined ? null : await ctx.db.get("messages", messageId)
      const text = cut(request ?? message?.content ?? "", textLength)
      views.push({ id, type, from, taskId, taskTitle: task?.title ?? null, text, createdAt })
    }
    return views
  }
})

/**
 * Marks the caller's unread notifications as read, except open questions, at most 500 per call. Returns their number.
 * For members. Reads those notifications.
 */
export const markRead = memberMutation({
  args: {},
  returns: v.object({ count: v.number() }),
  handler: async (ctx) => {
    const rows = await ctx.db
      .query("notifications")
      .withIndex("by_member", (q) => q.eq("memberId", ctx.member._id).eq("state", "unread"))
      .take(500)
    const read = rows.filter(({ type }) => type !== "response_request")
    for (const row of read) await ctx.db.patch("notifications", row._id, { state: "delivered", endedAt: Date.now() })
    return { count: read.length }
  }
})

/** The dead letters, the latest first, at most 200. For members. Reads three rows each. */
export const deadLetters = memberQuery({
  args: { limit: v.optional(v.number()) },
  returns: v.array(deadLetter),
  handler: (ctx, { limit }) => listDeadLetters(ctx, ctx.accountId, bounded(limit, 50, 200))
})

/**
 * Makes a dead letter ready again with a new budget of attempts. Fails with `conflict` if the notification is not a
 * dead letter. The notification and an activity name the caller. For members. Reads six rows.
 */
export const retry = memberMutation({
  args: { id: v.string() },
  returns: v.null(),
  handler: async (ctx, { id }) => {
    await retryDeadLetter(ctx, ctx.accountId, ctx.actor, id)
    return null
  }
})

/**
 * Discards a dead letter with a reason. Fails with `conflict` if the notification is not a dead letter. The notification
 * and an activity name the caller. For members. Reads one row.
 */
export const discard = memberMutation({
  args: { id: v.string(), reason: v.optional(v.string()) },
  returns: v.null(),
  handler: async (ctx, { id, reason }) => {
    await discardDeadLetter(ctx, ctx.accountId, ctx.actor, id, reason)
    return null
  }
})
