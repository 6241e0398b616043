import { Context, Effect, FileSystem, Layer } from "effect"
import { pricedModelOf } from "../../domain/usage/ModelPrice.ts"
import type { PricedModel } from "../../domain/usage/ModelPrice.ts"
import { RuntimeConfig } from "../Config.ts"
import { readGatewaySettings } from "./GatewayConfigFile.ts"

/** Time after which the configuration is read again. */
const TTL = "1 minute"

/** The agents' models and their prices, from the gateway's configuration on this machine. */
export class ModelPrices extends Context.Service<
  ModelPrices,
  {
    /**
     * The model that answered, otherwise the agent's configured one. Model and price are null if the configuration does
     * not have them or cannot be read.
     */
    of(agentSlug: string, answered: string | null): Effect.Effect<PricedModel>
  }
>()("runtime-service/layers/gateway/ModelPrices") {
  static readonly layer = Layer.effect(
    ModelPrices,
    Effect.suspend(() => make)
  )
  /** The same model for every agent, for tests. */
  static readonly layerTest = (model: PricedModel = { model: null, price: null }) =>
    Layer.succeed(ModelPrices, { of: () => Effect.succeed(model) })
}

const make = Effect.gen(function* () {
  const { gatewayConfigPath } = yield* RuntimeConfig
  const fileSystem = yield* FileSystem.FileSystem
  // Empty if the gateway runs on another machine; `doctor` reports usage without a price.
  const read = Effect.provideService(readGatewaySettings(gatewayConfigPath), FileSystem.FileSystem, fileSystem)
  const settings = yield* Effect.cachedWithTTL(read, TTL)
  return ModelPrices.of({
    of: (slug, answered) => Effect.map(settings, (found) => pricedModelOf(found, slug, answered))
  })
})
