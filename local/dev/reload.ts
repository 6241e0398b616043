import { watch } from "node:fs"
import { fileURLToPath } from "node:url"
import { Deferred, Effect, Fiber } from "effect"
import type { Scope } from "effect"
import type { Launched, LaunchFailed } from "../launcher.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** A process that is started again when a file in one of its folders changes. */
export type Reloaded = {
  readonly name: string
  /** Relative to the checkout. */
  readonly folders: ReadonlyArray<string>
  readonly start: Effect.Effect<Launched, LaunchFailed, Scope.Scope>
  readonly say: (line: string) => void
}

/**
 * Keeps a process running in the scope, and returns when it is ready for the first time. A process that fails or ends
 * starts again at the next change.
 */
export const reload = ({ name, folders, start, say }: Reloaded): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    const isReady = yield* Deferred.make<void>()
    const untilChange = Effect.gen(function* () {
      // Watches before the start, so that a change during the start counts.
      const change = yield* Effect.forkScoped(changeIn(folders))
      yield* start.pipe(
        Effect.flatMap(({ url, exit }) => {
          say(`${name} ready: ${url}`)
          const reportExit = Effect.map(exit, ({ code, signal }) =>
            say(`${name} ended with ${signal ?? `exit code ${code}`}. Save a file to start it again.`)
          )
          return Effect.andThen(Effect.forkScoped(reportExit), Deferred.succeed(isReady, undefined))
        }),
        Effect.catch((failure) => Effect.sync(() => say(`${failure.message}\nSave a file to start the ${name} again.`)))
      )
      yield* Fiber.join(change)
      say(`${name} restarting after a change`)
    })
    yield* Effect.forkScoped(Effect.forever(Effect.scoped(untilChange)))
    yield* Deferred.await(isReady)
  })

/** Waits for a change, and then 100 ms longer, because an editor may save in several steps. */
const changeIn = (folders: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const watchers = folders.map((folder) => watch(`${root}/${folder}`, { recursive: true }, () => resume(Effect.void)))
    return Effect.sync(() => {
      for (const watcher of watchers) watcher.close()
    })
  }).pipe(Effect.andThen(Effect.sleep("100 millis")))
