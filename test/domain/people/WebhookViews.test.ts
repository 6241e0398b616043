import { assert, describe, it } from "@effect/vitest"
import { deliveryTable, webhookTable } from "../../../src/domain/people/WebhookViews.ts"

const webhook = {
  id: "webhook_one",
  url: "https://hooks.example.com/in",
  types: null,
  createdAt: 0,
  failingSince: null,
  disabled: null
}
const delivery = {
  id: "delivery_one",
  webhookId: "webhook_one",
  type: "limit.turns",
  body: "{}",
  state: "delivered" as const,
  attempts: 1,
  status: 204,
  error: null,
  createdAt: 0,
  nextAttemptAt: null,
  endedAt: 0
}
const cells = (table: string) =>
  table
    .split("\n")
    .slice(1)
    .map((line) => line.split(/ {2,}/))

describe("the table of webhooks", () => {
  it("shows whether something is sent, and why not", () => {
    const table = webhookTable([
      webhook,
      { ...webhook, id: "webhook_two", types: ["limit.hops", "limit.turns"], failingSince: 60_000 },
      { ...webhook, id: "webhook_three", failingSince: 0, disabled: { at: 120_000, reason: "it answered 410" } }
    ])
    assert.deepStrictEqual(cells(table), [
      ["webhook_on", "enabled", "all", webhook.url],
      ["webhook_tw", "failing since 1970-01-01 00:01", "limit.hops limit.turns", webhook.url],
      ["webhook_th", "disabled 1970-01-01 00:02: it answered 410", "all", webhook.url]
    ])
  })
})

describe("the history of webhooks", () => {
  it("shows the status of the last answer, or the problem and the time of the retry", () => {
    const failed = {
      ...delivery,
      id: "delivery_two",
      state: "pending" as const,
      status: 500,
      error: "It answered 500."
    }
    const table = deliveryTable([
      delivery,
      { ...failed, nextAttemptAt: 300_000 },
      { ...delivery, id: "delivery_three", state: "pending", attempts: 0, status: null }
    ])
    assert.deepStrictEqual(
      cells(table).map(([, ...rest]) => rest),
      [
        ["1970-01-01 00:00", "limit.turns", "delivered", "1", "204"],
        ["1970-01-01 00:00", "limit.turns", "pending", "1", "It answered 500. Retried at 1970-01-01 00:05."],
        ["1970-01-01 00:00", "limit.turns", "pending", "0", "-"]
      ]
    )
  })
})
