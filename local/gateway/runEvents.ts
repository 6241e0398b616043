import { randomUUID } from "node:crypto"
import type { ChatReply, ChatToolCall } from "../model/chat.ts"
import type { Release } from "./release.ts"
import { type RunEndEvent, type TurnEnd, TurnFailed } from "./turnEnd.ts"

/** Sends an event of a session to the clients that follow it. */
export type Emit = (sessionKey: string, event: string, payload: object) => void

const model = { provider: "fake", model: "fake-1" }

/** The events of one run, in the form of the release. */
export class RunEvents {
  readonly #emit: Emit
  readonly #release: Release
  readonly #run: { readonly runId: string; readonly sessionKey: string; readonly agentId: string }
  readonly #startedAt = Date.now()
  #seq = 0

  constructor(emit: Emit, release: Release, run: { runId: string; sessionKey: string; agentId: string }) {
    this.#emit = emit
    this.#release = release
    this.#run = run
  }

  started(): void {
    this.#agent("lifecycle", { phase: "start", startedAt: this.#startedAt })
  }

  /** A model call ended with this reply. */
  replied({ finish, text, toolCalls, usage }: ChatReply): void {
    if (toolCalls.length === 0 && text !== "") this.#agent("assistant", { text, delta: text })
    if (toolCalls.length > 0 && text !== "") {
      this.#agent("item", { kind: "preamble", title: "Preamble", phase: "update", progressText: text })
    }
    this.#emit(this.#run.sessionKey, "session.message", {
      sessionKey: this.#run.sessionKey,
      agentId: this.#run.agentId,
      message: {
        role: "assistant",
        content: [{ type: "text", text }],
        api: "openai-completions",
        ...model,
        usage: {
          input: usage.prompt_tokens,
          output: usage.completion_tokens,
          totalTokens: usage.prompt_tokens + usage.completion_tokens,
          cacheRead: 0,
          cacheWrite: 0
        },
        stopReason: toolCalls.length > 0 ? "toolUse" : finish,
        __openclaw: { runId: this.#run.runId, id: randomUUID() }
      }
    })
  }

  /** A tool ran, the caller's tools included: the gateway reports them as delegated at once. */
  tool({ id, function: { name } }: ChatToolCall): void {
    const item = { itemId: `tool:${id}`, toolCallId: id, name, kind: "tool", title: name, startedAt: Date.now() }
    this.#agent("item", { ...item, phase: "start", status: "running" })
    this.#agent("item", { ...item, phase: "end", status: "completed", endedAt: Date.now() })
  }

  ended({ kind }: TurnEnd): void {
    this.#end({ phase: "end", aborted: false, stopReason: kind === "calls" ? "tool_calls" : "stop" }, true)
  }

  /** The run failed, or its caller closed the request. */
  failed(error: unknown): void {
    if (error instanceof TurnFailed) return this.#end({ phase: "error", error: error.message, ...error.event }, false)
    const closed = { aborted: true, stopReason: "aborted" }
    if (this.#release.explainsEnds) this.#end({ phase: "error", error: "HTTP client disconnected", ...closed }, false)
    else this.#end({ phase: "end", livenessState: "blocked", ...closed }, false)
  }

  #end(data: RunEndEvent & { readonly phase: "end" | "error" }, isAnswered: boolean): void {
    const receipt = { requested: model, effective: { ...model, responseModel: model.model }, rerouted: false }
    this.#agent("lifecycle", {
      startedAt: this.#startedAt,
      endedAt: Date.now(),
      ...data,
      ...(this.#release.explainsEnds ? { executionSettled: true } : {}),
      ...(isAnswered ? { terminalReceipt: receipt } : {})
    })
  }

  #agent(stream: string, data: object): void {
    this.#seq += 1
    this.#emit(this.#run.sessionKey, "agent", { ...this.#run, stream, data, seq: this.#seq, ts: Date.now() })
  }
}
