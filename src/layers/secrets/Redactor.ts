import { truncate } from "../../domain/text/Text.ts"
import { Context, Effect, Layer, Option, Redacted } from "effect"
import { makeOwnRedactor, makeRedactor } from "../../domain/observability/Redaction.ts"
import { headerSecrets } from "../../domain/observability/TelemetryTarget.ts"
import { parseServiceToken } from "../../domain/shared/ServiceToken.ts"
import { RuntimeConfig } from "../Config.ts"
import type { Settings } from "../Config.ts"
import { FleetConfig } from "../fleet/FleetConfig.ts"
import { PersonConfig } from "../people/PersonConfig.ts"

const ERROR_CHARACTERS = 500

/** Removes secrets from every text before it leaves the process: log, metric, health, thread, control plane. */
export class Redactor extends Context.Service<
  Redactor,
  {
    /** The text without any secret known to this process, in any encoding. */
    redact(text: string): string
    /** The text for a model: without this process's secrets and service tokens. Other text that looks like a secret stays. */
    own(text: string): string
    /** Redacted and cut to 500 characters, the size of an error that is shown or stored. */
    error(text: string): string
    /** Adds a secret, e.g. after a rotation. False if it was already known, which costs nothing. */
    addSecret(secret: Redacted.Redacted): Effect.Effect<boolean>
  }
>()("runtime-service/layers/secrets/Redactor") {
  static readonly layer = Layer.effect(
    Redactor,
    Effect.map(RuntimeConfig, (settings) => redactorOf(secretsOf(settings)))
  )

  /** For the commands for people, which have only the person's key or token as a secret. */
  static readonly layerForPeople = Layer.effect(
    Redactor,
    Effect.map(PersonConfig, ({ signIn }) =>
      redactorOf([Redacted.value(signIn._tag === "Token" ? signIn.token : signIn.key)])
    )
  )

  /** For the commands for a fleet, which have only the deploy key as a secret. */
  static readonly layerForFleet = Layer.effect(
    Redactor,
    Effect.map(FleetConfig, ({ deployKey }) => redactorOf([Redacted.value(deployKey)]))
  )
}

/** The secrets of the settings. */
const secretsOf = ({ gatewayToken, proxy, serviceToken, telemetry }: Settings): ReadonlyArray<string> => [
  ...[Option.some(serviceToken), gatewayToken, telemetry.honeycombApiKey].flatMap(Option.toArray).map(Redacted.value),
  // The proxy's address is not a secret; only its password is.
  ...Option.toArray(proxy).map((held) => decodeURIComponent(new URL(Redacted.value(held)).password)),
  ...[telemetry.headers, telemetry.tracesHeaders, telemetry.logsHeaders]
    .flatMap(Option.toArray)
    .flatMap((headers) => headerSecrets(Redacted.value(headers)))
]

const redactorOf = (initial: ReadonlyArray<string>): Redactor["Service"] => {
  const secrets = new Set<string>()
  /** False if the secret was already known. */
  const learn = (secret: string): boolean => {
    const before = secrets.size
    secrets.add(secret)
    // The secret part of a service token can also occur alone, e.g. in a truncated message.
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
