import { Console, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { personFunctions } from "../../domain/people/PersonFunctions.ts"
import { deliveryTable, WebhookDelivery, WebhookRow, webhookTable } from "../../domain/people/WebhookViews.ts"
import { webhookTypes } from "../../domain/shared/WebhookType.ts"
import type { Kind } from "../../domain/text/ShortId.ts"
import { knownId } from "../../services/KnownId.ts"
import { People } from "../../services/People.ts"
import { jsonFlag } from "../Print.ts"
import { list } from "./Shown.ts"

const webhook = Argument.String("webhook").pipe(Argument.withDescription("The webhook's id, or its first characters"))

const webhookKind: Kind<typeof WebhookRow.Type> = {
  noun: "webhook",
  listedBy: "webhooks list",
  title: ({ url }) => url
}
const deliveryKind: Kind<typeof WebhookDelivery.Type> = {
  noun: "delivery",
  listedBy: "webhooks history",
  title: ({ type }) => type
}

const webhookIdOf = Effect.fnUntraced(function* (text: string) {
  const rows = yield* (yield* People).query(personFunctions.webhooks, Schema.Array(WebhookRow))
  return yield* knownId(personFunctions.webhooks, rows, text, webhookKind)
})

const add = Command.make(
  "add",
  {
    url: Argument.String("url").pipe(Argument.withDescription("Where to send: https and a public host name")),
    types: Flag.Literals("type", webhookTypes).pipe(
      Flag.withDescription("Only events of this type; repeat the flag for several types"),
      Flag.atLeast(0)
    )
  },
  Effect.fn(function* ({ types, url }) {
    const Added = Schema.Struct({ id: Schema.String, secret: Schema.String })
    const { id, secret } = yield* (yield* People).mutation(personFunctions.addWebhook, Added, {
      url,
      ...(types.length === 0 ? {} : { types: [...types] })
    })
    // Not redacted, because the secret is shown only here.
    yield* Console.log(secret)
    yield* Console.error(
      `The receiver verifies signatures with this secret. It is not shown again. Next, run webhooks test ${id}.`
    )
  })
).pipe(
  Command.withDescription("Add a webhook, and print its signing secret once"),
  Command.withExamples([
    { command: "mission-control-runtime webhooks add https://hooks.example.com/in", description: "Every event" },
    {
      command:
        "mission-control-runtime webhooks add https://hooks.example.com/in --type question.asked --type approval.requested",
      description: "Only what waits for a person"
    }
  ])
)

const listWebhooks = Command.make(
  "list",
  { json: jsonFlag },
  Effect.fn(function* ({ json }) {
    const rows = yield* (yield* People).query(personFunctions.webhooks, Schema.Array(WebhookRow), {})
    yield* list(rows, json, webhookTable, "There are no webhooks. Add one with `webhooks add`.")
  })
).pipe(Command.withDescription("List the webhooks with their state, without their secrets"))

const test = Command.make(
  "test",
  { webhook },
  Effect.fn(function* ({ webhook }) {
    const Sent = Schema.Struct({ deliveryId: Schema.String })
    const id = yield* webhookIdOf(webhook)
    yield* (yield* People).mutation(personFunctions.testWebhook, Sent, { id })
    yield* Console.error(`A test event is queued. See its result with webhooks history ${webhook}.`)
  })
).pipe(Command.withDescription("Send a test event to a webhook"))

const history = Command.make(
  "history",
  { webhook: webhook.pipe(Argument.optional), json: jsonFlag },
  Effect.fn(function* ({ json, webhook }) {
    const id = Option.isNone(webhook) ? {} : { id: yield* webhookIdOf(webhook.value) }
    const args = { ...id, limit: 200 }
    const rows = yield* (yield* People).query(personFunctions.webhookHistory, Schema.Array(WebhookDelivery), args)
    yield* list(rows, json, deliveryTable, "Nothing was sent in the last 30 days.")
  })
).pipe(Command.withDescription("List the last 200 deliveries of all webhooks or of one, the latest first"))

const resend = Command.make(
  "resend",
  {
    delivery: Argument.String("delivery").pipe(
      Argument.withDescription("The delivery's id, or its first characters, from webhooks history")
    )
  },
  Effect.fn(function* ({ delivery }) {
    const people = yield* People
    const path = personFunctions.webhookHistory
    const rows = yield* people.query(path, Schema.Array(WebhookDelivery), { limit: 200 })
    const deliveryId = yield* knownId(path, rows, delivery, deliveryKind)
    yield* people.mutation(personFunctions.resendDelivery, Schema.Null, { deliveryId })
    yield* Console.error("The event is sent again.")
  })
).pipe(Command.withDescription("Send an ended delivery again, with the same webhook-id"))

const enable = Command.make(
  "enable",
  { webhook },
  Effect.fn(function* ({ webhook }) {
    const id = yield* webhookIdOf(webhook)
    yield* (yield* People).mutation(personFunctions.enableWebhook, Schema.Null, { id })
    yield* Console.error("The webhook is enabled. Failed deliveries are not resent: see webhooks resend.")
  })
).pipe(Command.withDescription("Send to a webhook again that was disabled after a day of failures"))

const remove = Command.make(
  "remove",
  { webhook },
  Effect.fn(function* ({ webhook }) {
    const id = yield* webhookIdOf(webhook)
    yield* (yield* People).mutation(personFunctions.removeWebhook, Schema.Null, { id })
    yield* Console.error("The webhook is removed.")
  })
).pipe(Command.withDescription("Remove a webhook"))

export const webhooks = Command.make("webhooks").pipe(
  Command.withDescription("Add, list, test, enable or remove webhooks, show their history, resend a delivery"),
  Command.withSubcommands([add, listWebhooks, test, history, resend, enable, remove])
)
