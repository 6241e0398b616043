import { assert, describe, it } from "@effect/vitest"
import { noUsage } from "../../../src/domain/delivery/Run.ts"
import type { GatewayEvent } from "../../../src/domain/gateway/GatewayEvent.ts"
import type { SpeakingTurn } from "../../../src/domain/observability/LiveTurn.ts"
import { afterEvent, lastLineOf, turnStarted } from "../../../src/domain/observability/LiveTurn.ts"

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

  const lineOf = (turn: SpeakingTurn, secret = "never") =>
    lastLineOf(turn, (text) => text.replaceAll(secret, "<redacted>"))
  const called: GatewayEvent = { _tag: "ModelCalled", usage: noUsage, model: null, hasTools: false }

  it("keeps the length and the end of the text, however long it is", () => {
    const turn = after({ _tag: "TextGrew", text: `${"a ".repeat(5_000)}\nlast line\n` })
    assert.strictEqual(turn.textLength, 10_011)
    assert.isAtMost(turn.textEnd.length, 4_000)
    assert.strictEqual(lineOf(turn), "last line")
    assert.strictEqual(lineOf(after({ _tag: "TextGrew", text: "a ".repeat(5_000) })).length, 200)
    assert.strictEqual(lineOf(after({ _tag: "TextGrew", text: "全部の文章" })), "全部の文章")
  })

  it("shows no part of a secret: neither while it is being written, nor where the text is cut", () => {
    const secret = "s3cret".repeat(50)
    const text = `The token is ${secret}`
    for (let length = 13; length < text.length; length += 1) {
      assert.strictEqual(lineOf(after({ _tag: "TextGrew", text: text.slice(0, length) }), secret), "The token is")
    }
    assert.strictEqual(lineOf(after({ _tag: "TextGrew", text }, called), secret), "The token is <redacted>")
    const cut = `${text} ${"b".repeat(3_800)} end `
    assert.notInclude(lineOf(after({ _tag: "TextGrew", text: cut }), secret), "s3cret")
    assert.include(lineOf(after({ _tag: "TextGrew", text: cut }), secret), "end")
  })

  it("shows the last word once its model call has ended, and nothing of an earlier run", () => {
    assert.strictEqual(lineOf(after({ _tag: "TextGrew", text: "All done." })), "All")
    assert.strictEqual(lineOf(after({ _tag: "TextGrew", text: "All done." }, called)), "All done.")
    assert.strictEqual(lineOf(after({ _tag: "TextGrew", text: "All done." }, called, { _tag: "RunStarted" })), "")
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
