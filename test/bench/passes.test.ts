import { assert, describe, it } from "@effect/vitest"
import { comparisonOf, figuresOf } from "../../bench/passes.ts"
import type { Row } from "../../bench/passes.ts"

const row = (name: string, ...samples: ReadonlyArray<number>): Row => ({ name, unit: "ms", samples })

describe("passes of a bench", () => {
  it("pool the samples of a row", () => {
    const [figure] = figuresOf([[row("wait", 1, 2)], [row("wait", 9)]])
    assert.deepInclude(figure, { name: "wait", median: 2, spread: [1, 9], samples: 3 })
  })

  it("compare each pass with the other checkout's pass of the same round", () => {
    const figures = comparisonOf([[row("wait", 2)], [row("wait", 6)]], [[row("wait", 4)], [row("wait", 6)]])
    assert.deepStrictEqual(
      figures.map(({ median, name, unit }) => [name, median, unit]),
      [
        ["wait", 4, "ms"],
        ["wait: the other checkout", 5, "ms"],
        ["wait: ratio to the other checkout", 0.75, "ratio"]
      ]
    )
  })

  it("show a row that the other checkout lacks without a ratio", () => {
    const figures = comparisonOf([[row("wait", 2), row("new", 1)]], [[row("wait", 4)]])
    assert.deepStrictEqual(
      figures.filter(({ name }) => name.startsWith("new")).map(({ name }) => name),
      ["new"]
    )
  })
})
