import { Console, Effect, Option } from "effect"
import { Command } from "effect/cli"
import { hasSteps } from "../layers/workspaces/Workspaces.ts"
import type { SyncFailed, SyncSteps, SyncTarget } from "../layers/workspaces/Workspaces.ts"
import { applyProfileRun, planProfileRun } from "../programs/agents/ProfileRun.ts"
import { endWith } from "./EndedWith.ts"
import { askRuntime } from "./LocalEndpoint.ts"
import { jsonFlag, print, printJson } from "./Print.ts"

interface Run {
  readonly target: SyncTarget
  readonly steps: SyncSteps
}

const linesOf = ({ steps, target }: Run): ReadonlyArray<string> => {
  const at = (path: ReadonlyArray<string>) => [target.workspaceRoot, ...path].join("/")
  const { configPath } = target
  return [
    ...steps.moves.map(({ from, to }) => `move    ${at(from)} to ${at(to)}: its agent was removed`),
    ...steps.folders.map((path) => `create  ${at(path)}`),
    ...steps.writes.map(
      ({ copy, path }) => `write   ${at(path)}${copy === null ? "" : `, the old file is kept as ${at(copy)}`}`
    ),
    ...steps.removes.map((path) => `remove  ${at(path)}`),
    ...(steps.config === null ? [] : [`change  ${configPath}`]),
    ...steps.replaced.map((key) => `replace ${key} of ${configPath}, the old file is kept as ${steps.configCopy}`),
    ...steps.deferred.map(
      (key) => `later   ${key} of ${configPath}: waits while a runtime on this machine uses this gateway`
    ),
    ...steps.left.map((what) => `leave   ${what}: the runtime did not write it`)
  ]
}

const show = Effect.fnUntraced(function* (run: Run, json: boolean) {
  const { steps } = run
  if (json) {
    yield* printJson({
      move: steps.moves.map(({ from, to }) => ({ from: from.join("/"), to: to.join("/") })),
      make: steps.folders.map((path) => path.join("/")),
      write: steps.writes.map(({ path }) => path.join("/")),
      keep: steps.writes.flatMap(({ copy }) => (copy === null ? [] : [copy.join("/")])),
      remove: steps.removes.map((path) => path.join("/")),
      changesConfiguration: steps.config !== null,
      replace: steps.replaced,
      configurationCopy: steps.configCopy,
      leave: steps.left,
      deferred: steps.deferred,
      problems: steps.problems
    })
  } else {
    const lines = linesOf(run)
    yield* lines.length === 0 ? Console.error("Nothing to change.") : print(lines.join("\n"))
  }
  return steps.problems.length === 0 ? undefined : yield* endWith(1, ...steps.problems)
})

/**
 * While a runtime on this machine may have turns in the gateway, keys whose change restarts the gateway are deferred.
 */
const isRuntimeHere = Effect.map(Effect.option(askRuntime(Option.none(), "/livez")), Option.isSome)

const explainedSync = <A, E, R>(effect: Effect.Effect<A, E | SyncFailed, R>) =>
  Effect.catchIf(
    effect,
    (failure): failure is Extract<E | SyncFailed, SyncFailed> =>
      typeof failure === "object" && failure !== null && "_tag" in failure && failure._tag === "SyncFailed",
    ({ detail }) => endWith(1, detail)
  )

const plan = Command.make("plan", { json: jsonFlag }, ({ json }) =>
  isRuntimeHere.pipe(
    Effect.flatMap(planProfileRun),
    explainedSync,
    Effect.flatMap((run) => show(run, json))
  )
).pipe(
  Command.withDescription("Show what apply would change in workspaces and the gateway's configuration"),
  Command.withShortDescription("Show what apply would change"),
  Command.withExamples([{ command: "mission-control-runtime profile plan", description: "One line for each change" }])
)

const apply = Command.make("apply", { json: jsonFlag }, ({ json }) =>
  isRuntimeHere.pipe(
    Effect.flatMap(applyProfileRun),
    explainedSync,
    Effect.tap(({ steps }) => (hasSteps(steps) ? Console.error("Changed:") : Effect.void)),
    Effect.flatMap((run) => show(run, json))
  )
).pipe(
  Command.withDescription("Write the agents' workspaces and the runtime's part of the gateway's configuration once"),
  Command.withShortDescription("Write workspaces and the gateway's configuration once"),
  Command.withExamples([
    { command: "mission-control-runtime profile apply", description: "Also works if OPENCLAW_PROFILE_SYNC is false" }
  ])
)

/** `profile`: profile sync by hand. */
export const profile = Command.make("profile").pipe(
  Command.withDescription("Show or write the agents' workspaces and the gateway's configuration"),
  Command.withSubcommands([plan, apply])
)
