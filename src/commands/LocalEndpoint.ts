import { Duration, Effect, Option, Schema } from "effect"
import { ConfigProvider } from "effect"
import { Flag } from "effect/cli"
import { HttpClient } from "effect/http"
import { readLocalUrl } from "../layers/config/LocalAddress.ts"

/** The runtime on this machine does not answer, or something else answers. */
export class RuntimeUnavailable extends Schema.TaggedError<RuntimeUnavailable>()("RuntimeUnavailable", {
  detail: Schema.String
}) {}

const TIMEOUT = Duration.seconds(3)

/** `--url`: a runtime other than the one on this machine. */
export const urlFlag = Flag.String("url").pipe(
  Flag.withDescription("The runtime's URL; by default from HEALTH_HOST and HEALTH_PORT"),
  Flag.optional
)

/** The runtime's answer to GET of the path, and its base URL; fails with RuntimeUnavailable after 3 s. */
export const askRuntime = Effect.fn("LocalEndpoint.askRuntime")(function* (url: Option.Option<string>, path: string) {
  const client = yield* HttpClient.HttpClient
  const base = Option.isSome(url)
    ? url.value.replace(/\/+$/, "")
    : yield* readLocalUrl(yield* ConfigProvider.ConfigProvider)
  return yield* client.get(`${base}${path}`).pipe(
    Effect.flatMap((response) => Effect.map(response.text, (body) => ({ base, status: response.status, body }))),
    Effect.mapError(
      (error) =>
        new RuntimeUnavailable({
          detail: `No runtime answers at ${base} (${error.reason._tag}). Start it, or correct HEALTH_HOST and HEALTH_PORT.`
        })
    ),
    Effect.timeoutOrElse({
      duration: TIMEOUT,
      orElse: () =>
        Effect.fail(
          new RuntimeUnavailable({
            detail: `${base} does not answer within ${Duration.format(TIMEOUT)}. See the runtime's log.`
          })
        )
    })
  )
})
