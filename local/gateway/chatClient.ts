import { Agent, request } from "node:http"
import { type ChatModel, type ChatReply, type ChatRequest, type ChatToolCall, ProviderFailure } from "../model/chat.ts"

/** An OpenAI-compatible provider over HTTP, called without streaming. */
export class ChatClient implements ChatModel {
  readonly #url: URL
  readonly #agent = new Agent({ keepAlive: true })

  /** `baseUrl` ends in `/v1`. */
  constructor(baseUrl: string) {
    this.#url = new URL(`${baseUrl.replace(/\/$/, "")}/chat/completions`)
  }

  async complete(chat: ChatRequest, signal: AbortSignal): Promise<ChatReply> {
    const { status, text } = await this.#post(JSON.stringify(chat), signal)
    if (status !== 200) throw failureOf(status, text)
    const answer = JSON.parse(text) as {
      readonly choices: ReadonlyArray<{
        readonly finish_reason: ChatReply["finish"]
        readonly message: { readonly content?: string | null; readonly tool_calls?: ReadonlyArray<ChatToolCall> }
      }>
      readonly usage?: ChatReply["usage"]
    }
    const choice = answer.choices[0]
    if (choice === undefined) throw new ProviderFailure(502, "the provider sent an answer without a choice")
    return {
      text: choice.message.content ?? "",
      toolCalls: choice.message.tool_calls ?? [],
      finish: choice.finish_reason,
      usage: answer.usage ?? { prompt_tokens: 0, completion_tokens: 0 }
    }
  }

  #post(body: string, signal: AbortSignal): Promise<{ readonly status: number; readonly text: string }> {
    return new Promise((resolve, reject) => {
      const fail = (error: Error) =>
        reject(signal.aborted ? signal.reason : new ProviderFailure(undefined, `connection lost: ${error.message}`))
      const outgoing = request(
        this.#url,
        {
          method: "POST",
          agent: this.#agent,
          signal,
          headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) }
        },
        (incoming) => {
          const chunks: Array<Buffer> = []
          incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
          incoming.on("error", fail)
          incoming.on("end", () =>
            resolve({ status: incoming.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") })
          )
        }
      )
      outgoing.on("error", fail)
      outgoing.end(body)
    })
  }
}

const failureOf = (status: number, text: string): ProviderFailure => {
  try {
    const { error } = JSON.parse(text) as { readonly error?: { readonly message?: string; readonly code?: string } }
    return new ProviderFailure(status, error?.message ?? text, error?.code)
  } catch {
    return new ProviderFailure(status, text)
  }
}
