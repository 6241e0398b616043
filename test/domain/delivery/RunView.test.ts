import { assert, describe, it } from "@effect/vitest"
import { describeRun } from "../../../src/domain/delivery/RunView.ts"
import type { RunDetails } from "../../../src/domain/delivery/RunView.ts"

type Attempt = RunDetails["timeline"][number]

const attempt = (changes: Partial<Attempt>): Attempt => ({
  epoch: 1,
  claimedAt: 2_000,
  runtimeId: "r1",
  endedAt: 6_500,
  end: "replied",
  reason: null,
  traceId: null,
  isDelta: false,
  steps: [],
  stepsLeftOut: 0,
  usage: {
    inputTokens: 12_345,
    outputTokens: 67,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    rounds: 2,
    model: "anthropic/claude",
    weightedTokens: 12_680,
    cost: 0.0123,
    isEstimated: false
  },
  ...changes
})

const details = (timeline: ReadonlyArray<Attempt>, changes: Partial<RunDetails> = {}): RunDetails => ({
  run: {
    id: "run_1",
    kind: "notification",
    agentSlug: "engineer",
    taskId: "task_1",
    taskTitle: "Fix login",
    type: "mention",
    state: "running",
    outcome: null,
    outcomeReason: null,
    wait: null,
    attempts: 1,
    at: 2_000,
    runtimeId: "r1",
    traceId: null
  },
  createdAt: 1_000,
  claims: 1,
  failures: 0,
  silences: 0,
  nextAttemptAt: null,
  error: null,
  decision: null,
  events: [{ type: "mention", actorName: "Ana", at: 1_000, refusal: null, hasJoined: false }],
  timeline,
  effects: [],
  ...changes
})

/** What is printed below the head. */
const history = (...args: Parameters<typeof details>) =>
  describeRun(details(...args))
    .split("\n")
    .slice(7)

describe("the text of a run", () => {
  it("names the question that a person's message answers", () => {
    const events = [
      {
        type: "mention" as const,
        actorName: "Ana",
        at: 1_000,
        refusal: null,
        hasJoined: false,
        answers: "Which\ndatabase?"
      }
    ]
    assert.deepStrictEqual(history([], { events }), ['1970-01-01T00:00:01.000Z  answer to "Which database?" by Ana'])
  })

  it("shows each attempt's claim, its end with its usage, and its steps", () => {
    const steps = [
      { kind: "round", round: 3, durationMs: 1_240, inputTokens: 6_000, outputTokens: 60, error: null },
      { kind: "tool", tool: "task_load", durationMs: 80, error: null },
      { kind: "tool", tool: "task_status", durationMs: 30, error: "forbidden" },
      { kind: "round", round: 4, durationMs: 2_000, inputTokens: 0, outputTokens: 0, error: "aborted" }
    ] as const
    const effects = [{ epoch: 1, tool: "task_status", summary: "moved to review", at: 4_000 }]
    assert.deepStrictEqual(history([attempt({ steps, stepsLeftOut: 3, traceId: "abc" })], { effects }), [
      "1970-01-01T00:00:01.000Z  mention by Ana",
      "1970-01-01T00:00:02.000Z  epoch 1: claimed by r1",
      "1970-01-01T00:00:04.000Z  epoch 1: task_status: moved to review",
      "1970-01-01T00:00:06.500Z  epoch 1: replied after 4.5 s (full text; 2 rounds; 12,345 tokens in, 67 out; $0.0123; anthropic/claude; trace abc)",
      "                          3 earlier steps left out",
      "                          round 3, 1.2 s: 6,000 tokens in, 60 out",
      "                          task_load, 80 ms: succeeded",
      "                          task_status, 30 ms: failed: forbidden",
      "                          round 4, 2.0 s: failed: aborted"
    ])
  })

  it("shows that a process ended, and why an attempt without a request ended", () => {
    const estimated = { inputTokens: 10_000, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, rounds: 0 }
    const usage = { ...estimated, model: null, weightedTokens: 10_000, cost: null, isEstimated: true }
    const released = { epoch: 2, end: "released", reason: "GatewayUnreachable: refused", usage: null, isDelta: null }
    const error = { class: "GatewayUnreachable", message: "refused", at: 6_500 }
    const timeline = [
      attempt({ end: "process_ended", isDelta: null, usage, endedAt: 3_000 }),
      attempt({ ...released, claimedAt: 5_000 }),
      attempt({ epoch: 3, claimedAt: 7_000, endedAt: null, end: null, usage: null, isDelta: null })
    ]
    assert.deepStrictEqual(history(timeline, { error }).slice(2), [
      "1970-01-01T00:00:03.000Z  epoch 1: its process ended after 1.0 s (0 rounds; about 10,000 tokens in, 0 out)",
      "1970-01-01T00:00:05.000Z  epoch 2: claimed by r1",
      "1970-01-01T00:00:06.500Z  epoch 2: released after 1.5 s: GatewayUnreachable: refused (no request to the gateway)",
      "1970-01-01T00:00:07.000Z  epoch 3: claimed by r1"
    ])
  })

  it("shows the error of a run that ended without an attempt", () => {
    const error = { class: "AttemptsSpent", message: "the budget of 5 attempts is used up", at: 9_000 }
    assert.include(
      history([attempt({})], { error }),
      "1970-01-01T00:00:09.000Z  AttemptsSpent: the budget of 5 attempts is used up"
    )
  })

  it("shows who discarded or retried it as a dead letter", () => {
    const decision = { kind: "discarded", byName: "Kim\nfake line", at: 9_000 } as const
    assert.strictEqual(
      history([attempt({})], { decision }).at(-1),
      "1970-01-01T00:00:09.000Z  discarded by Kim fake line"
    )
  })

  it("shows how a run ended once", () => {
    const run = { ...details([]).run, state: "delivered" as const, at: 6_500 }
    const ends = (outcome: string, end: string) =>
      history([attempt({ end })], { run: { ...run, outcome } }).filter((line) => line.includes("ended as"))
    assert.deepStrictEqual(ends("replied", "replied"), [])
    assert.deepStrictEqual(ends("fallback", "failed"), ["1970-01-01T00:00:06.500Z  ended as fallback"])
  })

  it("names a heartbeat by its due time instead of a task", () => {
    const { run } = details([])
    const text = describeRun(details([], { run: { ...run, kind: "heartbeat", taskId: null, taskTitle: null } }))
    assert.include(text, "heartbeat  due 1970-01-01T00:00:01.000Z")
    assert.notInclude(text, "task ")
  })
})
