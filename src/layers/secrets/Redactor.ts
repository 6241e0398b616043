import { truncate } from "../../domain/text/Text.ts"
import { Context, Effect, Layer, Option, Redacted } from "effect"
import { makeOwnRedactor, makeRedactor } from "../../domain/observability/Redaction.ts"
import { headerSecrets } from "../../domain/observability/TraceTarget.ts"
import { parseServiceToken } from "../../domain/shared/ServiceToken.ts"
import { RuntimeConfig } from "../Config.ts"
import type { Settings } from "../Config.ts"
import { PersonConfig } from "../PersonConfig.ts"

const ERROR_CHARACTERS = 500

/** The one function that every text passes before it leaves the process: log, metric, health, thread, control plane. */
export class Redactor extends Context.Service<
  Redactor,
  {
    /** The text without any secret known to this process, in whatever encoding. */
    redact(text: string): string
    /** The text for a model: without this process's secrets and service tokens, but with what people put into it. */
    own(text: string): string
    /** Redacted and cut to 500 characters, the size of an error that is shown or stored. */
    error(text: string): string
    /** Makes a further secret known, e.g. after a rotation; false when it was known already, which costs nothing. */
    addSecret(secret: Redacted.Redacted): Effect.Effect<boolean>
  }
>()("runtime-service/layers/secrets/Redactor") {
  static readonly layer = Layer.effect(
    Redactor,
    Effect.map(RuntimeConfig, (settings) => redactorOf(secretsOf(settings)))
  )

  /** For the commands for people, which know the person's key or token alone. */
  static readonly layerForPeople = Layer.effect(
    Redactor,
    Effect.map(PersonConfig, ({ signIn }) =>
      redactorOf([Redacted.value(signIn._tag === "Token" ? signIn.token : signIn.key)])
    )
  )
}

/** The secrets of the settings. */
const secretsOf = ({ gatewayToken, proxy, serviceToken, tracing }: Settings): ReadonlyArray<string> => [
  ...[Option.some(serviceToken), gatewayToken, tracing.honeycombApiKey].flatMap(Option.toArray).map(Redacted.value),
  // An address without credentials is no secret.
  ...Option.toArray(proxy).map((held) => decodeURIComponent(new URL(Redacted.value(held)).password)),
  ...[tracing.headers, tracing.tracesHeaders]
    .flatMap(Option.toArray)
    .flatMap((headers) => headerSecrets(Redacted.value(headers)))
]

const redactorOf = (initial: ReadonlyArray<string>): Redactor["Service"] => {
  const secrets = new Set<string>()
  /** False when nothing was learnt. */
  const learn = (secret: string): boolean => {
    const before = secrets.size
    secrets.add(secret)
    // The secret part of a service token also goes alone, e.g. into a truncated message.
    const token = parseServiceToken(secret)
    if (token !== null) secrets.add(token.secret)
    return secrets.size > before
  }
  initial.forEach(learn)
  let redact = makeRedactor([...secrets])
  let own = makeOwnRedactor([...secrets])
  return Redactor.of({
    redact: (text) => redact(text),
    own: (text) => own(text),
    error: (text) => truncate(redact(text), ERROR_CHARACTERS),
    addSecret: (secret) =>
      Effect.sync(() => {
        const isNew = learn(Redacted.value(secret))
        if (isNew) {
          redact = makeRedactor([...secrets])
          own = makeOwnRedactor([...secrets])
        }
        return isNew
      })
  })
}
