/** Records the steps of a run with their durations. */
import { Cause, Clock, Effect, Option, Ref } from "effect"
import type { Exit } from "effect"
import type { RunStep, StepTimes } from "../domain/delivery/RunStep.ts"
import type { Spending } from "../domain/usage/Spending.ts"
import { stepEnded } from "../domain/usage/Spending.ts"

/** The error of a step without a result: the tag of its failure, `aborted` or `Defect`. */
export const stepError = (cause: Cause.Cause<{ readonly _tag: string }>): string =>
  Option.match(Cause.findErrorOption(cause), {
    onNone: () => (Cause.hasInterrupts(cause) ? "aborted" : "Defect"),
    onSome: ({ _tag }) => _tag
  })

/** Records the work as a step, for every kind of end. */
export const asStep = <A, E, R>(
  spending: Ref.Ref<Spending>,
  work: Effect.Effect<A, E, R>,
  stepOf: (exit: Exit.Exit<A, E>, times: StepTimes) => RunStep
): Effect.Effect<A, E, R> =>
  Effect.flatMap(Clock.currentTimeMillis, (from) =>
    Effect.onExit(work, (exit) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Ref.update(spending, (all) =>
          stepEnded(all, stepOf(exit, { startMs: Math.max(0, from - all.startedAt), durationMs: now - from }))
        )
      )
    )
  )
