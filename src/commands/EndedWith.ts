import { Cause, Console, Effect, Schema } from "effect"
import type { ControlPlaneFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import { counted } from "../domain/text/Count.ts"
import type { ConfigInvalid } from "../layers/Config.ts"

/** The process ends on purpose with a code other than 0. */
export class EndedWith extends Schema.TaggedError<EndedWith>()("EndedWith", { exitCode: Schema.Finite }) {}

/** Prints the lines to standard error, then ends with the exit code. */
export const endWith = (exitCode: number, ...lines: ReadonlyArray<string>): Effect.Effect<never, EndedWith> =>
  Effect.andThen(lines.length === 0 ? Effect.void : Console.error(lines.join("\n")), new EndedWith({ exitCode }))

/**
 * Logs a defect with its cause and ends with exit code 70. It must run under the command's own logger, because only
 * that logger's redactor knows the secrets that a cause may contain.
 */
export const logDefects = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | EndedWith, R> =>
  Effect.catchCauseIf(
    effect,
    (cause) => Cause.hasDies(cause),
    (cause) =>
      Effect.andThen(
        Effect.logError("the runtime ended with an unexpected failure", cause),
        new EndedWith({ exitCode: 70 })
      )
  )

/** All problems of the configuration, then the misspelt names that may have caused them. */
export const describeProblems = ({ hints = [], problems }: ConfigInvalid): ReadonlyArray<string> => [
  `The configuration has ${counted(problems.length, "problem")}:`,
  ...problems.map((line) => `  - ${line}`),
  ...(hints.length === 0 ? [] : ["Names that look misspelt:", ...hints.map((line) => `  - ${line}`)])
]

/** Turns a command's failure into a message and an exit code: 78 configuration, 77 token, 69 no answer, 1 refused. */
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
          return endWith(1, `${failure.detail} (${failure.code})`)
        case "ProtocolRefused":
          return endWith(1, failure.detail)
        case "LeaseLost":
        case "BootConflict":
          return endWith(1, `The control plane refused the call: ${failure._tag}`)
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
