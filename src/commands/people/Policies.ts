import { Console, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { Policy, policyTable } from "../../domain/people/ApprovalViews.ts"
import { personFunctions } from "../../domain/people/PersonFunctions.ts"
import { Agent } from "../../domain/people/PersonViews.ts"
import { policedTools, policyEffects } from "../../domain/shared/ToolPolicy.ts"
import type { PolicyEffect } from "../../domain/shared/ToolPolicy.ts"
import type { Kind } from "../../domain/text/ShortId.ts"
import { knownId } from "../../services/KnownId.ts"
import { People } from "../../services/People.ts"
import { ifGiven } from "../IfGiven.ts"
import { jsonFlag } from "../Print.ts"
import { list } from "./Shown.ts"

const kind: Kind<Policy> = {
  noun: "policy",
  listedBy: "policies list",
  title: ({ effect, tool }) => `${tool}: ${effect}`
}

const consequences: Readonly<Record<PolicyEffect, string>> = {
  allow: "are allowed",
  ask: "wait for a person's approval",
  deny: "are denied"
}

/** A policy may be set before its agents are added. */
const warnOfUnusedRole = Effect.fnUntraced(function* (role: string) {
  const agents = yield* (yield* People).query(personFunctions.agents, Schema.Array(Agent))
  if (agents.some((agent) => agent.role.trim().toLowerCase() === role.trim().toLowerCase())) return
  yield* Console.error("No agent has this role now. `agents list` shows the roles.")
})

const set = Command.make(
  "set",
  {
    tool: Argument.Literals("tool", policedTools).pipe(Argument.withDescription("A tool that changes data")),
    effect: Argument.Literals("effect", policyEffects).pipe(
      Argument.withDescription("Allow its calls, ask a person first, or deny them")
    ),
    agent: Flag.String("agent").pipe(Flag.withDescription("Only for the agent with this slug"), Flag.optional),
    role: Flag.String("role").pipe(
      Flag.withDescription("Only for agents with this role, as `agents list` shows it"),
      Flag.optional
    ),
    when: Flag.String("when").pipe(
      Flag.withDescription("Only for calls with status=done, priority=1 or assignee=outside, for example"),
      Flag.optional
    )
  },
  Effect.fn(function* ({ agent, effect, role, tool, when }) {
    const people = yield* People
    const only = Option.isNone(agent) ? {} : { agentId: (yield* people.agent(agent.value)).id }
    const args = { tool, effect, ...only, ...ifGiven("role", role), ...ifGiven("when", when) }
    const { id } = yield* people.mutation(personFunctions.setPolicy, Schema.Struct({ id: Schema.String }), args)
    const callers = Option.match(agent, {
      onNone: () =>
        Option.match(role, { onNone: () => "all agents", onSome: (name) => `agents with the role ${name}` }),
      onSome: (slug) => `@${slug.replace(/^@/, "")}`
    })
    const calls = `calls of ${tool} by ${callers}${Option.match(when, { onNone: () => "", onSome: (text) => ` with ${text}` })}`
    yield* Console.error(`From now on, ${calls} ${consequences[effect]}. To undo it, run policies remove ${id}.`)
    if (Option.isSome(role)) yield* warnOfUnusedRole(role.value)
  })
).pipe(
  Command.withDescription("Allow calls of a tool, ask a person first, or deny them"),
  Command.withExamples([
    {
      command: "mission-control-runtime policies set task_delete ask",
      description: "A person approves each deletion of a task"
    },
    {
      command: "mission-control-runtime policies set task_status ask --agent qa --when status=done",
      description: "Only for one agent and one status"
    }
  ])
)

const listPolicies = Command.make(
  "list",
  { json: jsonFlag },
  Effect.fn(function* ({ json }) {
    const policies = yield* (yield* People).query(personFunctions.policies, Schema.Array(Policy), {})
    yield* list(policies, json, policyTable, "There are no policies: every tool is allowed.")
  })
).pipe(Command.withDescription("List the policies for tools"))

const remove = Command.make(
  "remove",
  { policy: Argument.String("policy").pipe(Argument.withDescription("The policy's id, or its first characters")) },
  Effect.fn(function* ({ policy }) {
    const people = yield* People
    const listed = yield* people.query(personFunctions.policies, Schema.Array(Policy), {})
    const id = yield* knownId(personFunctions.policies, listed, policy, kind)
    yield* people.mutation(personFunctions.removePolicy, Schema.Null, { id })
    yield* Console.error("The policy is removed.")
  })
).pipe(Command.withDescription("Remove a policy"))

export const policies = Command.make("policies").pipe(
  Command.withDescription("Set, list or remove policies: which tools agents may call, or only with approval"),
  Command.withSubcommands([set, listPolicies, remove])
)
