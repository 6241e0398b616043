import { Console, Effect, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { personFunctions } from "../../domain/people/PersonFunctions.ts"
import { describeInbox, InboxItem } from "../../domain/people/PersonViews.ts"
import { counted } from "../../domain/text/Count.ts"
import { People } from "../../services/People.ts"
import { jsonFlag } from "../Print.ts"
import { list } from "./Shown.ts"

export const inbox = Command.make(
  "inbox",
  {
    read: Flag.Boolean("read").pipe(
      Flag.withDescription("Mark them as read, except questions, which stay until you answer"),
      Flag.withDefault(false)
    ),
    json: jsonFlag
  },
  Effect.fn(function* ({ json, read }) {
    const people = yield* People
    const items = yield* people.query(personFunctions.inbox, Schema.Array(InboxItem))
    yield* list(items, json, describeInbox, "There are no unread notifications.")
    if (!read) return
    const { count } = yield* people.mutation(personFunctions.markRead, Schema.Struct({ count: Schema.Finite }))
    yield* Console.error(`${counted(count, "notification")} marked as read.`)
  })
).pipe(
  Command.withDescription("List the agents' questions to you, and your other unread notifications"),
  Command.withExamples([
    { command: "mission-control-runtime inbox", description: "Questions come first, with the command to answer" },
    { command: "mission-control-runtime inbox --read", description: "Also mark the others as read" }
  ])
)
