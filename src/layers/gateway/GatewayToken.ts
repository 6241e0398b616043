import { Context, Effect, FileSystem, Layer, Option, Redacted } from "effect"
import { SecureRandom } from "effect/crypto/SecureRandom"
import { RuntimeConfig } from "../Config.ts"
import { Redactor } from "../secrets/Redactor.ts"
import { notedGateway } from "./GatewayPidFile.ts"

const BYTES = 32

/** The random token of the gateway that this process starts; never stored. None if OPENCLAW_GATEWAY_TOKEN or _URL is set. */
export class GatewayToken extends Context.Reference<Option.Option<Redacted.Redacted>>(
  "runtime-service/layers/gateway/GatewayToken",
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
  /**
   * The random token of the gateway that a runtime started from the same state directory, read from the environment of
   * the gateway's process. None without /proc or without such a gateway.
   */
  static readonly layerOfRunning = Layer.effect(
    GatewayToken,
    Effect.gen(function* () {
      const { gatewayToken, gatewayUrl, stateDir } = yield* RuntimeConfig
      if (Option.isSome(gatewayUrl) || Option.isSome(gatewayToken)) return Option.none()
      const running = yield* notedGateway(stateDir)
      if (Option.isNone(running)) return Option.none()
      const fileSystem = yield* FileSystem.FileSystem
      const environment = yield* fileSystem
        .readFileString(`/proc/${running.value.pid}/environ`)
        .pipe(Effect.orElseSucceed(() => ""))
      const [, value] = /(?:^|\0)OPENCLAW_GATEWAY_TOKEN=([^\0]+)/.exec(environment) ?? []
      if (value === undefined) return Option.none()
      const token = Redacted.make(value, { label: "gateway token" })
      yield* (yield* Redactor).addSecret(token)
      return Option.some(token)
    })
  )
}
