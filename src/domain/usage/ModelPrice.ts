import { Option, Schema } from "effect"
import type { TokenPrice } from "../shared/TokenPrice.ts"

/** An agent's model, e.g. `openai/gpt-5`, and its price; null if not known. */
export interface PricedModel {
  readonly model: string | null
  readonly price: TokenPrice | null
}

/** A model by its name, or with the models to which the gateway falls back. */
const ModelChoice = Schema.Union([Schema.String, Schema.Struct({ primary: Schema.optionalKey(Schema.String) })])

const Cost = Schema.Struct({
  input: Schema.Finite,
  output: Schema.Finite,
  cacheRead: Schema.optionalKey(Schema.Finite),
  cacheWrite: Schema.optionalKey(Schema.Finite)
})

const Agents = Schema.Struct({
  defaults: Schema.optionalKey(Schema.Struct({ model: Schema.optionalKey(ModelChoice) })),
  entries: Schema.optionalKey(Schema.Record(Schema.String, Schema.Struct({ model: Schema.optionalKey(ModelChoice) })))
})

const Models = Schema.Struct({
  providers: Schema.optionalKey(
    Schema.Record(
      Schema.String,
      Schema.Struct({
        models: Schema.optionalKey(
          Schema.Array(Schema.Struct({ id: Schema.String, cost: Schema.optionalKey(Schema.Unknown) }))
        )
      })
    )
  )
})

const asAgents = Schema.decodeUnknownOption(Agents)
const asModels = Schema.decodeUnknownOption(Models)
const asCost = Schema.decodeUnknownOption(Cost)

const nameOf = (choice: typeof ModelChoice.Type | undefined): string | null =>
  typeof choice === "string" ? choice : (choice?.primary ?? null)

/** The gateway writes a price of zeros if it knows none. */
const priceOf = (cost: unknown): TokenPrice | null =>
  Option.match(asCost(cost), {
    onNone: () => null,
    onSome: ({ cacheRead, cacheWrite, input, output }) =>
      input > 0 || output > 0 ? { input, output, cacheRead: cacheRead ?? input, cacheWrite: cacheWrite ?? input } : null
  })

/**
 * The model that answered, otherwise the agent's model by the gateway's configuration, with its price in dollars per
 * million tokens.
 */
export const pricedModelOf = (
  settings: { readonly agents?: unknown; readonly models?: unknown },
  slug: string,
  answered: string | null = null
): PricedModel => {
  const agents = Option.getOrUndefined(asAgents(settings.agents))
  const model = answered ?? nameOf(agents?.entries?.[slug]?.model) ?? nameOf(agents?.defaults?.model)
  if (model === null) return { model, price: null }
  const providers = Option.getOrUndefined(asModels(settings.models))?.providers ?? {}
  const slash = model.indexOf("/")
  const listed = providers[model.slice(0, slash)]?.models?.find(({ id }) => id === model.slice(slash + 1))
  return { model, price: priceOf(listed?.cost) }
}
