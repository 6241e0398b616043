import { randomUUID } from "node:crypto"
import type { ServerResponse } from "node:http"
import type { TurnEnd, TurnFailed, Usage } from "./turnEnd.ts"

/** The fields that all forms of one answer share. */
export interface ResponseIdentity {
  readonly id: string
  readonly createdAt: number
  /** The request's model, repeated. */
  readonly model: string
}

export const newIdentity = (model: string): ResponseIdentity => ({
  id: `resp_${randomUUID()}`,
  createdAt: Math.floor(Date.now() / 1000),
  model
})

const noUsage: Usage = { input: 0, output: 0 }

const resource = (
  identity: ResponseIdentity,
  status: string,
  output: ReadonlyArray<object>,
  usage: Usage,
  error?: { readonly code: string; readonly message: string }
) => ({
  id: identity.id,
  object: "response",
  created_at: identity.createdAt,
  status,
  model: identity.model,
  output,
  usage: {
    input_tokens: usage.input,
    input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
    output_tokens: usage.output,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: usage.input + usage.output
  },
  ...(error === undefined ? {} : { error }),
  ...(status === "incomplete" ? { incomplete_details: { reason: "max_output_tokens" } } : {})
})

const messageItem = (id: string, text: string, phase: string, status: string) => ({
  type: "message",
  id,
  role: "assistant",
  content: [{ type: "output_text", text }],
  phase,
  status
})

/** Added to a truncated reply, except in a stream. */
const truncationNote =
  "\n\n⚠️ Reply truncated at the model's output token limit. The text above is partial — ask to continue it."

const newMessageId = (): string => `msg_${randomUUID()}`

/** The Response object of a completed run. Its function calls have no status, unlike in a stream. */
export const completedResource = (identity: ResponseIdentity, end: TurnEnd): object => {
  if (end.kind === "text") {
    const { status } = end
    const text = end.truncated ? end.text + truncationNote : end.text
    return resource(identity, status, [messageItem(newMessageId(), text, "final_answer", status)], end.usage)
  }
  const output: Array<object> = []
  if (end.commentary !== "") output.push(messageItem(newMessageId(), end.commentary, "commentary", "completed"))
  for (const call of end.calls) {
    output.push({
      type: "function_call",
      id: `call_${randomUUID()}`,
      call_id: call.callId,
      name: call.name,
      arguments: call.arguments
    })
  }
  return resource(identity, "completed", output, end.usage)
}

/** The Response object of a failed run. */
export const failedResource = (identity: ResponseIdentity, failure: TurnFailed, usage: Usage = noUsage): object =>
  resource(identity, "failed", [], usage, { code: failure.code, message: failure.message })

/**
 * The server-sent events of one run: the preamble at once, the rest when the run has ended, and no keep-alive in
 * between.
 */
export class EventStream {
  readonly #response: ServerResponse
  readonly #identity: ResponseIdentity
  readonly #messageId = newMessageId()

  constructor(response: ServerResponse, identity: ResponseIdentity) {
    this.#response = response
    this.#identity = identity
  }

  open(): void {
    this.#response.writeHead(200, {
      "Content-Type": "text/event-stream; charset=utf-8",
      "Cache-Control": "no-cache",
      Connection: "keep-alive"
    })
    const started = resource(this.#identity, "in_progress", [], noUsage)
    this.#send({ type: "response.created", response: started })
    this.#send({ type: "response.in_progress", response: started })
    this.#send({
      type: "response.output_item.added",
      output_index: 0,
      item: { type: "message", id: this.#messageId, role: "assistant", content: [], status: "in_progress" }
    })
    this.#send({ type: "response.content_part.added", ...this.#place, part: { type: "output_text", text: "" } })
  }

  complete(end: TurnEnd): void {
    const text = end.kind === "text" ? end.text : end.commentary
    const status = end.kind === "text" ? end.status : "completed"
    const item = messageItem(this.#messageId, text, end.kind === "text" ? "final_answer" : "commentary", status)
    if (text !== "") this.#send({ type: "response.output_text.delta", ...this.#place, delta: text })
    this.#send({ type: "response.output_text.done", ...this.#place, text })
    this.#send({ type: "response.content_part.done", ...this.#place, part: { type: "output_text", text } })
    this.#send({ type: "response.output_item.done", output_index: 0, item })
    const output: Array<object> = [item]
    for (const call of end.kind === "calls" ? end.calls : []) {
      const functionCall = {
        type: "function_call",
        id: `call_${randomUUID()}`,
        call_id: call.callId,
        name: call.name,
        arguments: call.arguments
      }
      const done = { ...functionCall, status: "completed" }
      this.#send({ type: "response.output_item.added", output_index: output.length, item: functionCall })
      this.#send({ type: "response.output_item.done", output_index: output.length, item: done })
      output.push(done)
    }
    this.#send({ type: `response.${status}`, response: resource(this.#identity, status, output, end.usage) })
    this.#end()
  }

  fail(failure: TurnFailed, usage?: Usage): void {
    this.#send({ type: "response.failed", response: failedResource(this.#identity, failure, usage) })
    this.#end()
  }

  get #place() {
    return { item_id: this.#messageId, output_index: 0, content_index: 0 }
  }

  #send(event: { readonly type: string; readonly [key: string]: unknown }): void {
    this.#response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  }

  #end(): void {
    this.#response.end("data: [DONE]\n\n")
  }
}
