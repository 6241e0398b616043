import { Clock, Effect, Result, Schedule, Schema, Stream } from "effect"
import type { Duration } from "effect"
import { ControlPlaneUnavailable } from "../domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import type { FunctionPath, MutationPath, QueryPath } from "../domain/controlPlane/ControlPlaneFunctions.ts"
import type { AnswerOf, AnyPath, ArgumentsOf } from "../domain/controlPlane/ConvexFunctions.ts"
import { truncate } from "../domain/text/Text.ts"
import { ConvexClient } from "../layers/ConvexClient.ts"
import type { Arguments } from "../layers/ConvexClient.ts"
import { Metrics } from "../layers/Metrics.ts"

/** A schema that decodes every answer of the function; the type has no value for any other schema. */
export type Reads<Path extends AnyPath, A, Encoded> = Schema.Codec<A, Encoded> &
  (AnswerOf<Path> extends Encoded ? unknown : { readonly "cannot read the answer": AnswerOf<Path> })

type KeysOf<A> = A extends unknown ? keyof A : never

/** Arguments of the function without excess fields, because Convex refuses a call with an unknown argument. */
export type Sends<Path extends AnyPath, Given> =
  Exclude<KeysOf<Given>, keyof ArgumentsOf<Path>> extends never
    ? Given
    : { readonly [Key in Exclude<KeysOf<Given>, keyof ArgumentsOf<Path>>]: never }

/** The arguments, which may be omitted if all are optional. */
type Given<Path extends AnyPath, Args> =
  Record<never, never> extends ArgumentsOf<Path> ? [args?: Sends<Path, Args>] : [args: Sends<Path, Args>]

/** A call of one of the paths. */
export type Call<Paths extends AnyPath, Failure = ControlPlaneFailure> = <
  Path extends Paths,
  A,
  Encoded,
  Args extends ArgumentsOf<Path> = ArgumentsOf<Path>
>(
  path: Path,
  answer: Reads<Path, A, Encoded>,
  ...args: Given<Path, Args>
) => Effect.Effect<A, Failure>

/**
 * Calls of the control plane by path, decoded and counted. They are not repeated. The compiler checks kind, arguments and
 * schema against the functions in convex/.
 */
export interface ControlPlaneCalls {
  readonly query: Call<QueryPath>
  readonly mutation: Call<MutationPath>
  /** Every pushed result. A failure, or a result that cannot be decoded, is an element; it does not end the stream. */
  follow<Path extends QueryPath, A, Encoded, Args extends ArgumentsOf<Path> = ArgumentsOf<Path>>(
    path: Path,
    answer: Reads<Path, A, Encoded>,
    ...args: Given<Path, Args>
  ): Stream.Stream<Result.Result<A, ControlPlaneFailure>>
}

/** Decodes an answer. An unexpected shape counts as unavailable, because an upgrade of either side fixes it. */
export const readAnswer = <A>(
  path: string,
  answer: Schema.Codec<A, unknown>
): ((value: unknown) => Result.Result<A, ControlPlaneUnavailable>) => {
  const decode = Schema.decodeUnknownResult(answer)
  return (value) =>
    Result.mapError(
      decode(value),
      (error) =>
        new ControlPlaneUnavailable({
          function: path,
          detail: `the answer does not have the shape that this version expects: ${truncate(error.message, 300)}`
        })
    )
}

type Convex = ConvexClient["Service"]

type UncheckedCall = <A>(
  path: FunctionPath,
  answer: Schema.Codec<A, unknown>,
  args?: Arguments
) => Effect.Effect<A, ControlPlaneFailure>

/** Calls made by `make`, with the types that check them; without these casts the compiler cannot see that arguments are Convex values. */
const checked = (make: (kind: "query" | "mutation") => UncheckedCall) => ({
  query: make("query") as Call<QueryPath>,
  mutation: make("mutation") as Call<MutationPath>
})

const decodedCall =
  (convex: Convex, kind: "query" | "mutation"): UncheckedCall =>
  (path, answer, args = {}) => {
    const read = readAnswer(path, answer)
    return Effect.flatMap(
      Effect.suspend(() => convex[kind](path, args)),
      (value) => Effect.fromResult(read(value))
    )
  }

/** Calls through a client that sends each once, decoded. */
export const decodedCalls = <Query extends AnyPath, Mutation extends AnyPath, Failure>(
  send: (kind: "query" | "mutation", path: Query | Mutation, args: Arguments) => Effect.Effect<unknown, Failure>
) => {
  const call =
    (kind: "query" | "mutation") =>
    <A>(path: Query | Mutation, answer: Schema.Codec<A, unknown>, args: Arguments = {}) =>
      Effect.flatMap(send(kind, path, args), (value) => Effect.fromResult(readAnswer(path, answer)(value)))
  return {
    query: call("query") as unknown as Call<Query, Failure | ControlPlaneUnavailable>,
    mutation: call("mutation") as unknown as Call<Mutation, Failure | ControlPlaneUnavailable>
  }
}

/** Calls over the Convex client, not counted: for commands, which end with the answer. */
export const uncountedCalls = (convex: Convex): Pick<ControlPlaneCalls, "query" | "mutation"> =>
  checked((kind) => decodedCall(convex, kind))

/** Calls over the Convex client, counted in the metrics. */
export const makeControlPlaneCalls: Effect.Effect<ControlPlaneCalls, never, ConvexClient | Metrics> = Effect.gen(
  function* () {
    const clock = yield* Clock.Clock
    const convex = yield* ConvexClient
    const metrics = yield* Metrics
    const countedCall =
      (kind: "query" | "mutation"): UncheckedCall =>
      (path, answer, args) => {
        const call = decodedCall(convex, kind)(path, answer, args)
        return Effect.suspend(() => {
          const startedAt = clock.currentTimeMillisUnsafe()
          return Effect.onExit(call, (exit) =>
            metrics.controlPlaneCalled(
              path,
              exit._tag === "Success" ? "success" : "failure",
              clock.currentTimeMillisUnsafe() - startedAt
            )
          )
        })
      }
    return {
      ...checked(countedCall),
      follow: (path, answer, ...[args]) => {
        const read = readAnswer(path, answer)
        return Stream.map(convex.subscribe(path, (args ?? {}) as Arguments), Result.flatMap(read))
      }
    }
  }
)

/** Repeats a call after one of these failures, for at most `limit`. The call must answer a second arrival as the first. */
const repeated =
  (limit: Duration.Input, temporary: ReadonlyArray<ControlPlaneFailure["_tag"]>) =>
  <A>(call: Effect.Effect<A, ControlPlaneFailure>): Effect.Effect<A, ControlPlaneFailure> =>
    Effect.retry(call, {
      schedule: Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")]).pipe(
        Schedule.jittered,
        Schedule.upTo({ duration: limit })
      ),
      while: ({ _tag }) => temporary.includes(_tag)
    })

/** Retries during a short outage of the control plane. */
export const patiently = repeated("20 seconds", ["ControlPlaneUnavailable"])

/** Retries longer, and also while a token is being replaced, because the turn is paid for and only its outcome is missing. */
export const persistently = repeated("2 minutes", ["ControlPlaneUnavailable", "TokenRefused"])
