import { v } from "convex/values"
import { managerMutation, managerQuery } from "../model/access/personFunctions.ts"
import { bounded } from "../model/database/bounded.ts"
import { webhooksOf } from "../model/webhooks/announce.ts"
import {
  addWebhook,
  enableWebhook,
  removeWebhook,
  resendDelivery,
  testWebhook,
  webhookOf
} from "../model/webhooks/webhooks.ts"
import { actor } from "../tables/actor.ts"
import { webhookDeliveryState, webhookType } from "../tables/webhooks.ts"

/** The account's webhooks without their secrets. For owners and admins. Reads one row each. */
export const list = managerQuery({
  args: {},
  returns: v.array(
    v.object({
      id: v.string(),
      url: v.string(),
      /** Null: all. */
      types: v.union(v.array(webhookType), v.null()),
      createdBy: actor,
      createdAt: v.number(),
      /** Since when no attempt has succeeded. */
      failingSince: v.union(v.number(), v.null()),
      disabled: v.union(v.object({ at: v.number(), reason: v.string() }), v.null())
    })
  ),
  handler: async (ctx) =>
    (await webhooksOf(ctx, ctx.accountId)).map((webhook) => ({
      id: webhook._id,
      url: webhook.url,
      types: webhook.types,
      createdBy: webhook.createdBy,
      createdAt: webhook._creationTime,
      failingSince: webhook.failingSince ?? null,
      disabled: webhook.disabled ?? null
    }))
})

/**
 * Adds a webhook for these types of events, or for all, and returns its signing secret this one time. Refuses private
 * addresses. For owners and admins. Reads the account's webhooks.
 */
export const add = managerMutation({
  args: { url: v.string(), types: v.optional(v.array(webhookType)) },
  returns: v.object({ id: v.string(), secret: v.string() }),
  handler: (ctx, { types, url }) => addWebhook(ctx, ctx.accountId, ctx.actor, url, types)
})

/** Removes a webhook. Nothing more is sent to it. For owners and admins. Reads one row. */
export const remove = managerMutation({
  args: { id: v.string() },
  returns: v.null(),
  handler: async (ctx, { id }): Promise<null> => {
    await removeWebhook(ctx, await webhookOf(ctx, ctx.accountId, id), ctx.actor)
    return null
  }
})

/**
 * Sends to a webhook again that was disabled. Fails with `conflict` if it is not. Deliveries that failed are not resent.
 * For owners and admins. Reads one row.
 */
export const enable = managerMutation({
  args: { id: v.string() },
  returns: v.null(),
  handler: async (ctx, { id }): Promise<null> => {
    await enableWebhook(ctx, await webhookOf(ctx, ctx.accountId, id), ctx.actor)
    return null
  }
})

/** Sends a test event to a webhook, and returns its delivery. For owners and admins. Reads one row. */
export const test = managerMutation({
  args: { id: v.string() },
  returns: v.object({ deliveryId: v.string() }),
  handler: async (ctx, { id }) => ({
    deliveryId: await testWebhook(ctx, await webhookOf(ctx, ctx.accountId, id))
  })
})

/**
 * The deliveries of the account or of one webhook, the latest first. For owners and admins. Reads one row each, at most
 * 200.
 */
export const history = managerQuery({
  args: { id: v.optional(v.string()), limit: v.optional(v.number()) },
  returns: v.array(
    v.object({
      id: v.string(),
      webhookId: v.string(),
      type: v.string(),
      /** The request's body, as JSON. */
      body: v.string(),
      state: webhookDeliveryState,
      attempts: v.number(),
      /** The status of the last answer; null if there was none. */
      status: v.union(v.number(), v.null()),
      error: v.union(v.string(), v.null()),
      createdAt: v.number(),
      nextAttemptAt: v.union(v.number(), v.null()),
      endedAt: v.union(v.number(), v.null())
    })
  ),
  handler: async (ctx, { id, limit }) => {
    const webhook = id === undefined ? null : await webhookOf(ctx, ctx.accountId, id)
    const deliveries = await (
      webhook === null
        ? ctx.db.query("webhookDeliveries").withIndex("by_account", (q) => q.eq("accountId", ctx.accountId))
        : ctx.db.query("webhookDeliveries").withIndex("by_webhook", (q) => q.eq("webhookId", webhook._id))
    )
      .order("desc")
      .take(bounded(limit, 50, 200))
    return deliveries.map((delivery) => ({
      id: delivery._id,
      webhookId: delivery.webhookId,
      type: delivery.type,
      body: delivery.body,
      state: delivery.state,
      attempts: delivery.attempts,
      status: delivery.status ?? null,
      error: delivery.error ?? null,
      createdAt: delivery._creationTime,
      nextAttemptAt: delivery.nextAttemptAt ?? null,
      endedAt: delivery.endedAt ?? null
    }))
  }
})

/**
 * Sends an ended delivery again, under the same `webhook-id`. Fails with `conflict` if it is pending or its webhook is
 * disabled. For owners and admins. Reads two rows.
 */
export const resend = managerMutation({
  args: { deliveryId: v.string() },
  returns: v.null(),
  handler: async (ctx, { deliveryId }): Promise<null> => {
    await resendDelivery(ctx, ctx.accountId, deliveryId)
    return null
  }
})
