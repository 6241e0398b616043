import type { Doc } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import { recordActivity } from "../accounts/activities.ts"
import { systemActor } from "../accounts/actor.ts"
import { notifyMember, ownerOf } from "../notifications/notify.ts"
import { personOrigin } from "../notifications/origin.ts"

/** The part of a webhook's URL that members may see. The path may contain a secret of the receiver. */
export const hostOf = ({ url }: Pick<Doc<"webhooks">, "url">): string => new URL(url).host

/**
 * Sends nothing more to the webhook until a person enables it. Adds an activity and notifies the account's owner in the
 * task that changed last, because a notification belongs to a task.
 */
export const disableWebhook = async (ctx: MutationCtx, webhook: Doc<"webhooks">, reason: string): Promise<void> => {
  const { _id, accountId } = webhook
  await ctx.db.patch("webhooks", _id, { disabled: { at: Date.now(), reason } })
  const text = `The webhook to ${hostOf(webhook)} is disabled, because ${reason}. Fix the receiver, then run webhooks enable and resend what failed.`
  await recordActivity(ctx, { accountId, type: "webhook_disabled", actor: systemActor, summary: text })
  const task = await ctx.db
    .query("tasks")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .order("desc")
    .first()
  const owner = await ownerOf(ctx, accountId)
  if (task === null || owner === null) return
  await notifyMember(ctx, task, owner._id, personOrigin(systemActor), { type: "thread_update", request: text })
}
