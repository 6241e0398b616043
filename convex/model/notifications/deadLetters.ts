import { type Infer, v } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"
import { notificationType } from "../../tables/notifications.ts"
import { failure } from "../../tables/runs.ts"
import { ownRow } from "../access/ownRow.ts"
import { refusal } from "../access/refusal.ts"
import { recordActivity } from "../accounts/activities.ts"
import { systemActor } from "../accounts/actor.ts"
import { cut } from "../database/cut.ts"
import { enqueue } from "../queue/sessions.ts"

/** A dead letter, with what an operator needs to decide about it. */
export const deadLetter = v.object({
  id: v.string(),
  type: notificationType,
  agentSlug: v.union(v.string(), v.null()),
  taskId: v.string(),
  taskTitle: v.union(v.string(), v.null()),
  createdAt: v.number(),
  diedAt: v.number(),
  attempts: v.number(),
  claims: v.number(),
  error: v.union(failure, v.null()),
  isRequired: v.boolean(),
  hasFallback: v.boolean(),
  /** Why the agent had work, oldest first. */
  events: v.array(v.object({ type: notificationType, actorName: v.string(), at: v.number() })),
  traceId: v.union(v.string(), v.null())
})

/** The actor of an operator, who uses a runtime's token, so that the person is unknown. */
export const operator: Actor = { ...systemActor, name: "Operator" }

/** The dead letters, the latest first. */
export const listDeadLetters = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  limit: number
): Promise<Array<Infer<typeof deadLetter>>> => {
  const rows = await ctx.db
    .query("notifications")
    .withIndex("by_ended", (q) => q.eq("accountId", accountId).eq("state", "dead"))
    .order("desc")
    .take(limit)
  const views: Array<Infer<typeof deadLetter>> = []
  for (const row of rows) {
    const agent = row.agentId === undefined ? null : await ctx.db.get("agents", row.agentId)
    const task = await ctx.db.get("tasks", row.taskId)
    views.push({
      id: row._id,
      type: row.type,
      agentSlug: agent?.slug ?? null,
      taskId: row.taskId,
      taskTitle: task?.title ?? null,
      createdAt: row._creationTime,
      diedAt: row.endedAt ?? row._creationTime,
      attempts: row.attempts,
      claims: row.claims,
      error: row.error ?? null,
      isRequired: row.isRequired,
      hasFallback: row.hasFallback,
      events: row.events.map(({ actor, at, type }) => ({ type, actorName: actor.name, at })),
      traceId: row.traceId ?? null
    })
  }
  return views
}

const deadLetterOf = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  notificationId: string
): Promise<Doc<"notifications">> => {
  const row = await ownRow(ctx, "notifications", accountId, notificationId)
  if (row === null) {
    throw refusal("not_found", "The account has no notification with this id. List the dead letters.")
  }
  if (row.state !== "dead") {
    throw refusal("conflict", "This notification is not a dead letter (any more). List the dead letters.")
  }
  return row
}

/** Makes an ended notification ready again with a new budget of attempts. An earlier fallback is not posted again. */
export const requeue = async (ctx: MutationCtx, row: Doc<"notifications">): Promise<Doc<"agents">> => {
  const agent = row.agentId === undefined ? null : await ctx.db.get("agents", row.agentId)
  if (agent === null || agent.removedAt !== undefined || row.sessionId === undefined) {
    throw refusal(
      "invalid",
      "The agent of this notification was removed. Discard the notification if it is a dead letter."
    )
  }
  const session = await ctx.db.get("sessions", row.sessionId)
  if (session === null)
    throw refusal(
      "invalid",
      "The session of this notification was deleted. Discard the notification if it is a dead letter."
    )
  const now = Date.now()
  // It goes behind the notifications that are ready now, and loses the head start of its events.
  await ctx.db.patch("notifications", row._id, {
    state: "ready",
    at: now,
    readyAt: now,
    attempts: 0,
    failures: 0,
    silences: 0,
    crashes: 0,
    sharedSince: undefined,
    endedAt: undefined,
    outcome: undefined,
    outcomeReason: undefined,
    runsInNextGeneration: false
  })
  await enqueue(ctx, session, now)
  return agent
}

/** Makes a dead letter ready again. The notification and an activity name the actor. */
export const retryDeadLetter = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  actor: Actor,
  id: string
): Promise<void> => {
  const row = await deadLetterOf(ctx, accountId, id)
  const agent = await requeue(ctx, row)
  await ctx.db.patch("notifications", row._id, { decision: { kind: "retried", by: actor, at: Date.now() } })
  await recordActivity(ctx, {
    accountId,
    type: "dead_letter_retried",
    actor,
    taskId: row.taskId,
    summary: `a ${row.type} for ${agent.name} is retried`
  })
}

/** Discards a dead letter. The notification and an activity name the actor. */
export const discardDeadLetter = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  actor: Actor,
  id: string,
  reason: string | undefined
): Promise<void> => {
  const row = await deadLetterOf(ctx, accountId, id)
  const outcomeReason = cut(reason?.trim() ?? "", 500)
  await ctx.db.patch("notifications", row._id, {
    state: "discarded",
    decision: { kind: "discarded", by: actor, at: Date.now() },
    ...(outcomeReason === "" ? {} : { outcomeReason })
  })
  await recordActivity(ctx, {
    accountId,
    type: "dead_letter_discarded",
    actor,
    taskId: row.taskId,
    summary: `a dead ${row.type} was discarded${outcomeReason === "" ? "" : `: ${outcomeReason}`}`
  })
}
