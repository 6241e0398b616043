import { defineTable } from "convex/server"
import { v } from "convex/values"
import { webhookTypes } from "../../src/domain/shared/WebhookType.ts"
import { actor } from "./actor.ts"

export const webhookType = v.union(...webhookTypes.map((type) => v.literal(type)))

/** The state of a delivery; `failed` is final until a person resends it. */
export const webhookDeliveryState = v.union(v.literal("pending"), v.literal("delivered"), v.literal("failed"))

export const webhookTables = {
  /** Where an account's events are sent. */
  webhooks: defineTable({
    accountId: v.id("accounts"),
    url: v.string(),
    /** The signing secret, `whsec_` and base64. Stored as it is, because a signature needs it. */
    secret: v.string(),
    /** Null: all types, later ones too. */
    types: v.union(v.array(webhookType), v.null()),
    createdBy: actor,
    /** Since when no attempt has succeeded. */
    failingSince: v.optional(v.number()),
    /** Set while nothing is sent. */
    disabled: v.optional(v.object({ at: v.number(), reason: v.string() }))
  }).index("by_account", ["accountId"]),

  /** One row per event and webhook, written in the transaction that caused the event. */
  webhookDeliveries: defineTable({
    accountId: v.id("accounts"),
    webhookId: v.id("webhooks"),
    type: v.union(webhookType, v.literal("webhook.test")),
    /** The request's body, which no attempt changes. */
    body: v.string(),
    state: webhookDeliveryState,
    /** Since the event or the last resend. */
    attempts: v.number(),
    /** While an attempt runs: the job that ends it if its result is lost. */
    watchJobId: v.optional(v.id("_scheduled_functions")),
    /** When a failed attempt is retried. */
    nextAttemptAt: v.optional(v.number()),
    /** The status and the problem of the last attempt. Null: no answer. */
    status: v.optional(v.union(v.number(), v.null())),
    error: v.optional(v.string()),
    endedAt: v.optional(v.number())
  })
    .index("by_account", ["accountId"])
    .index("by_webhook", ["webhookId"])
    .index("by_state", ["webhookId", "state"])
    .index("by_retention", ["state", "endedAt"])
}
