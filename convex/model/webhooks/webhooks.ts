import type { Infer } from "convex/values"
import { internal } from "../../_generated/api.js"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"
import type { webhookType } from "../../tables/webhooks.ts"
import { ownRow } from "../access/ownRow.ts"
import { refusal } from "../access/refusal.ts"
import { recordActivity } from "../accounts/activities.ts"
import { addDeliveries, maxWebhooks, webhooksOf } from "./announce.ts"
import { hostOf } from "./disabling.ts"
import { newSecret } from "./signature.ts"
import { addressProblem, isLocalAllowed } from "./webhookAddress.ts"

/** The account's webhook with this id. Fails with `not_found`. */
export const webhookOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  webhookId: string
): Promise<Doc<"webhooks">> => {
  const webhook = await ownRow(ctx, "webhooks", accountId, webhookId)
  if (webhook === null) {
    throw refusal("not_found", "The account has no webhook with this id. List its webhooks.")
  }
  return webhook
}

const record = (ctx: MutationCtx, webhook: Pick<Doc<"webhooks">, "accountId" | "url">, actor: Actor, what: string) =>
  recordActivity(ctx, {
    accountId: webhook.accountId,
    type: `webhook_${what}`,
    actor,
    summary: `webhook to ${hostOf(webhook)} ${what}`
  })

/** Adds a webhook with a new secret, which is returned this one time. Without types it gets every event. */
export const addWebhook = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  actor: Actor,
  url: string,
  types: ReadonlyArray<Infer<typeof webhookType>> | undefined
): Promise<{ id: Id<"webhooks">; secret: string }> => {
  const problem = addressProblem(url, isLocalAllowed())
  if (problem !== null) throw refusal("invalid", problem)
  if (types?.length === 0) throw refusal("invalid", "types is empty. Leave it out for all types of events.")
  const count = (await webhooksOf(ctx, accountId)).length
  if (count >= maxWebhooks) {
    throw refusal("limit", `An account has at most ${maxWebhooks} webhooks. Remove one first.`)
  }
  const webhook = { accountId, url: new URL(url).href, secret: newSecret() }
  const id = await ctx.db.insert("webhooks", {
    ...webhook,
    types: types === undefined ? null : [...new Set(types)],
    createdBy: actor
  })
  await record(ctx, webhook, actor, "added")
  return { id, secret: webhook.secret }
}

/**
 * Removes a webhook. A pending delivery ends at its next attempt; the history is deleted thirty days after its end.
 */
export const removeWebhook = async (ctx: MutationCtx, webhook: Doc<"webhooks">, actor: Actor): Promise<void> => {
  await ctx.db.delete("webhooks", webhook._id)
  await record(ctx, webhook, actor, "removed")
}

/** Sends again to a webhook that was disabled. */
export const enableWebhook = async (ctx: MutationCtx, webhook: Doc<"webhooks">, actor: Actor): Promise<void> => {
  if (webhook.disabled === undefined) throw refusal("conflict", "The webhook is not disabled.")
  await ctx.db.patch("webhooks", webhook._id, { disabled: undefined, failingSince: undefined })
  await record(ctx, webhook, actor, "enabled")
}

const mustBeEnabled = ({ disabled }: Doc<"webhooks">): void => {
  if (disabled !== undefined) throw refusal("conflict", "The webhook is disabled. Enable it first.")
}

/** Sends an event of type `webhook.test` to the webhook only. Returns the delivery. */
export const testWebhook = async (ctx: MutationCtx, webhook: Doc<"webhooks">): Promise<Id<"webhookDeliveries">> => {
  mustBeEnabled(webhook)
  const event = {
    type: "webhook.test" as const,
    data: { webhookId: webhook._id, text: "This is a test of the webhook." }
  }
  const [id] = await addDeliveries(ctx, webhook.accountId, [webhook._id], event)
  if (id === undefined) throw new Error("The delivery of a test was not added.")
  return id
}

/** Sends an ended delivery again, with the same message id and body and with new attempts. */
export const resendDelivery = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  deliveryId: string
): Promise<void> => {
  const delivery = await ownRow(ctx, "webhookDeliveries", accountId, deliveryId)
  if (delivery === null) {
    throw refusal("not_found", "The account has no delivery with this id. See the history of its webhooks.")
  }
  if (delivery.state === "pending") throw refusal("conflict", "The delivery is pending, so it is being sent already.")
  mustBeEnabled(await webhookOf(ctx, accountId, delivery.webhookId))
  const again = { state: "pending" as const, attempts: 0, endedAt: undefined }
  await ctx.db.patch("webhookDeliveries", delivery._id, again)
  await ctx.scheduler.runAfter(0, internal.scheduled.webhooks.attempt, { ids: [delivery._id] })
}
