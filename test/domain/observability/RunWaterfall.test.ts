import { assert, describe, it } from "@effect/vitest"
import type { RunDetails } from "../../../src/domain/delivery/RunView.ts"
import { runWaterfall } from "../../../src/domain/observability/RunWaterfall.ts"

type Attempt = RunDetails["timeline"][number]

const round = {
  kind: "round",
  round: 1,
  startMs: 50,
  durationMs: 400,
  inputTokens: 1_200,
  outputTokens: 30,
  error: null
} as const
const tool = { kind: "tool", tool: "task_load", startMs: 460, durationMs: 40, error: "forbidden" } as const

const attempt = (change: Partial<Attempt> = {}): Attempt => ({
  epoch: 1,
  claimedAt: 1_000,
  runtimeId: "r1",
  endedAt: 1_600,
  end: "replied",
  reason: null,
  traceId: null,
  isDelta: false,
  steps: [round, tool],
  stepsLeftOut: 0,
  usage: null,
  ...change
})

const only = (change: Partial<Attempt> = {}, now = 5_000) => runWaterfall({ timeline: [attempt(change)] }, now)[0]!
const timesOf = (change: Partial<Attempt>, now?: number) =>
  only(change, now).bars.map(({ forMs, fromMs, label }) => [label, fromMs, forMs])

describe("the waterfall of an attempt", () => {
  it("goes from the claim over rounds and tools to the stored outcome, without a gap at its ends", () => {
    assert.deepStrictEqual(timesOf({}), [
      ["Claim and prompt", 0, 50],
      ["Round 1", 50, 400],
      ["task_load", 460, 40],
      ["Store the outcome", 500, 100]
    ])
    const { bars, isEstimated, totalMs } = only()
    assert.strictEqual(totalMs, 600)
    assert.isFalse(isEstimated)
    assert.deepInclude(bars[1], { text: "1,200 tokens in, 30 out", isFailed: false })
    assert.deepInclude(bars[2], { text: "forbidden", isFailed: true })
  })

  it("draws a tool call over HTTP within its round, although it ended first", () => {
    const http = { ...tool, startMs: 100 }
    assert.deepStrictEqual(
      timesOf({ steps: [http, round] }).map(([label]) => label),
      ["Claim and prompt", "Round 1", "task_load", "Store the outcome"]
    )
  })

  it("draws steps without a start one after another, and marks the times as estimated", () => {
    const { startMs: _, ...early } = round
    const { startMs: __, ...later } = tool
    const steps = [early, later]
    assert.deepStrictEqual(timesOf({ steps }).slice(1, 3), [
      ["Round 1", 0, 400],
      ["task_load", 400, 40]
    ])
    assert.isTrue(only({ steps }).isEstimated)
  })

  it("of a running attempt lasts until now and has no end", () => {
    const running = only({ end: null, endedAt: null, steps: [] }, 3_000)
    assert.strictEqual(running.totalMs, 2_000)
    assert.deepStrictEqual(running.bars, [])
  })

  it("is not shorter than its steps if the clocks differ", () => {
    assert.strictEqual(only({ endedAt: 1_100 }).totalMs, 500)
    assert.deepStrictEqual(timesOf({ endedAt: 1_100 }).at(-1), ["Store the outcome", 500, 0])
  })
})
