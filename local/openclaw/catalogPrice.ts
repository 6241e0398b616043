import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Option, Schema } from "effect"
import type { TokenPrice } from "../../src/domain/shared/TokenPrice.ts"
import { pricedModelOf } from "../../src/domain/usage/ModelPrice.ts"

/** A provider's manifest in OpenClaw's package. Its catalogue lists models like the gateway's configuration. */
const Manifest = Schema.fromJsonString(Schema.Struct({ modelCatalog: Schema.Unknown }))
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
  const models = Option.getOrUndefined(asManifest(text))?.modelCatalog
  const { price } = pricedModelOf({ models }, "", `${provider}/${model}`)
  if (price === null) return undefined
  // Some providers do not charge more for what they write to their cache, and then list 0.
  return price.cacheWrite > 0 ? price : { ...price, cacheWrite: price.input }
}
