import { Effect, Schema } from "effect"
import { Command } from "effect/cli"
import { personFunctions } from "../../domain/people/PersonFunctions.ts"
import { inboxTable, PersonNotification } from "../../domain/people/PersonViews.ts"
import { People } from "../../services/People.ts"
import { jsonFlag } from "../Print.ts"
import { list, refusalShown } from "./Shown.ts"

export const inbox = Command.make(
  "inbox",
  { json: jsonFlag },
  Effect.fn(function* ({ json }) {
    const rows = yield* (yield* People).query(personFunctions.notifications, Schema.Array(PersonNotification), {
      limit: 500
    })
    const unread = rows.filter(({ recipientType, state }) => recipientType === "person" && state === "unread")
    yield* list(unread, json, inboxTable, "There are no unread notifications.")
  }, refusalShown)
).pipe(Command.withDescription("List your unread notifications: mentions, and notices of budgets and limits"))
