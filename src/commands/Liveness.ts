import { Console, Effect, Exit, FileSystem, Option } from "effect"
import { FetchHttpClient } from "effect/http"
import { endWith, explained } from "./EndedWith.ts"
import { askRuntime } from "./LocalEndpoint.ts"

/** Prints `live` if the runtime is alive. Ends with 1 if it does not answer, or answers with an error. */
export const liveness = Effect.fn("Liveness.liveness")(function* (url: Option.Option<string>) {
  const { status } = yield* askRuntime(url, "/livez").pipe(
    Effect.catchTag("RuntimeUnavailable", ({ detail }) => endWith(1, detail))
  )
  return status === 200
    ? yield* Console.log("live")
    : yield* endWith(1, `The runtime is not alive: /livez answers HTTP ${status}. See its log.`)
})

/**
 * `healthcheck` without the other commands: a container runs it every few seconds, and loading them takes a second of
 * CPU time.
 */
export const probeLiveness = async (): Promise<void> => {
  const exit = await Effect.runPromiseExit(
    explained(liveness(Option.none())).pipe(
      // No file is needed to find the address.
      Effect.provide([FetchHttpClient.layer, FileSystem.layerNoop({})])
    )
  )
  const failure = Exit.isFailure(exit) ? Option.getOrUndefined(Exit.findErrorOption(exit)) : undefined
  process.exitCode = Exit.isSuccess(exit) ? 0 : (failure?.exitCode ?? 70)
}
