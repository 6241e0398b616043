import { Console, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { Approval, approvalTable, describeApproval } from "../../domain/people/ApprovalViews.ts"
import { personFunctions } from "../../domain/people/PersonFunctions.ts"
import type { Kind } from "../../domain/text/ShortId.ts"
import { knownId } from "../../services/KnownId.ts"
import { People } from "../../services/People.ts"
import { ifGiven } from "../IfGiven.ts"
import { jsonFlag, print, printJson } from "../Print.ts"
import { list } from "./Shown.ts"

const approval = Argument.String("approval").pipe(Argument.withDescription("The request's id, or its first characters"))

const kind: Kind<Approval> = {
  noun: "approval",
  listedBy: "approvals list",
  title: ({ state, tool }) => `${tool}, ${state}`
}

/** The whole id of an open request, otherwise of one that ended. */
const idOf = Effect.fnUntraced(function* (text: string) {
  const people = yield* People
  const path = personFunctions.approvals
  const open = yield* people.query(path, Schema.Array(Approval), { limit: 200 })
  const isOpen = open.some(({ id }) => id.startsWith(text))
  const ended = isOpen ? [] : yield* people.query(path, Schema.Array(Approval), { ended: true, limit: 200 })
  return yield* knownId(path, [...open, ...ended], text, kind)
})

const listApprovals = Command.make(
  "list",
  {
    ended: Flag.Boolean("ended").pipe(
      Flag.withDescription("Those that were decided, expired or withdrawn"),
      Flag.withDefault(false)
    ),
    json: jsonFlag
  },
  Effect.fn(function* ({ ended, json }) {
    const args = ended ? { ended } : {}
    const found = yield* (yield* People).query(personFunctions.approvals, Schema.Array(Approval), args)
    yield* list(found, json, approvalTable, ended ? "No request has ended." : "No request waits for a decision.")
  })
).pipe(Command.withDescription("List the calls that wait for a decision, or that were decided"))

const show = Command.make(
  "show",
  { approval, json: jsonFlag },
  Effect.fn(function* ({ approval, json }) {
    const people = yield* People
    const id = yield* idOf(approval)
    const found = yield* people.query(personFunctions.approval, Approval, { id })
    yield* json ? printJson(found) : print(describeApproval(found))
  })
).pipe(Command.withDescription("Show a call with its arguments, and what became of it"))

const approve = Command.make(
  "approve",
  { approval },
  Effect.fn(function* ({ approval }) {
    const people = yield* People
    const id = yield* idOf(approval)
    const { agentSlug, result, tool } = yield* people.mutation(personFunctions.approve, Approval, { id })
    yield* print(result ?? "null")
    yield* Console.error(`${tool} was executed, and @${agentSlug ?? "-"} is notified.`)
  })
).pipe(
  Command.withDescription("Execute a call once as the agent, and print its result"),
  Command.withExamples([
    { command: "mission-control-runtime approvals approve <approval>", description: "After `approvals show`" }
  ])
)

const deny = Command.make(
  "deny",
  {
    approval,
    reason: Flag.String("reason").pipe(Flag.withDescription("Why, for the agent"), Flag.optional)
  },
  Effect.fn(function* ({ approval, reason }) {
    const people = yield* People
    const id = yield* idOf(approval)
    const args = { id, ...ifGiven("reason", reason) }
    const { agentSlug, tool } = yield* people.mutation(personFunctions.deny, Approval, args)
    const because = Option.isNone(reason) ? ", without a reason" : " with the reason"
    yield* Console.error(`${tool} is denied, and @${agentSlug ?? "-"} is notified${because}.`)
  })
).pipe(
  Command.withDescription("Deny a call; the agent reads the reason"),
  Command.withExamples([
    {
      command: 'mission-control-runtime approvals deny <approval> --reason "we still need it"',
      description: "With a reason"
    }
  ])
)

export const approvals = Command.make("approvals").pipe(
  Command.withDescription("List, show, approve or deny calls of agents that need a person's approval"),
  Command.withSubcommands([listApprovals, show, approve, deny])
)
