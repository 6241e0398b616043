import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import { agentActor } from "../accounts/actor.ts"
import type { Change } from "../database/change.ts"
import { derivedFromAccepted, notWaiting } from "../notifications/events.ts"
import { personOrigin } from "../notifications/origin.ts"
import { postMessage } from "../threads/messages.ts"
import { type Cause, fallbackMessage } from "./fallbackMessage.ts"

type Notification = Doc<"notifications">

/** What a message of the run says of it. */
export const writtenIn = (row: Notification, epoch: number) => ({
  runId: row._id,
  epoch,
  answersType: derivedFromAccepted(row.events).type
})

/** Posts the fallback, a text or the words for its cause, once in the life of a notification, if its task and agent still exist. */
export const postFallback = async (
  ctx: MutationCtx,
  row: Notification,
  epoch: number,
  said: string | Cause
): Promise<Id<"messages"> | null> => {
  const task = await ctx.db.get("tasks", row.taskId)
  const agent = row.agentId === undefined ? null : await ctx.db.get("agents", row.agentId)
  if (row.hasFallback || task === null || agent === null) return null
  const content =
    typeof said === "string" ? said : fallbackMessage(agent.name, derivedFromAccepted(row.events).type, said)
  // A fallback notifies no agent, so that nothing of its origin but the actor counts.
  return await postMessage(
    ctx,
    task,
    { content, kind: "fallback", run: writtenIn(row, epoch) },
    { ...personOrigin(agentActor(agent)), hops: row.hops + 1 }
  )
}

/** Ends a notification as a dead letter, and posts the fallback if an answer was owed. */
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
}
