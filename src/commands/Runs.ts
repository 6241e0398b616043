import { Console, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { describeRun, runTable } from "../domain/delivery/RunView.ts"
import { counted } from "../domain/text/Count.ts"
import { AccountWork } from "../services/AccountWork.ts"
import { endWith } from "./EndedWith.ts"
import { ifGiven } from "./IfGiven.ts"
import { jsonFlag, print, printJson } from "./Print.ts"

const MAX_LISTED = 200

const list = Command.make(
  "list",
  {
    ended: Flag.Boolean("ended").pipe(
      Flag.withDescription("List ended runs instead of running and waiting ones"),
      Flag.withDefault(false)
    ),
    limit: Flag.Int("limit").pipe(Flag.withDescription("How many to list, 1 to 200; default 50"), Flag.withDefault(50)),
    json: jsonFlag
  },
  Effect.fn(function* ({ ended, json, limit }) {
    const runs = yield* (yield* AccountWork).runs({ ended, limit: Math.min(MAX_LISTED, Math.max(1, limit)) })
    if (json) return yield* printJson(runs)
    return runs.length === 0 ? yield* Console.error("No runs.") : yield* print(runTable(runs))
  })
).pipe(
  Command.withDescription("List running and waiting runs"),
  Command.withExamples([
    { command: "mission-control-runtime runs list", description: "Running and waiting runs" },
    { command: "mission-control-runtime runs list --ended", description: "Ended runs, the latest first" }
  ])
)

const show = Command.make(
  "show",
  {
    run: Argument.String("run").pipe(Argument.withDescription("The run's id or its beginning, from runs list")),
    json: jsonFlag
  },
  Effect.fn(function* ({ json, run }) {
    const details = yield* (yield* AccountWork).run(run)
    return json ? yield* printJson(details) : yield* print(describeRun(details))
  })
).pipe(
  Command.withDescription("Show why a run exists, what its attempts did, and how it ended"),
  Command.withExamples([
    { command: "mission-control-runtime runs show <run>", description: "Its events, attempts and effects" }
  ])
)

const stop = Command.make(
  "stop",
  {
    run: Argument.String("run").pipe(
      Argument.withDescription("The run's id or its beginning, from runs list"),
      Argument.optional
    ),
    agent: Flag.String("agent").pipe(Flag.withDescription("All runs of this agent: its slug or id"), Flag.optional),
    task: Flag.String("task").pipe(Flag.withDescription("All runs of this task: its id"), Flag.optional),
    reason: Flag.String("reason").pipe(Flag.withDescription("Shown in the thread"), Flag.optional)
  },
  Effect.fn(function* ({ agent, reason, run, task }) {
    const given = Object.entries({ run, agent, task }).flatMap(([name, value]) =>
      Option.isSome(value) ? [[name, value.value] as const] : []
    )
    if (given.length !== 1) return yield* endWith(64, "Name exactly one: a run's id, --agent or --task.")
    const why = ifGiven("reason", reason)
    const { outcome, stopped } = yield* (yield* AccountWork).stop({ ...Object.fromEntries(given), ...why })
    if (stopped > 0) return yield* Console.error(`Stopped ${counted(stopped, "run")}.`)
    yield* Console.error(
      outcome === null ? "There was no run to stop." : `Nothing to stop: the run has already ended as ${outcome}.`
    )
  })
).pipe(
  Command.withDescription("Stop a run, or all runs of an agent or a task, at once"),
  Command.withExamples([
    { command: "mission-control-runtime runs stop <run>", description: "One run" },
    {
      command: 'mission-control-runtime runs stop --agent engineer --reason "wrong branch"',
      description: "All runs of an agent, with a reason"
    }
  ])
)

const again = Command.make(
  "again",
  { run: Argument.String("run").pipe(Argument.withDescription("The run's id or its beginning, from runs list")) },
  Effect.fn(function* ({ run }) {
    const id = yield* (yield* AccountWork).again(run)
    yield* Console.error(`${id} is ready again, with a new budget of attempts.`)
  })
).pipe(
  Command.withDescription("Run a stopped notification again"),
  Command.withExamples([
    { command: "mission-control-runtime runs again <run>", description: "After a stop by mistake" }
  ])
)

/** `runs`: what the agents are working on, and how to stop it. */
export const runs = Command.make("runs").pipe(
  Command.withDescription("List, show, stop and repeat runs"),
  Command.withSubcommands([list, show, stop, again])
)
