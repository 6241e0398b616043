import { assert, describe, it } from "@effect/vitest"
import { figureOf, isMet, medianOf, percentile } from "../../bench/figure.ts"
import { lineOf, markdownOf } from "../../bench/table.ts"

const machine = {
  cpus: 2,
  model: "Processor",
  memoryGigabytes: 8,
  system: "Linux 6",
  node: "v24",
  commit: "abc",
  loadAtStart: 0.5
}

describe("a figure", () => {
  it("is the median of its samples, with minimum and maximum", () => {
    const figure = figureOf("rate", "1/s", [70, 50, 90, 60, 80])
    assert.deepInclude(figure, { median: 70, spread: [50, 90], samples: 5 })
    assert.strictEqual(percentile([1, 2, 3, 4], 0.99), 4)
    assert.strictEqual(medianOf([4, 1, 2, 3]), 2.5)
    assert.isNaN(medianOf([]))
  })

  it("meets its goal, misses it, or has none; NaN misses it", () => {
    assert.isTrue(isMet(figureOf("rate", "1/s", [60], { atLeast: 60 })))
    assert.isFalse(isMet(figureOf("latency", "ms", [15], { below: 15 })))
    assert.isNull(isMet(figureOf("rows", "rows", [1])))
    assert.isFalse(isMet(figureOf("latency", "ms", [Number.NaN], { below: 15 })))
  })

  it("is shown next to its goal, on a terminal and in the page's table", () => {
    const figure = figureOf("latency", "ms", [12, 11, 13], { below: 15 })
    assert.match(lineOf("delivery", figure), /latency +12 ms +\(11 to 13\) +met: under 15 ms/)
    const table = markdownOf([
      {
        bench: "delivery",
        at: "2026-01-01T00:00:00Z",
        tookSeconds: 1,
        machine,
        shortened: "BENCH_RUNS=1",
        figures: [figure]
      }
    ])
    assert.include(table, "| `delivery` | latency | 12 ms | 11 to 13 | under 15 ms | met |")
    assert.include(
      table,
      "2 × Processor, 8 GB, Linux 6, Node v24, commit abc, shortened (BENCH_RUNS=1); load at the start 0.5: `delivery`"
    )
  })
})
