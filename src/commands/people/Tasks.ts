import { Clock, Console, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { personFunctions } from "../../domain/people/PersonFunctions.ts"
import { describeTask, Task, taskTable } from "../../domain/people/PersonViews.ts"
import { turnLines } from "../../domain/people/RunningTurns.ts"
import type { RunningTurn } from "../../domain/people/RunningTurns.ts"
import { taskStatuses } from "../../domain/shared/TaskStatus.ts"
import { People } from "../../services/People.ts"
import { ifGiven } from "../IfGiven.ts"
import { jsonFlag, print, printJson } from "../Print.ts"
import { task } from "./Arguments.ts"
import { knownTurns, listWithTurns, watchFlag } from "./ListWithTurns.ts"
import { warnOfUnknownMentions } from "./UnknownMentions.ts"

const agentsArgument = Argument.String("agent").pipe(
  Argument.withDescription("The agents' slugs, with or without @; none unassigns everyone"),
  Argument.variadic()
)
const status = Schema.Literals(taskStatuses)
const Tasks = Schema.Array(Task)
const isTurnOf = ({ id }: Task, { taskId }: RunningTurn): boolean => taskId === id

const agentsNamed = Effect.fnUntraced(function* (names: ReadonlyArray<string>) {
  const people = yield* People
  return yield* Effect.forEach(names, (name) => people.agent(name))
})
const idOf = ({ id }: { readonly id: string }): string => id

const create = Command.make(
  "create",
  {
    title: Argument.String("title").pipe(Argument.withDescription("The task's title")),
    description: Flag.String("description").pipe(
      Flag.withDescription("The task's description; @slug in it or in the title notifies an agent"),
      Flag.optional
    ),
    assign: Flag.String("assign").pipe(
      Flag.withDescription("An agent's slug, with or without @; repeat the flag for several agents"),
      Flag.atLeast(0)
    )
  },
  Effect.fn(function* ({ assign, description, title }) {
    const Created = Schema.Struct({ taskId: Schema.String })
    const { taskId } = yield* (yield* People).mutation(personFunctions.createTask, Created, {
      title,
      ...ifGiven("description", description),
      ...(assign.length === 0 ? {} : { assigneeIds: (yield* agentsNamed(assign)).map(idOf) })
    })
    yield* print(taskId)
    yield* warnOfUnknownMentions(`${title} ${Option.getOrElse(description, () => "")}`)
    yield* Console.error(
      `To see what the agents do, run \`thread ${taskId} --follow\`. To write to them, run \`post ${taskId} <text>\`.`
    )
  })
).pipe(
  Command.withDescription("Create a task, and print its id"),
  Command.withExamples([
    {
      command: 'mission-control-runtime tasks create "Fix the login" --assign engineer',
      description: "Assigned to an agent"
    },
    {
      command: 'mission-control-runtime tasks create "Login" --description "@qa it fails on phones. Why?"',
      description: "With a question to an agent, which answers in the thread"
    }
  ])
)

const listTasks = Command.make(
  "list",
  {
    status: Flag.Literals("status", taskStatuses).pipe(Flag.withDescription("Only with this status"), Flag.optional),
    watch: watchFlag,
    json: jsonFlag
  },
  Effect.fn(function* ({ status, ...flags }) {
    const people = yield* People
    const args = ifGiven("status", status)
    const none = Option.match(status, {
      onNone: () => "There are no tasks. Create one with `tasks create`.",
      onSome: (only) => `No task is ${only}. \`tasks list\` lists all.`
    })
    const tasks = {
      rows: people.query(personFunctions.tasks, Tasks, args),
      changes: people.follow(personFunctions.tasks, Tasks, args),
      table: taskTable,
      has: isTurnOf,
      none
    }
    yield* listWithTurns(tasks, flags)
  })
).pipe(Command.withDescription("List the tasks, the last changed first, and what agents are doing on them"))

const show = Command.make(
  "show",
  { task, json: jsonFlag },
  Effect.fn(function* ({ json, task }) {
    const found = yield* (yield* People).task(task)
    const working = yield* knownTurns
    const turns = working?.turns.filter((turn) => isTurnOf(found, turn)) ?? []
    if (json) return yield* printJson(working === null ? found : { ...found, turns })
    const now = (yield* Clock.currentTimeMillis) + (working?.aheadMillis ?? 0)
    yield* print(describeTask(found, turnLines(turns, now)))
  })
).pipe(Command.withDescription("Show a task, and what agents are doing on it"))

const assign = Command.make(
  "assign",
  { task, agents: agentsArgument },
  Effect.fn(function* ({ agents, task }) {
    const people = yield* People
    const { id } = yield* people.task(task)
    const assignees = yield* agentsNamed(agents)
    const args = { taskId: id, assigneeIds: assignees.map(idOf) }
    yield* people.mutation(personFunctions.assignTask, Schema.Struct({ status }), args)
    const names = assignees.map(({ slug }) => `@${slug}`).join(", ")
    yield* Console.error(names === "" ? "The task has no assignee now." : `Assigned to ${names}.`)
  })
).pipe(
  Command.withDescription("Set the task's assignees"),
  Command.withExamples([
    { command: "mission-control-runtime tasks assign <task> engineer qa", description: "To two agents" }
  ])
)

const moveTo = Effect.fnUntraced(function* (
  task: string,
  to: (typeof taskStatuses)[number],
  blockedReason: Option.Option<string>
) {
  const people = yield* People
  const { id } = yield* people.task(task)
  const moved = yield* people.mutation(personFunctions.moveTask, Schema.Struct({ status, previousStatus: status }), {
    taskId: id,
    status: to,
    ...ifGiven("blockedReason", blockedReason)
  })
  yield* Console.error(
    moved.previousStatus === moved.status
      ? `The task is already ${moved.status}.`
      : `The task moved from ${moved.previousStatus} to ${moved.status}.`
  )
})

const move = Command.make(
  "move",
  {
    task,
    status: Argument.Literals("status", taskStatuses).pipe(Argument.withDescription("The new status")),
    reason: Flag.String("reason").pipe(Flag.withDescription("Why it is blocked"), Flag.optional)
  },
  ({ reason, status, task }) => moveTo(task, status, reason)
).pipe(
  Command.withDescription("Change a task's status; done and archived stop its runs"),
  Command.withExamples([
    { command: "mission-control-runtime tasks move <task> done", description: "After it is finished" },
    {
      command: 'mission-control-runtime tasks move <task> blocked --reason "waits for a password"',
      description: "With a reason"
    }
  ])
)

const archive = Command.make("archive", { task }, ({ task }) => moveTo(task, "archived", Option.none())).pipe(
  Command.withDescription("Archive a task and stop its runs; this cannot be undone")
)

export const tasks = Command.make("tasks").pipe(
  Command.withDescription("Create, list, show, assign, move or archive tasks"),
  Command.withSubcommands([create, listTasks, show, assign, move, archive])
)
