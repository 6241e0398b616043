import { Cause, Console, Effect, Schema } from "effect"
import type { ControlPlaneFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { counted } from "../domain/text/Count.ts"
import type { ConfigInvalid } from "../layers/Config.ts"

/** The process ended on purpose with a code that is not 0. */
export class EndedWith extends Schema.TaggedError<EndedWith>()("EndedWith", { exitCode: Schema.Finite }) {}

/** Says on standard error why, and ends with that code. */
export const endWith = (exitCode: number, ...lines: ReadonlyArray<string>): Effect.Effect<never, EndedWith> =>
  Effect.andThen(lines.length === 0 ? Effect.void : Console.error(lines.join("\n")), new EndedWith({ exitCode }))

/**
 * Logs a defect with its cause and ends with 70, a bug. Where it stands the logger is the command's own: a cause may hold
 * what only that logger's redactor knows to be a secret.
 */
export const defectsSaid = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | EndedWith, R> =>
  Effect.catchCauseIf(
    effect,
    (cause) => Cause.hasDies(cause),
    (cause) =>
      Effect.andThen(
        Effect.logError("the runtime ended with an unexpected failure", cause),
        new EndedWith({ exitCode: 70 })
      )
  )

/** All problems of the configuration together, and apart from them the names that may be their cause. */
export const describeProblems = ({ hints = [], problems }: ConfigInvalid): ReadonlyArray<string> => [
  `The configuration has ${counted(problems.length, "problem")}:`,
  ...problems.map((line) => `  - ${line}`),
  ...(hints.length === 0 ? [] : ["Names that look misspelt:", ...hints.map((line) => `  - ${line}`)])
]

/** Turns what a command can meet into a message and an exit code: 78 settings, 77 token, 69 away, 1 refused. */
export const explained = <A, E, R>(
  effect: Effect.Effect<A, E | ConfigInvalid | ControlPlaneFailure, R>
): Effect.Effect<A, Exclude<E, ConfigInvalid | ControlPlaneFailure> | EndedWith, R> =>
  Effect.catchIf(
    effect,
    (failure): failure is Extract<E | ConfigInvalid | ControlPlaneFailure, ConfigInvalid | ControlPlaneFailure> =>
      typeof failure === "object" && failure !== null && "_tag" in failure && isExplained(failure._tag),
    (failure) => {
      switch (failure._tag) {
        case "ConfigInvalid":
          return endWith(78, ...describeProblems(failure))
        case "TokenRefused":
          return endWith(77, `The control plane refuses SERVICE_TOKEN: ${failure.detail}`)
        case "ControlPlaneUnavailable":
          return endWith(69, `The control plane does not answer (${failure.function}): ${failure.detail}`)
        case "ControlPlaneRefused":
        case "ProtocolRefused":
          return endWith(1, failure.detail)
        case "LeaseLost":
        case "BootConflict":
          return endWith(1, `The control plane refused: ${failure._tag}`)
      }
    }
  ) as never

const explainedTags: ReadonlySet<unknown> = new Set([
  "ConfigInvalid",
  "TokenRefused",
  "ControlPlaneUnavailable",
  "ControlPlaneRefused",
  "LeaseLost",
  "BootConflict",
  "ProtocolRefused"
] satisfies ReadonlyArray<(ConfigInvalid | ControlPlaneFailure)["_tag"]>)

const isExplained = (tag: unknown): boolean => explainedTags.has(tag)
