import { homedir } from "node:os"
import { resolve } from "node:path"
import { Config, Duration, Effect, Option, Redacted } from "effect"
import type { ConfigProvider, FileSystem, Result } from "effect"
import { makeRedactor } from "../../domain/observability/Redaction.ts"
import {
  isReference,
  readBaseUrl,
  readCommand,
  readHost,
  readPath,
  readSecretText,
  unwrapped
} from "../../domain/settings/EnvironmentValue.ts"
import { variables } from "../../domain/settings/Variables.ts"
import type { NamesOf, VariableName } from "../../domain/settings/Variables.ts"
/** Reads single variables of the environment by the rules of their table. A problem is one line without a secret. */
import { truncate } from "../../domain/text/Text.ts"

export type Problem = string
export type Read<A> = Effect.Effect<A, Problem>

const redactShapes = makeRedactor([])

/** The value without credentials of a URL and without a token that was put into the wrong variable. */
export const safe = (value: string): string => redactShapes(value).replace(/:\/\/[^/\s]*@/g, "://")

/** The value for a message: short, on one line and without a secret. */
export const shown = (value: string): string => JSON.stringify(truncate(safe(value), 60))

/** Reads one variable without the quotes of its file; an empty value counts as absent. */
export const raw = (provider: ConfigProvider.ConfigProvider, name: string): Read<Option.Option<string>> =>
  Config.option(Config.String(name))
    .parse(provider)
    .pipe(
      Effect.mapError((error) => `${name} cannot be read: ${error.message}`),
      Effect.map(Option.map(unwrapped)),
      Effect.map(Option.filter((value) => value !== "")),
      Effect.filterOrFail(
        (value) => !Option.exists(value, isReference),
        () => `${name} is an unresolved reference to another variable: set it to the value itself`
      )
    )

/** The parsed value, or the problem: variable, value, what is wrong and what to set. */
export const orProblem = <A>(
  name: VariableName | `${VariableName}_FILE`,
  value: string,
  reading: Result.Result<A, string>,
  rule: string
): Read<A> =>
  Effect.mapError(
    Effect.fromResult(reading),
    (wrong) => `${name} is ${shown(value)}, which ${wrong}: set it to ${rule}`
  )

/** A reader of one environment. Each method looks up the rule and default of its variable. */
export const makeReader = (provider: ConfigProvider.ConfigProvider, fileSystem: FileSystem.FileSystem) => {
  type Parse<A> = (value: string) => Result.Result<A, string>
  /** Other programs read the proxy's variables in lower case too. */
  const optional = (name: NamesOf<"text">): Read<Option.Option<string>> =>
    name === "HTTPS_PROXY" || name === "NO_PROXY"
      ? Effect.zipWith(raw(provider, name), raw(provider, name.toLowerCase()), (upper, lower) =>
          Option.orElse(upper, () => lower)
        )
      : raw(provider, name)
  /** The variable, parsed by `parse`. */
  const parsed = <A>(name: NamesOf<"text">, parse: Parse<A>, rule: string): Read<Option.Option<A>> =>
    Effect.flatMap(
      optional(name),
      Option.match({
        onNone: () => Effect.succeedNone,
        onSome: (value) => Effect.asSome(orProblem(name, value, parse(value), rule))
      })
    )
  const required = <A>(name: NamesOf<"text">, parse: Parse<A>, rule: string): Read<A> =>
    Effect.flatMap(
      parsed(name, parse, rule),
      Option.match({
        onNone: () => Effect.fail(`${name} is missing: set it to ${rule}`),
        onSome: (value) => Effect.succeed(value)
      })
    )
  /** An absolute path; a relative one is resolved against the working directory. */
  const path = (name: NamesOf<"text">, usual: string): Read<string> =>
    Effect.map(
      parsed(name, (value) => readPath(value, homedir()), "a path"),
      (value) => resolve(Option.getOrElse(value, () => usual))
    )
  /** A program and its arguments. */
  const command = (name: NamesOf<"text">): Read<Option.Option<ReadonlyArray<string>>> =>
    parsed(name, (value) => readCommand(value, homedir()), "words separated by spaces, without a shell")
  const url = (name: NamesOf<"text">, rule: string): Read<Option.Option<string>> => parsed(name, readBaseUrl, rule)
  const host = (name: NamesOf<"text">, usual: string): Read<string> =>
    Effect.map(
      parsed(name, readHost, "a host name or an IP address, e.g. 127.0.0.1 or 0.0.0.0"),
      Option.getOrElse(() => usual)
    )
  const integer = (name: NamesOf<"integer">, usual: number = variables[name].usual): Read<number> => {
    const { least, most } = variables[name]
    return Effect.flatMap(
      raw(provider, name),
      Option.match({
        onNone: () => Effect.succeed(usual),
        onSome: (value) => {
          const number = Number(value)
          return /^[+-]?\d+$/.test(value) && number >= least && number <= most
            ? Effect.succeed(number)
            : Effect.fail(`${name} is ${shown(value)}: it must be a whole number from ${least} to ${most}`)
        }
      })
    )
  }
  const millis = (name: NamesOf<"integer">, usual?: Duration.Duration): Read<Duration.Duration> =>
    Effect.map(integer(name, usual && Duration.toMillis(usual)), Duration.millis)
  const oneOf = <Name extends NamesOf<"choice">>(name: Name): Read<(typeof variables)[Name]["usual"]> => {
    type Choice = (typeof variables)[Name]["usual"]
    const allowed: ReadonlyArray<Choice> = variables[name].allowed
    return Effect.flatMap(
      raw(provider, name),
      Option.match({
        onNone: () => Effect.succeed<Choice>(variables[name].usual),
        onSome: (value) => {
          const found = allowed.find((one) => one === value.toLowerCase())
          return found === undefined
            ? Effect.fail(`${name} is ${shown(value)}: it must be one of ${allowed.join(", ")}`)
            : Effect.succeed(found)
        }
      })
    )
  }
  const flag = (
    name:
      | "OPENCLAW_CLIENT_TOOLS_ENABLED"
      | "OPENCLAW_GATEWAY_EVENTS"
      | "OPENCLAW_PROFILE_SYNC"
      | "HEARTBEAT_SKIP_IDLE"
      | "OTEL_SDK_DISABLED"
      | "TRACE_CONTENT"
  ): Read<boolean> => Effect.map(oneOf(name), (value) => value === "true")
  /** A secret from `NAME`, or from the file at `NAME_FILE`. Its label names the source; its value is never shown. */
  const secret = (name: NamesOf<"secret">): Read<Option.Option<Redacted.Redacted>> =>
    Effect.gen(function* () {
      const direct = yield* raw(provider, name)
      if (Option.isSome(direct)) return yield* Effect.succeedSome(Redacted.make(direct.value, { label: name }))
      const file = `${name}_FILE` as const
      const given = yield* raw(provider, file)
      if (Option.isNone(given)) return Option.none()
      const path = yield* orProblem(file, given.value, readPath(given.value, homedir()), "the path of a file")
      const content = yield* fileSystem
        .readFileString(path)
        .pipe(
          Effect.mapError(({ reason }) =>
            reason._tag === "BadResource"
              ? `${file} is ${shown(path)}, which is not a file: check what is mounted there`
              : `${file} is ${shown(path)}, which cannot be read (${reason._tag}): check path and permissions`
          )
        )
      const text = readSecretText(name, content)
      return text === ""
        ? yield* Effect.fail(`${file} is ${shown(path)}, which is empty: write the secret into it`)
        : yield* Effect.succeedSome(Redacted.make(text, { label: `${name} in the file ${shown(path)}` }))
    })
  return { required, optional, parsed, path, command, url, host, integer, millis, oneOf, flag, secret }
}
