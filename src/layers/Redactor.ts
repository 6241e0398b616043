import { Context, Effect, Layer, Option, Redacted } from "effect"
import { makeRedactor } from "../domain/Redaction.ts"
import { headerSecrets } from "../domain/TraceTarget.ts"
import { RuntimeConfig } from "./Config.ts"

/** The one function that every text passes before it leaves the process: log, metric, health, thread, control plane. */
export class Redactor extends Context.Service<
  Redactor,
  {
    /** The text without any secret known to this process, in whatever encoding. */
    redact(text: string): string
    /** Redacted and cut to 500 characters, the size of an error that is shown or stored. */
    error(text: string): string
    /** Makes a further secret known, e.g. after a rotation. */
    addSecret(secret: Redacted.Redacted): Effect.Effect<void>
  }
>()("runtime-service/layers/Redactor") {
  static readonly layer = Layer.effect(
    Redactor,
    Effect.gen(function* () {
      const { gatewayToken, serviceToken, tracing } = yield* RuntimeConfig
      const token = Redacted.value(serviceToken)
      // The secret part of a service token also goes alone, e.g. into a truncated message.
      const secrets = [token, token.slice(token.lastIndexOf("_") + 1)]
      for (const secret of [gatewayToken, tracing.honeycombApiKey]) {
        if (Option.isSome(secret)) secrets.push(Redacted.value(secret.value))
      }
      for (const headers of [tracing.headers, tracing.tracesHeaders]) {
        if (Option.isSome(headers)) secrets.push(...headerSecrets(Redacted.value(headers.value)))
      }
      let redact = makeRedactor(secrets)
      return Redactor.of({
        redact: (text) => redact(text),
        error: (text) => {
          // Half a surrogate pair, from a cut or from elsewhere, could never be stored.
          const redacted = redact(text).toWellFormed()
          return redacted.length <= 500 ? redacted : `${redacted.slice(0, 499).toWellFormed()}…`
        },
        addSecret: (secret) =>
          Effect.sync(() => {
            secrets.push(Redacted.value(secret))
            redact = makeRedactor(secrets)
          })
      })
    })
  )
}
