import { assert, describe, it } from "@effect/vitest"
import { isReported, turnLines, turnTable } from "../../../src/domain/people/RunningTurns.ts"
import type { RunningTurn } from "../../../src/domain/people/RunningTurns.ts"

const now = 1_800_000_000_000
const progress = { tool: "exec", stepSince: now - 180_000, lastActivityAt: now - 5_000, isStuck: false }
const turn: RunningTurn = {
  id: "n1",
  agentSlug: "engineer",
  taskId: "kd7abcd1efgh",
  taskTitle: "Fix the login on phones, which fails for some",
  state: "running",
  attempts: 2,
  at: now - 720_000,
  progress
}
const model = { ...turn, agentSlug: "qa", progress: { ...progress, tool: null, stepSince: now - 40_000 } }

describe("the table of running turns", () => {
  it("shows since when which agent works on what, the attempt, the current step and the last activity", () => {
    const stuck = { ...turn, agentSlug: "lead", progress: { ...progress, isStuck: true } }
    const heartbeat = { ...turn, agentSlug: "ops", taskId: null, taskTitle: null, attempts: 1, progress: null }
    const text = turnTable([turn, model, stuck, heartbeat, { ...turn, state: "stopping" }], now)
    assert.deepStrictEqual(text.split("\n"), [
      "WORKING    FOR     ATTEMPT  NOW          ACTIVE   TASK",
      "@engineer  12 min  2        exec, 3 min  5 s ago  kd7abcd1 Fix the login on phones, whic…",
      "@qa        12 min  2        model, 40 s  5 s ago  kd7abcd1 Fix the login on phones, whic…",
      "@lead      12 min  2        seems stuck  5 s ago  kd7abcd1 Fix the login on phones, whic…",
      "@ops       12 min  1        -            -        heartbeat",
      "@engineer  12 min  2        stopping     5 s ago  kd7abcd1 Fix the login on phones, whic…"
    ])
  })

  it("keeps to one line, however long and odd a tool's name is", () => {
    const text = turnTable([{ ...turn, progress: { ...progress, tool: `a\nb${"x".repeat(100)}` } }], now)
    assert.lengthOf(text.split("\n"), 2)
    assert.include(text, "a bxxxxxxxxxxxxxxxx…, 3 min")
  })

  it("is a sentence without turns", () => {
    assert.strictEqual(turnTable([], now), "No agent is working.")
  })
})

describe("the lines of a task's turns", () => {
  it("show the same, one line each", () => {
    assert.deepStrictEqual(turnLines([model, { ...turn, progress: null }, { ...turn, state: "stopping" }], now), [
      "working     @qa for 12 min; attempt 2; model, 40 s; active 5 s ago",
      "working     @engineer for 12 min; attempt 2",
      "working     @engineer for 12 min; attempt 2; stopping"
    ])
  })
})

describe("running turns", () => {
  it("are reported once the progress of each is known, except of those that are being stopped", () => {
    assert.isTrue(isReported([]))
    assert.isTrue(isReported([turn, { ...turn, state: "stopping", progress: null }]))
    assert.isFalse(isReported([turn, { ...turn, progress: null }]))
  })
})
