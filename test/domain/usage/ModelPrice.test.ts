import { assert, describe, it } from "@effect/vitest"
import { pricedModelOf } from "../../../src/domain/usage/ModelPrice.ts"

const cost = { input: 2, output: 8, cacheRead: 0.2, cacheWrite: 2.5 }
const settings = {
  agents: { defaults: { model: "fake/large" }, entries: { engineer: { model: { primary: "fake/small" } } } },
  models: {
    providers: {
      fake: {
        models: [
          { id: "small", cost },
          { id: "other", cost: { ...cost, input: 3 } },
          { id: "free", cost: { input: 0, output: 0 } }
        ]
      }
    }
  }
}

describe("an agent's model and its price", () => {
  it("are the configured ones, the agent's before the default", () => {
    assert.deepStrictEqual(pricedModelOf(settings, "engineer"), { model: "fake/small", price: cost })
    assert.deepStrictEqual(pricedModelOf(settings, "qa"), { model: "fake/large", price: null })
    assert.deepStrictEqual(pricedModelOf({}, "qa"), { model: null, price: null })
  })

  it("are those of the model that answered, if it is another one", () => {
    assert.deepStrictEqual(pricedModelOf(settings, "engineer", "fake/other"), {
      model: "fake/other",
      price: { ...cost, input: 3 }
    })
    assert.deepStrictEqual(pricedModelOf(settings, "engineer", "elsewhere/x"), { model: "elsewhere/x", price: null })
    assert.deepStrictEqual(pricedModelOf({}, "engineer", "fake/free"), { model: "fake/free", price: null })
  })
})
