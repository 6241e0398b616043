/** The webhooks of an account and their deliveries, as the commands for people show them. */
import { Schema } from "effect"
import { shortIds } from "../text/ShortId.ts"
import { textTable } from "../text/TextTable.ts"
import { minute } from "./PersonViews.ts"

export const WebhookRow = Schema.Struct({
  id: Schema.String,
  url: Schema.String,
  types: Schema.NullOr(Schema.Array(Schema.String)),
  createdAt: Schema.Finite,
  failingSince: Schema.NullOr(Schema.Finite),
  disabled: Schema.NullOr(Schema.Struct({ at: Schema.Finite, reason: Schema.String }))
})
type WebhookRow = typeof WebhookRow.Type

export const WebhookDelivery = Schema.Struct({
  id: Schema.String,
  webhookId: Schema.String,
  type: Schema.String,
  body: Schema.String,
  state: Schema.Literals(["pending", "delivered", "failed"]),
  attempts: Schema.Finite,
  status: Schema.NullOr(Schema.Finite),
  error: Schema.NullOr(Schema.String),
  createdAt: Schema.Finite,
  nextAttemptAt: Schema.NullOr(Schema.Finite),
  endedAt: Schema.NullOr(Schema.Finite)
})
type WebhookDelivery = typeof WebhookDelivery.Type

const stateOf = ({ disabled, failingSince }: WebhookRow): string => {
  if (disabled !== null) return `disabled ${minute(disabled.at)}: ${disabled.reason}`
  return failingSince === null ? "enabled" : `failing since ${minute(failingSince)}`
}

export const webhookTable = (webhooks: ReadonlyArray<WebhookRow>): string => {
  const short = shortIds(webhooks.map(({ id }) => id))
  return textTable(
    ["WEBHOOK", "STATE (UTC)", "TYPES", "URL"],
    webhooks.map((webhook) => [short(webhook.id), stateOf(webhook), webhook.types?.join(" ") ?? "all", webhook.url])
  )
}

const resultOf = ({ error, nextAttemptAt, status }: WebhookDelivery): string => {
  const retried = nextAttemptAt === null ? [] : [`Retried at ${minute(nextAttemptAt)}.`]
  return [error ?? (status === null ? "-" : String(status)), ...retried].join(" ")
}

export const deliveryTable = (deliveries: ReadonlyArray<WebhookDelivery>): string => {
  const short = shortIds(deliveries.map(({ id }) => id))
  return textTable(
    ["DELIVERY", "AT (UTC)", "TYPE", "STATE", "ATTEMPTS", "LAST RESULT"],
    deliveries.map((delivery) => [
      short(delivery.id),
      minute(delivery.createdAt),
      delivery.type,
      delivery.state,
      String(delivery.attempts),
      resultOf(delivery)
    ])
  )
}
