import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Option, Schema } from "effect"
import type { TokenPrice } from "../../src/domain/shared/TokenPrice.ts"

const Price = Schema.Struct({
  input: Schema.Finite,
  output: Schema.Finite,
  cacheRead: Schema.optionalKey(Schema.Finite),
  cacheWrite: Schema.optionalKey(Schema.Finite)
})

/** The part of a provider's manifest in OpenClaw's package that lists its models. */
const Manifest = Schema.fromJsonString(
  Schema.Struct({
    modelCatalog: Schema.Struct({
      providers: Schema.Record(
        Schema.String,
        Schema.Struct({
          models: Schema.optionalKey(
            Schema.Array(Schema.Struct({ id: Schema.String, cost: Schema.optionalKey(Price) }))
          )
        })
      )
    })
  })
)
const asManifest = Schema.decodeUnknownOption(Manifest)

const textOf = (path: string): string => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

/** The model's price in the catalogue of an installed OpenClaw; undefined if the catalogue does not know it. */
export const catalogPrice = (packageFolder: string, provider: string, model: string): TokenPrice | undefined => {
  const text = textOf(join(packageFolder, "dist", "extensions", provider, "openclaw.plugin.json"))
  const manifest = Option.getOrUndefined(asManifest(text))
  const cost = manifest?.modelCatalog.providers[provider]?.models?.find(({ id }) => id === model)?.cost
  // Zeros mean that the price is not known.
  if (cost === undefined || cost.input + cost.output <= 0) return undefined
  // Some providers do not charge more for what they write to their cache, and then list nothing or 0.
  const cacheWrite = (cost.cacheWrite ?? 0) > 0 ? cost.cacheWrite : cost.input
  return {
    input: cost.input,
    output: cost.output,
    cacheRead: cost.cacheRead ?? cost.input,
    cacheWrite: cacheWrite ?? 0
  }
}
