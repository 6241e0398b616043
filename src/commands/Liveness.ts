import { Console, Effect, Exit, FileSystem, Option } from "effect"
import { FetchHttpClient } from "effect/http"
import { endWith, explained } from "./EndedWith.ts"
import { askRuntime } from "./LocalEndpoint.ts"

/** Says whether the runtime lives; ends with 1 when it does not answer, or not as one that does. */
export const liveness = Effect.fn("Liveness.liveness")(function* (url: Option.Option<string>) {
  const { status } = yield* askRuntime(url, "/livez").pipe(
    Effect.catchTag("RuntimeAway", ({ detail }) => endWith(1, detail))
  )
  return status === 200 ? yield* Console.log("live") : yield* endWith(1, `/livez answers HTTP ${status}`)
})

/** The same as the whole program: a container asks every few seconds, and loading every command costs a second of its processor. */
export const probeLiveness = async (): Promise<void> => {
  const exit = await Effect.runPromiseExit(
    explained(liveness(Option.none())).pipe(
      // The address needs no file; whoever asks for one is told that there is none.
      Effect.provide([FetchHttpClient.layer, FileSystem.layerNoop({})])
    )
  )
  const failure = Exit.isFailure(exit) ? Option.getOrUndefined(Exit.findErrorOption(exit)) : undefined
  process.exitCode = Exit.isSuccess(exit) ? 0 : (failure?.exitCode ?? 70)
}
