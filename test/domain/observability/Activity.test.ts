import { assert, describe, it } from "@effect/vitest"
import * as Activity from "../../../src/domain/observability/Activity.ts"

const work = (run: string, agent = "engineer"): Activity.StartedWork => ({
  run,
  sessionKey: `agent:${agent}:account`,
  agent,
  agentName: "Engineer",
  task: "Fix it",
  type: "mention",
  attempt: 1,
  startedAt: 0
})

const end = (run: string, change: Partial<Activity.WorkEnd> = {}): Activity.WorkEnd => ({
  run,
  agent: "engineer",
  kind: "notification",
  type: "mention",
  outcome: "replied",
  isSilence: false,
  isFailure: false,
  isTurnCompleted: false,
  error: null,
  at: 1_000,
  durationMillis: 10,
  ...change
})

const many = (count: number, step: (before: Activity.Activity, index: number) => Activity.Activity) =>
  Array.from({ length: count }, (_, index) => index).reduce(step, Activity.nothing)

describe("the activity of the process", () => {
  it("is bounded for any number of events", () => {
    const after = many(5_000, (before, n) =>
      Activity.ended(Activity.started(before, work(`run-${n}`, `agent-${n}`)), {
        ...end(`run-${n}`, { agent: `agent-${n}`, error: `error ${n}`, at: n * Activity.SPAN_MILLIS })
      })
    )
    assert.lengthOf(after.running, 0)
    assert.lengthOf(after.ended, 60)
    assert.lengthOf(after.errors, 20)
    assert.lengthOf(after.agents, 200)
    assert.lengthOf(after.spans, Activity.SPANS)
    assert.strictEqual(after.ended[0]?.run, "run-4999")
    assert.strictEqual(after.errors[0]?.message, "error 4999")
  })

  it("keeps no more than 500 characters of a title or an error", () => {
    const running = Activity.started(Activity.nothing, { ...work("one"), task: "t".repeat(10_000) })
    assert.lengthOf(running.running[0]?.task ?? "", 500)
    const { errors } = Activity.ended(running, end("one", { error: `${"e".repeat(498)}😀 and more` }))
    assert.strictEqual(errors[0]?.message, `${"e".repeat(498)}…`)
  })

  it("counts repetitions of an error in one entry until a different one occurs", () => {
    const messages = ["down", "down", "down", "other", "down"]
    const after = messages.reduce(
      (before, error, index) => Activity.ended(before, end(`run-${index}`, { error, at: index })),
      Activity.nothing
    )
    assert.deepStrictEqual(
      after.errors.map(({ at, count, firstAt, message }) => [message, count, firstAt, at]),
      [
        ["down", 1, 4, 4],
        ["other", 1, 3, 3],
        ["down", 3, 0, 2]
      ]
    )
  })

  it("follows the progress of a running turn, which its end keeps", () => {
    const running = Activity.started(Activity.nothing, work("one"))
    const answered = Activity.progressed(running, "one", ({ inputTokens, rounds }) => ({
      rounds: rounds + 1,
      inputTokens: inputTokens + 500
    }))
    const calling = Activity.progressed(answered, "one", () => ({ tool: "task_load", stepSince: 7 }))
    assert.deepInclude(calling.running[0], { tool: "task_load", stepSince: 7, rounds: 1, inputTokens: 500 })
    assert.deepStrictEqual(
      Activity.progressed(calling, "unknown", () => ({ tool: "other" })),
      calling
    )
    const after = Activity.ended(calling, end("one", { error: "TurnTimeout: late" }))
    assert.deepInclude(after.ended[0], { rounds: 1, inputTokens: 500, attempt: 1, error: "TurnTimeout: late" })
  })

  it("shows an end without a recorded start, and a repeated start once", () => {
    const twice = Activity.started(Activity.started(Activity.nothing, work("one")), work("one"))
    assert.lengthOf(twice.running, 1)
    const after = Activity.ended(twice, end("unknown"))
    assert.lengthOf(after.running, 1)
    assert.isNull(after.ended[0]?.task)
  })

  it("draws the last twenty minutes span by span, the empty ones too, and leaves heartbeats out", () => {
    const now = 100 * Activity.SPAN_MILLIS + 5
    const activity = [
      end("a", { at: now - Activity.SPAN_MILLIS, durationMillis: 100 }),
      end("b", { at: now, isFailure: true, durationMillis: 50 }),
      end("c", { at: now, durationMillis: 150 }),
      end("beat", { at: now, kind: "heartbeat", type: "heartbeat" })
    ].reduce(Activity.ended, Activity.nothing)
    const line = Activity.chartSpans(activity, now)
    assert.lengthOf(line, Activity.SPANS)
    assert.deepStrictEqual(line.at(-1), {
      at: 100 * Activity.SPAN_MILLIS,
      ended: 2,
      failed: 1,
      p50Millis: 50,
      p95Millis: 150
    })
    assert.strictEqual(line.at(-2)?.ended, 1)
    assert.strictEqual(
      line.slice(0, -2).reduce((sum, { ended }) => sum + ended, 0),
      0
    )
  })

  it("drops agents that left the roster and keeps the activity of the others", () => {
    const heartbeat = (agent: string, at: number) =>
      end(`${agent}:1`, { agent, kind: "heartbeat", type: "heartbeat", outcome: "ok", at })
    const before = [heartbeat("engineer", 5), heartbeat("qa", 6)].reduce(Activity.ended, Activity.nothing)
    const after = Activity.rosterKnown(before, [
      { slug: "engineer", name: "Engineer", role: "Builds", isPaused: false },
      { slug: "writer", name: "Writer", role: "Writes", isPaused: true }
    ])
    assert.deepStrictEqual(
      after.agents.map(({ isPaused, lastHeartbeatAt, name, slug }) => [slug, name, lastHeartbeatAt, isPaused]),
      [
        ["engineer", "Engineer", 5, false],
        ["writer", "Writer", null, true]
      ]
    )
  })
})
