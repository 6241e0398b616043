import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"
import { beatPermits, nextCronMoment } from "../../src/domain/HeartbeatCadence.ts"

const at = (text: string) => Date.parse(text)

describe("the cadence of heartbeats", () => {
  it("finds the next moment of a cron expression of five or six fields in UTC, after and never at the present", () => {
    const next = (expression: string, now: string) =>
      Option.map(nextCronMoment(expression, at(now)), (moment) => new Date(moment).toISOString())
    assert.deepStrictEqual(next("0 9 * * 1-5", "2026-01-02T10:00:00Z"), Option.some("2026-01-05T09:00:00.000Z"))
    assert.deepStrictEqual(next("*/15 * * * *", "2026-01-02T10:15:00Z"), Option.some("2026-01-02T10:30:00.000Z"))
    assert.deepStrictEqual(next("30 0 0 1 1 *", "2026-03-01T00:00:00Z"), Option.some("2027-01-01T00:00:30.000Z"))
  })

  it("finds none for what is no expression, and for a day that no month has", () => {
    for (const expression of ["", "now", "* * * *", "61 * * * *", "a b c d e", "0 0 30 2 *"]) {
      assert.deepStrictEqual(nextCronMoment(expression, at("2026-01-02T10:00:00Z")), Option.none(), expression)
    }
  })

  it("gives heartbeats a quarter of the permits, and one where a quarter would be none", () => {
    assert.deepStrictEqual([1, 2, 4, 8, 11, 100].map(beatPermits), [1, 1, 1, 2, 2, 25])
  })
})
