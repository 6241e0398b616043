import { Console, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { personFunctions } from "../../domain/people/PersonFunctions.ts"
import { Agent, agentTable } from "../../domain/people/PersonViews.ts"
import type { RunningTurn } from "../../domain/people/RunningTurns.ts"
import { People } from "../../services/People.ts"
import { ifGiven } from "../IfGiven.ts"
import { jsonFlag } from "../Print.ts"
import { listWithTurns, watchFlag } from "./ListWithTurns.ts"

const Agents = Schema.Array(Agent)

const agent = Argument.String("agent").pipe(Argument.withDescription("The agent's slug, with or without @"))

const add = Command.make(
  "add",
  {
    slug: Argument.String("slug").pipe(
      Argument.withDescription("The agent's slug, which is also its id in the gateway, e.g. engineer")
    ),
    name: Flag.String("name").pipe(Flag.withDescription("Its name in threads; default the slug"), Flag.optional),
    role: Flag.String("role").pipe(Flag.withDescription("Its role, in one sentence"), Flag.optional),
    orchestrator: Flag.Boolean("orchestrator").pipe(
      Flag.withDescription("It leads the team: it assigns tasks and is notified of every change"),
      Flag.withDefault(false)
    )
  },
  Effect.fn(function* ({ name, orchestrator, role, slug }) {
    const plain = slug.replace(/^@/, "")
    yield* (yield* People).mutation(personFunctions.createAgent, Schema.Struct({ agentId: Schema.String }), {
      slug: plain,
      name: Option.getOrElse(name, () => plain),
      ...ifGiven("role", role),
      ...(orchestrator ? { isOrchestrator: true } : {})
    })
    yield* Console.error(`@${plain} is on the team.`)
  })
).pipe(
  Command.withDescription("Add an agent to the team"),
  Command.withExamples([
    {
      command: 'mission-control-runtime agents add engineer --name "Engineer" --role "builds and fixes"',
      description: "The first agent"
    }
  ])
)

const listAgents = Command.make(
  "list",
  { watch: watchFlag, json: jsonFlag },
  Effect.fn(function* (flags) {
    const people = yield* People
    const agents = {
      rows: people.query(personFunctions.agents, Agents),
      changes: people.follow(personFunctions.agents, Agents, {}),
      table: agentTable,
      has: ({ slug }: Agent, { agentSlug }: RunningTurn) => agentSlug === slug,
      none: "There are no agents. Add one with `agents add`."
    }
    yield* listWithTurns(agents, flags)
  })
).pipe(
  Command.withDescription("List the agents with their status and what they are doing"),
  Command.withExamples([
    { command: "mission-control-runtime agents list --watch", description: "Follow what the agents are doing" }
  ])
)

/** A command with one effect on an agent. */
const onAgent = (
  name: string,
  path: typeof personFunctions.pauseAgent | typeof personFunctions.resumeAgent | typeof personFunctions.removeAgent,
  done: (slug: string) => string,
  description: string
) =>
  Command.make(
    name,
    { agent },
    Effect.fn(function* ({ agent }) {
      const people = yield* People
      const { id, slug } = yield* people.agent(agent)
      yield* people.mutation(path, Schema.Null, { agentId: id })
      yield* Console.error(done(slug))
    })
  ).pipe(Command.withDescription(description))

export const agents = Command.make("agents").pipe(
  Command.withDescription("Add, list, pause, resume or remove agents"),
  Command.withSubcommands([
    add,
    listAgents,
    onAgent(
      "pause",
      personFunctions.pauseAgent,
      (slug) => `@${slug} is paused: running turns continue, and no new ones start.`,
      "Start no new turns of an agent"
    ),
    onAgent("resume", personFunctions.resumeAgent, (slug) => `@${slug} is resumed.`, "Resume a paused agent"),
    onAgent(
      "remove",
      personFunctions.removeAgent,
      (slug) => `@${slug} is removed, and its runs are stopped.`,
      "Remove an agent from the team"
    )
  ])
)
