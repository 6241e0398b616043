import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import { agentActor } from "../accounts/actor.ts"
import type { Change } from "../database/change.ts"
import { derivedFromAccepted, notWaiting } from "../notifications/events.ts"
import { personOrigin } from "../notifications/origin.ts"
import { postMessage } from "../threads/messages.ts"
import { announce } from "../webhooks/announce.ts"
import { type Cause, fallbackMessage } from "./fallbackMessage.ts"

type Notification = Doc<"notifications">

/** The fields by which a message refers to its run. */
export const runFieldsOf = (row: Notification, epoch: number) => ({
  runId: row._id,
  epoch,
  answersType: derivedFromAccepted(row.events).type
})

/**
 * Posts a fallback, with the given text or the text for the cause. Posts nothing if the notification had a fallback
 * before, or if its task or agent was deleted.
 */
export const postFallback = async (
  ctx: MutationCtx,
  row: Notification,
  epoch: number,
  contentOrCause: string | Cause
): Promise<Id<"messages"> | null> => {
  const task = await ctx.db.get("tasks", row.taskId)
  const agent = row.agentId === undefined ? null : await ctx.db.get("agents", row.agentId)
  if (row.hasFallback || task === null || agent === null) return null
  const content =
    typeof contentOrCause === "string"
      ? contentOrCause
      : fallbackMessage(agent.name, derivedFromAccepted(row.events).type, contentOrCause)
  // A fallback notifies no agent, so only the actor of its origin matters.
  return await postMessage(
    ctx,
    task,
    { content, kind: "fallback", run: runFieldsOf(row, epoch) },
    { ...personOrigin(agentActor(agent)), hops: row.hops + 1 }
  )
}

/** Makes a notification a dead letter, posts the fallback if an answer is owed, and notifies the account's webhooks. */
export const makeDeadLetter = async (
  ctx: MutationCtx,
  row: Notification,
  epoch: number,
  change: Change<Notification> & { readonly error: Cause & { readonly at: number } }
): Promise<void> => {
  const posted = row.isRequired ? await postFallback(ctx, row, epoch, change.error) : null
  await ctx.db.patch("notifications", row._id, {
    ...change,
    state: "dead",
    ...notWaiting,
    crashes: 0,
    endedAt: Date.now(),
    ...(posted === null ? {} : { hasFallback: true })
  })
  const failure = change.error.class
  const attempts = change.attempts ?? row.attempts
  await announce(ctx, row.accountId, {
    type: "dead_letter.created",
    data: {
      notificationId: row._id,
      taskId: row.taskId,
      agentId: row.agentId ?? null,
      failure,
      text: `A notification (${row.type}) could not be delivered in ${attempts} attempts: ${failure}. Retry or discard it with dead-letters.`
    }
  })
}
