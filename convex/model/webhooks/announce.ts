import { internal } from "../../_generated/api.js"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import { bodyOf, type WebhookEvent } from "./webhookEvents.ts"

/** The maximum number of webhooks of an account. */
export const maxWebhooks = 10

/** The account's webhooks, the oldest first. Reads one row each. */
export const webhooksOf = (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">): Promise<Array<Doc<"webhooks">>> =>
  ctx.db
    .query("webhooks")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .take(maxWebhooks)

/**
 * Has the account's webhooks send the event. Writes one row per webhook in the caller's transaction, so that the event
 * is sent if and only if the transaction commits. Reads the webhooks, which for most accounts is an empty range.
 */
export const announce = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  event: Exclude<WebhookEvent, { readonly type: "webhook.test" }>
): Promise<void> => {
  const wanted = (await webhooksOf(ctx, accountId)).filter(
    ({ disabled, types }) => disabled === undefined && (types === null || types.includes(event.type))
  )
  if (wanted.length === 0) return
  await addDeliveries(
    ctx,
    accountId,
    wanted.map(({ _id }) => _id),
    event
  )
}

/** Adds a delivery of the event for each of these webhooks. Returns their ids in the same order. */
export const addDeliveries = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  webhookIds: ReadonlyArray<Id<"webhooks">>,
  event: WebhookEvent
): Promise<Array<Id<"webhookDeliveries">>> => {
  const { type } = event
  const body = bodyOf(accountId, event, Date.now())
  const ids: Array<Id<"webhookDeliveries">> = []
  for (const webhookId of webhookIds) {
    const delivery = { accountId, webhookId, type, body, state: "pending" as const, attempts: 0 }
    ids.push(await ctx.db.insert("webhookDeliveries", delivery))
  }
  await ctx.scheduler.runAfter(0, internal.scheduled.webhooks.attempt, { ids })
  return ids
}
