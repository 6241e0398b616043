import { Clock, Context, Duration, Effect, Layer, Schedule } from "effect"
import type { Cause, Fiber, Scope } from "effect"
import { Lifecycle } from "./Lifecycle.ts"

/** This many deaths within the window end the process (exit 70), so that its host restarts it. */
const DEATHS = 5
const WINDOW_MILLIS = Duration.toMillis("1 minute")
const FIRST_WAIT_MILLIS = 1_000
const LONGEST_WAIT_MILLIS = 30_000

/** Runs the loops of the process. A loop that dies is logged with its cause and restarted. */
export class Supervisor extends Context.Service<
  Supervisor,
  {
    /** Forks the loop into the scope, which ends it; it does not end on its own. */
    run<R>(name: string, loop: Effect.Effect<never, unknown, R>): Effect.Effect<void, never, R | Scope.Scope>
    /** Whether every loop runs or will be restarted; false once one has ended with its scope or was not restarted. */
    readonly isWhole: Effect.Effect<boolean>
  }
>()("runtime-service/services/Supervisor") {
  static readonly layer = Layer.effect(
    Supervisor,
    Effect.gen(function* () {
      const lifecycle = yield* Lifecycle
      const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
      return Supervisor.of({
        run: (name, loop) => {
          let deaths: ReadonlyArray<number> = []
          const noteDeath = Effect.fnUntraced(function* (cause: Cause.Cause<unknown>) {
            const now = yield* Clock.currentTimeMillis
            deaths = [...deaths.filter((at) => now - at < WINDOW_MILLIS), now]
            yield* Effect.logError(`${name} died (${deaths.length} of ${DEATHS} within a minute), restarting it`, cause)
            if (deaths.length >= DEATHS) {
              yield* lifecycle.abort({
                exitCode: 70,
                message: `${name} died ${deaths.length} times within a minute; the log above has the causes`
              })
            }
          })
          // The wait grows with the deaths of the last minute, so that a loop that ran for long restarts at once.
          const restarts = Schedule.spaced("1 second").pipe(
            Schedule.modifyDelay(() =>
              Effect.sync(() =>
                Duration.millis(Math.min(LONGEST_WAIT_MILLIS, FIRST_WAIT_MILLIS * 2 ** Math.max(0, deaths.length - 1)))
              )
            )
          )
          return loop.pipe(
            Effect.catchCause((cause) => Effect.andThen(noteDeath(cause), Effect.fail("died" as const))),
            Effect.retry(restarts),
            Effect.annotateLogs({ loop: name }),
            Effect.forkScoped,
            Effect.map((fiber) => void fibers.push(fiber))
          )
        },
        isWhole: Effect.sync(() => fibers.every((fiber) => fiber.pollUnsafe() === undefined))
      })
    })
  )
}
