import { Context, Effect, FileSystem, Layer } from "effect"
import { pricedModelOf } from "../../domain/usage/ModelPrice.ts"
import type { PricedModel } from "../../domain/usage/ModelPrice.ts"
import { RuntimeConfig } from "../Config.ts"
import { readJson5 } from "./Json5Text.ts"

/** For how long the configuration is not read again. */
const TTL = "1 minute"

/** The agents' models and their prices, by the gateway's configuration on this machine. */
export class ModelPrices extends Context.Service<
  ModelPrices,
  {
    /** Model and price are null where the configuration cannot be read or does not say. */
    of(agentSlug: string): Effect.Effect<PricedModel>
  }
>()("runtime-service/layers/gateway/ModelPrices") {
  static readonly layer = Layer.effect(
    ModelPrices,
    Effect.suspend(() => make)
  )
  /** Of this one model, or of none. */
  static readonly layerTest = (model: PricedModel = { model: null, price: null }) =>
    Layer.succeed(ModelPrices, { of: () => Effect.succeed(model) })
}

const make = Effect.gen(function* () {
  const { gatewayConfigPath } = yield* RuntimeConfig
  const fileSystem = yield* FileSystem.FileSystem
  const read = fileSystem.readFileString(gatewayConfigPath).pipe(
    Effect.flatMap((text) => Effect.try(() => readJson5(text))),
    // Of a gateway elsewhere there is no such file; `doctor` says when usage has no price.
    Effect.orElseSucceed(() => ({}))
  )
  const settings = yield* Effect.cachedWithTTL(read, TTL)
  return ModelPrices.of({ of: (slug) => Effect.map(settings, (found) => pricedModelOf(found, slug)) })
})
