import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { wellFormed } from "../../../src/domain/text/WellFormed.ts"

const lone = "\ud83d"

describe("a value for the wire", () => {
  it("has no lone surrogate left in any text, list or key", () => {
    assert.deepStrictEqual<unknown>(
      wellFormed({ title: `a${lone}b`, labels: [lone, "😀"], [`k${lone}`]: { deep: `${lone}\ude00` } }),
      {
        title: "a\ufffdb",
        labels: ["\ufffd", "😀"],
        "k\ufffd": { deep: "😀" }
      }
    )
  })

  it.prop("is the same value if nothing has to be replaced, and can be encoded", [Schema.Json], ([value]) => {
    const repaired = wellFormed(value)
    assert.strictEqual(wellFormed(repaired), repaired)
    assert.deepStrictEqual(
      JSON.parse(new TextDecoder().decode(new TextEncoder().encode(JSON.stringify(repaired)))),
      JSON.parse(JSON.stringify(repaired))
    )
  })
})
