import { assert, describe, it } from "@effect/vitest"
import { noUsage } from "../../../src/domain/delivery/Run.ts"
import type { GatewayEvent } from "../../../src/domain/gateway/GatewayEvent.ts"
import { afterEvent, turnStarted } from "../../../src/domain/observability/LiveTurn.ts"

const after = (...events: ReadonlyArray<GatewayEvent>) =>
  events.reduce((turn, event, index) => afterEvent(turn, event, 100 + index), turnStarted("agent:alpha:one", 99))

describe("a running turn", () => {
  it("shows the tool that runs, and none after its end", () => {
    const started: GatewayEvent = { _tag: "ToolStarted", callId: "c1", tool: "exec" }
    assert.deepStrictEqual(after({ _tag: "RunStarted" }, started).tools, [
      { callId: "c1", name: "exec", startedAt: 101 }
    ])
    assert.isEmpty(after(started, { _tag: "ToolEnded", callId: "c1" }).tools)
    assert.isEmpty(after(started, { _tag: "RunEnded", cause: { _tag: "Stopped" }, model: null }).tools)
  })

  it("shows another tool that still runs after the end of a later one", () => {
    const turn = after(
      { _tag: "ToolStarted", callId: "c1", tool: "exec" },
      { _tag: "ToolStarted", callId: "c2", tool: "read" },
      { _tag: "ToolEnded", callId: "c2" }
    )
    assert.deepStrictEqual(turn.tools, [{ callId: "c1", name: "exec", startedAt: 100 }])
  })

  it("keeps the length and the last line of the text, however long it is", () => {
    const turn = after({ _tag: "TextGrew", text: `${"a".repeat(5_000)}\nlast line\n` })
    assert.strictEqual(turn.textLength, 5_011)
    assert.strictEqual(turn.lastLine, "last line")
    assert.isAtMost(after({ _tag: "TextGrew", text: "a".repeat(5_000) }).lastLine.length, 200)
  })

  it("adds the tokens of its model calls, and names the model of the last one", () => {
    const usage = { ...noUsage, inputTokens: 10, outputTokens: 2 }
    const turn = after(
      { _tag: "ModelCalled", usage, model: "fake/one", hasTools: true },
      { _tag: "ModelCalled", usage, model: "fake/two", hasTools: false },
      { _tag: "RunEnded", cause: { _tag: "Completed" }, model: null }
    )
    assert.deepInclude(turn, { modelCalls: 2, model: "fake/two", lastEventAt: 102 })
    assert.deepStrictEqual(turn.usage, { ...noUsage, inputTokens: 20, outputTokens: 4 })
  })
})
