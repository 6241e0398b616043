import { Duration, Effect, Option, Schema } from "effect"
import { ConfigProvider } from "effect"
import { Flag } from "effect/cli"
import { HttpClient } from "effect/http"
import { readLocalUrl } from "../layers/Config.ts"

/** The runtime of this machine does not answer, or not as asked. */
export class RuntimeAway extends Schema.TaggedError<RuntimeAway>()("RuntimeAway", { detail: Schema.String }) {}

const PATIENCE = Duration.seconds(3)

/** `--url`: another runtime than this machine's. */
export const urlFlag = Flag.String("url").pipe(
  Flag.withDescription("The runtime's address; otherwise from HEALTH_HOST and HEALTH_PORT"),
  Flag.optional
)

/** What the runtime answers to GET of this path within 3 s; fails with RuntimeAway. */
export const askRuntime = Effect.fn("LocalEndpoint.askRuntime")(function* (url: Option.Option<string>, path: string) {
  const client = yield* HttpClient.HttpClient
  const base = Option.isSome(url)
    ? url.value.replace(/\/+$/, "")
    : yield* readLocalUrl(yield* ConfigProvider.ConfigProvider)
  return yield* client.get(`${base}${path}`).pipe(
    Effect.flatMap((response) => Effect.map(response.text, (body) => ({ status: response.status, body }))),
    Effect.mapError(
      (error) =>
        new RuntimeAway({
          detail: `no runtime answers at ${base} (${error.reason._tag}): start it, or see HEALTH_HOST and HEALTH_PORT`
        })
    ),
    Effect.timeoutOrElse({
      duration: PATIENCE,
      orElse: () => Effect.fail(new RuntimeAway({ detail: `no answer of ${base} within ${Duration.format(PATIENCE)}` }))
    })
  )
})
