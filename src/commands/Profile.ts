import { Console, Effect, Option } from "effect"
import { Command } from "effect/cli"
import { hasSteps } from "../layers/Workspaces.ts"
import type { SyncFailed, SyncSteps, SyncTarget } from "../layers/Workspaces.ts"
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
    ...steps.folders.map((path) => `make    ${at(path)}`),
    ...steps.writes.map(
      ({ copy, path }) => `write   ${at(path)}${copy === null ? "" : `, a copy is kept: ${at(copy)}`}`
    ),
    ...steps.removes.map((path) => `remove  ${at(path)}`),
    ...(steps.config === null ? [] : [`change  ${configPath}`]),
    ...steps.replaced.map((key) => `replace ${key} of ${configPath}, a copy is kept: ${steps.configCopy}`),
    ...steps.deferred.map((key) => `later   ${key} of ${configPath}: a runtime works with this gateway`),
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
    yield* lines.length === 0 ? Console.error("Everything stands as planned.") : print(lines.join("\n"))
  }
  return steps.problems.length === 0 ? undefined : yield* endWith(1, ...steps.problems)
})

/** Keys for which the gateway restarts itself wait while a runtime of this machine may have turns in it. */
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
  Command.withDescription("Show what would be written to workspaces and the gateway's configuration; writes nothing"),
  Command.withExamples([{ command: "mission-control-runtime profile plan", description: "A line for each step" }])
)

const apply = Command.make("apply", { json: jsonFlag }, ({ json }) =>
  isRuntimeHere.pipe(
    Effect.flatMap(applyProfileRun),
    explainedSync,
    Effect.tap(({ steps }) => (hasSteps(steps) ? Console.error("Written.") : Effect.void)),
    Effect.flatMap((run) => show(run, json))
  )
).pipe(
  Command.withDescription("Write the agents' workspaces and our part of the gateway's configuration once"),
  Command.withExamples([
    { command: "mission-control-runtime profile apply", description: "Also where OPENCLAW_PROFILE_SYNC is false" }
  ])
)

/** `profile`: the agents' workspaces, and the gateway's knowledge of them. */
export const profile = Command.make("profile").pipe(
  Command.withDescription("The agents' workspaces and their part of the gateway's configuration"),
  Command.withSubcommands([plan, apply])
)
