import { Clock, Effect, Result, Schedule, Schema, Stream } from "effect"
import type { Duration } from "effect"
import { ControlPlaneUnavailable } from "../domain/controlPlane/ControlPlaneFailure.ts"
import type { ControlPlaneFailure } from "../domain/controlPlane/ControlPlaneFailure.ts"
import type {
  AnswerOf,
  ArgumentsOf,
  FunctionPath,
  MutationPath,
  QueryPath,
  ServicePath
} from "../domain/controlPlane/ControlPlaneFunctions.ts"
import { ConvexClient } from "../layers/ConvexClient.ts"
import type { Arguments } from "../layers/ConvexClient.ts"
import { Metrics } from "../layers/Metrics.ts"

/** A schema that reads every answer of the function; for any other there is no value of this type. */
export type Reads<Path extends ServicePath, A, Encoded> = Schema.Codec<A, Encoded> &
  (AnswerOf<Path> extends Encoded ? unknown : { readonly "cannot read the answer": AnswerOf<Path> })

type KeysOf<A> = A extends unknown ? keyof A : never

/** Arguments that the function takes, and none in addition: Convex refuses a call with one it does not know. */
export type Sends<Path extends ServicePath, Given> =
  Exclude<KeysOf<Given>, keyof ArgumentsOf<Path>> extends never
    ? Given
    : { readonly [Key in Exclude<KeysOf<Given>, keyof ArgumentsOf<Path>>]: never }

/** Left out where every argument is optional. */
type Given<Path extends ServicePath, Args> =
  Record<never, never> extends ArgumentsOf<Path> ? [args?: Sends<Path, Args>] : [args: Sends<Path, Args>]

type Call<Paths extends ServicePath> = <
  Path extends Paths & FunctionPath,
  A,
  Encoded,
  Args extends ArgumentsOf<Path> = ArgumentsOf<Path>
>(
  path: Path,
  answer: Reads<Path, A, Encoded>,
  ...args: Given<Path, Args>
) => Effect.Effect<A, ControlPlaneFailure>

/**
 * Calls of the control plane by path, decoded and counted. Each is made once. Kind, arguments and schema are checked
 * against the functions in convex/ at compile time.
 */
export interface ControlPlaneCalls {
  readonly query: Call<QueryPath>
  readonly mutation: Call<MutationPath>
  /** Every pushed result; one that fails, or cannot be read, is an element and not the end. */
  follow<Path extends QueryPath & FunctionPath, A, Encoded, Args extends ArgumentsOf<Path> = ArgumentsOf<Path>>(
    path: Path,
    answer: Reads<Path, A, Encoded>,
    ...args: Given<Path, Args>
  ): Stream.Stream<Result.Result<A, ControlPlaneFailure>>
}

/** Decodes an answer; one of another shape counts as unavailable, since an upgrade of either side repairs it. */
const readAnswer = <A>(
  path: FunctionPath,
  answer: Schema.Codec<A, unknown>
): ((value: unknown) => Result.Result<A, ControlPlaneUnavailable>) => {
  const decode = Schema.decodeUnknownResult(answer)
  return (value) =>
    Result.mapError(
      decode(value),
      (error) =>
        new ControlPlaneUnavailable({
          function: path,
          detail: `the answer has another shape than this version expects: ${error.message.slice(0, 300)}`
        })
    )
}

type Convex = ConvexClient["Service"]

type UncheckedCall = <A>(
  path: FunctionPath,
  answer: Schema.Codec<A, unknown>,
  args?: Arguments
) => Effect.Effect<A, ControlPlaneFailure>

/** Each call as `make` makes it; arguments that a function takes are values of Convex, which its types show call by call only. */
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

/** The calls over the Convex client for a command that ends with its answer: nothing is counted. */
export const uncountedCalls = (convex: Convex): Pick<ControlPlaneCalls, "query" | "mutation"> =>
  checked((kind) => decodedCall(convex, kind))

/** The calls over the Convex client. */
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

/** Repeats a call that failed in one of these ways, for so long; for calls that answer a second arrival like the first. */
const repeated =
  (limit: Duration.Input, passing: ReadonlyArray<ControlPlaneFailure["_tag"]>) =>
  <A>(call: Effect.Effect<A, ControlPlaneFailure>): Effect.Effect<A, ControlPlaneFailure> =>
    Effect.retry(call, {
      schedule: Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")]).pipe(
        Schedule.jittered,
        Schedule.upTo({ duration: limit })
      ),
      while: ({ _tag }) => passing.includes(_tag)
    })

/** Waits through a short outage of the control plane. */
export const patiently = repeated("20 seconds", ["ControlPlaneUnavailable"])

/** Waits longer, and for a token that is being replaced: the turn is over and paid for, only its end is not stored yet. */
export const persistently = repeated("2 minutes", ["ControlPlaneUnavailable", "TokenRefused"])
