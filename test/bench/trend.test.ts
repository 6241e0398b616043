import { assert, describe, it } from "@effect/vitest"
import { slopeOf, trendOf } from "../../bench/soak/trend.ts"

const every15Seconds = (valueAt: (seconds: number) => number): ReadonlyArray<readonly [number, number]> =>
  Array.from({ length: 80 }, (_, index) => [index * 15, valueAt(index * 15)] as const)

describe("a soak's trend", () => {
  it("is flat if a level only varies", () => {
    const swinging = every15Seconds((at) => 40 + (at % 60) / 60)
    assert.isTrue(trendOf("heap", "MB", 5, swinging).isFlat)
  })

  it("finds a leak of a kilobyte a delivery under the variation of active deliveries", () => {
    // Five deliveries a second.
    const leaking = every15Seconds((at) => 40 + (at % 60) / 60 + (at * 5) / 1_024)
    const { isFlat, slope } = trendOf("heap", "MB", 5, leaking)
    assert.isFalse(isFlat)
    assert.approximately(slope, 17.6, 2)
  })

  it("is not changed by a short peak, nor by the warm-up", () => {
    const crowded = every15Seconds((at) => (at < 200 ? 20 + at / 10 : at === 1_005 ? 400 : 40))
    assert.deepInclude(trendOf("heap", "MB", 5, crowded), { slope: 0, first: 40, last: 40, isFlat: true })
  })

  it("is the growth in a second of a straight line", () => {
    assert.approximately(slopeOf(every15Seconds((at) => 3 * at + 1)), 3, 1e-9)
  })
})
