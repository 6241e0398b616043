import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"
import { readRunEvent } from "../../../src/domain/gateway/GatewayEvent.ts"
import type { GatewayEvent, RunCause } from "../../../src/domain/gateway/GatewayEvent.ts"

const runId = "resp_4616ba90"
const sessionKey = "agent:alpha:one"

const read = (event: string, payload: unknown) => Option.getOrNull(readRunEvent({ event, payload }))
const readAgent = (stream: string, data: unknown): GatewayEvent | null =>
  read("agent", { runId, sessionKey, agentId: "alpha", stream, data, seq: 1, ts: 1 })?.event ?? null

const receipt = {
  requested: { provider: "fake", model: "fake-1" },
  effective: { provider: "fake", model: "fake-2", responseModel: "fake-2" },
  rerouted: true
}
const overflow =
  "Context overflow: prompt too large for the model. Try /reset (or /new) to start a fresh session, or use a larger-context model."
const cooldown =
  'Inline API key for provider "fake" is temporarily disabled after a provider auth/billing failure. Retry after about 1 minute, or switch to a different auth profile/API key.'
const noAnswer = "⚠️ Agent couldn't generate a response. Please try again."

/** The ends of runs, as both releases sent them. */
const ends: ReadonlyArray<readonly [string, object, RunCause["_tag"]]> = [
  ["an answer", { phase: "end", aborted: false, stopReason: "stop", livenessState: "working" }, "Completed"],
  [
    "a call of a tool",
    { phase: "end", aborted: false, stopReason: "tool_calls", replayInvalid: true, livenessState: "working" },
    "Completed"
  ],
  [
    "a silence",
    { phase: "error", aborted: false, replayInvalid: true, livenessState: "abandoned", error: noAnswer },
    "Silent"
  ],
  [
    "a person's stop (2026.9.6)",
    { phase: "error", error: "agent run aborted", aborted: true, stopReason: "aborted", executionSettled: true },
    "Stopped"
  ],
  [
    "a closed request (2026.9.6)",
    { phase: "error", error: "HTTP client disconnected", aborted: true, stopReason: "aborted", executionSettled: true },
    "Disconnected"
  ],
  [
    "a closed request (2026.8.2)",
    { phase: "end", aborted: true, stopReason: "aborted", livenessState: "blocked" },
    "Unexplained"
  ],
  ["a person's stop (2026.8.2)", { phase: "error", error: "This operation was aborted" }, "Unexplained"],
  ["a restart of the gateway", { phase: "end", aborted: true, stopReason: "restart" }, "Recovering"],
  [
    "a session that is too long (2026.9.6)",
    { phase: "error", aborted: false, error: "too large", errorObservation: { failoverReason: "context_overflow" } },
    "ContextOverflow"
  ],
  ["a session that is too long (2026.8.2)", { phase: "error", aborted: false, error: overflow }, "ContextOverflow"],
  [
    "a refused key",
    { phase: "error", error: "HTTP 401", errorObservation: { failoverReason: "auth" } },
    "ProviderFailed"
  ],
  ["a provider's cooldown", { phase: "error", error: cooldown }, "ProviderFailed"],
  [
    "a recovery of the session",
    { phase: "error", error: "SessionWorkStartChangedError: session changed. Retry." },
    "Recovering"
  ],
  ["an error without a reason", { phase: "error", error: "fetch failed" }, "Unexplained"]
]

describe("the end of a run", () => {
  it.each(ends)("by %s has the cause", (_, data, tag) => {
    const event = readAgent("lifecycle", { startedAt: 1, endedAt: 2, ...data })
    assert.strictEqual(event?._tag === "RunEnded" ? event.cause._tag : event?._tag, tag)
  })

  it("names the model that answered", () => {
    const event = readAgent("lifecycle", { phase: "end", terminalReceipt: receipt })
    assert.deepStrictEqual(event, { _tag: "RunEnded", cause: { _tag: "Completed" }, model: "fake/fake-2" })
  })

  it("is not reported while the gateway may still try again", () => {
    assert.isNull(readAgent("lifecycle", { phase: "error", error: "x", executionSettled: false }))
    assert.isNull(readAgent("lifecycle", { phase: "finishing", error: "x" }))
  })
})

describe("an event of a running turn", () => {
  it("names session and run", () => {
    const found = read("agent", { runId, sessionKey, stream: "lifecycle", data: { phase: "start", startedAt: 1 } })
    assert.deepStrictEqual(found, { sessionKey, runId, event: { _tag: "RunStarted" } })
  })

  it("reports the tools' starts and ends, and not the parts of a command", () => {
    const item = { itemId: "tool:c1", toolCallId: "c1", name: "exec", kind: "tool", title: "Exec", status: "running" }
    assert.deepStrictEqual(readAgent("item", { ...item, phase: "start" }), {
      _tag: "ToolStarted",
      callId: "c1",
      tool: "exec"
    })
    assert.isNull(readAgent("item", { ...item, phase: "update" }))
    assert.isNull(readAgent("item", { ...item, kind: "command", phase: "end" }))
    assert.deepStrictEqual(readAgent("item", { ...item, phase: "end" }), { _tag: "ToolEnded", callId: "c1" })
  })

  it("has the text so far, also the one before a tool call", () => {
    const expected = { _tag: "TextGrew", text: "Looking." } as const
    assert.deepStrictEqual(readAgent("assistant", { text: "Looking.", delta: "ing." }), expected)
    assert.deepStrictEqual(readAgent("item", { kind: "preamble", phase: "update", progressText: "Looking." }), expected)
  })

  it("has the usage of each model call, with the cached part of its input", () => {
    const message = {
      role: "assistant",
      content: [{ type: "text", text: "Hello" }],
      provider: "fake",
      model: "fake-1",
      usage: { input: 11, output: 22, totalTokens: 138, cacheRead: 100, cacheWrite: 5, cost: { total: 0 } },
      stopReason: "stop",
      __openclaw: { runId, id: "m1" }
    }
    assert.deepStrictEqual(read("session.message", { sessionKey, message, session: {} }), {
      sessionKey,
      runId,
      event: {
        _tag: "ModelCalled",
        usage: { inputTokens: 116, outputTokens: 22, cacheReadTokens: 100, cacheWriteTokens: 5 },
        model: "fake/fake-1",
        hasTools: false
      }
    })
    const withTools = read("session.message", { sessionKey, message: { ...message, stopReason: "toolUse" } })
    assert.deepInclude(withTools?.event, { _tag: "ModelCalled", hasTools: true })
    assert.isNull(read("session.message", { sessionKey, message: { role: "user", content: "hello" } }))
  })

  it("is ignored if its kind or form is unknown", () => {
    for (const payload of [undefined, null, 1, "x", [], {}, { runId, sessionKey, stream: 1 }]) {
      for (const event of ["agent", "session.message", "chat", "tick", "made.up"]) assert.isNull(read(event, payload))
    }
    for (const stream of ["lifecycle", "assistant", "item", "usage", "made_up"]) {
      for (const data of [undefined, null, {}, { phase: 1 }, { phase: "dreaming" }, "x"]) {
        assert.isNull(readAgent(stream, data))
      }
    }
  })
})
