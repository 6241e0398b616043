import { Effect, Exit, Scope } from "effect"
import type { Launched, LaunchFailed } from "../../local/launcher.ts"

/** A process that can be killed and started again at the same address. */
export type Restartable = {
  readonly killAndRestart: Effect.Effect<void, LaunchFailed>
  readonly kill: Effect.Effect<void>
  readonly start: Effect.Effect<void, LaunchFailed>
  /** The running process, or undefined. */
  readonly running: Effect.Effect<Launched | undefined>
}

/** Starts the process; the scope kills the running one at its end. */
export const restartable = (launch: Effect.Effect<Launched, LaunchFailed, Scope.Scope>) =>
  Effect.gen(function* () {
    let running: { readonly process: Launched; readonly scope: Scope.Closeable } | undefined
    const start = Effect.gen(function* () {
      const scope = yield* Scope.make()
      running = { scope, process: yield* Scope.provide(launch, scope) }
    })
    const kill = Effect.gen(function* () {
      if (running === undefined) return
      const { process, scope } = running
      running = undefined
      yield* process.signal("SIGKILL")
      yield* process.exit
      yield* Scope.close(scope, Exit.void)
    })
    yield* start
    yield* Effect.addFinalizer(() => kill)
    return {
      start,
      kill,
      killAndRestart: Effect.andThen(kill, start),
      running: Effect.sync(() => running?.process)
    } satisfies Restartable
  })
