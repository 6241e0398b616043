import { Context, Effect, Layer, Option, Redacted } from "effect"
import { SecureRandom } from "effect/crypto/SecureRandom"
import { RuntimeConfig } from "./Config.ts"
import { Redactor } from "./Redactor.ts"

const BYTES = 32

/** The token of the gateway that this process starts: random and never stored; none where OPENCLAW_GATEWAY_TOKEN or _URL is given. */
export class GatewayToken extends Context.Reference<Option.Option<Redacted.Redacted>>(
  "runtime-service/layers/GatewayToken",
  { defaultValue: () => Option.none() }
) {
  static readonly layer = Layer.effect(
    GatewayToken,
    Effect.gen(function* () {
      const { gatewayToken, gatewayUrl } = yield* RuntimeConfig
      if (Option.isSome(gatewayUrl) || Option.isSome(gatewayToken)) return Option.none()
      const bytes = yield* (yield* SecureRandom).randomBytes(BYTES)
      const token = Redacted.make(Buffer.from(bytes).toString("hex"), { label: "gateway token" })
      yield* (yield* Redactor).addSecret(token)
      return Option.some(token)
    })
  )
}
