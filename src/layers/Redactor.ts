import { Context, Effect, Layer, Option, Redacted } from "effect"
import { makeRedactor } from "../domain/Redaction.ts"
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
      const { gatewayToken, serviceToken } = yield* RuntimeConfig
      const secrets = [serviceToken, ...Option.toArray(gatewayToken)].flatMap((secret) => {
        const value = Redacted.value(secret)
        // The secret part of a service token also goes alone, e.g. into a truncated message.
        return [value, value.slice(value.lastIndexOf("_") + 1)]
      })
      let redact = makeRedactor(secrets)
      return Redactor.of({
        redact: (text) => redact(text),
        error: (text) => {
          const redacted = redact(text)
          return redacted.length <= 500 ? redacted : `${redacted.slice(0, 499)}…`
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
