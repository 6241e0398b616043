/** The part of OpenAI's chat-completions format that the OpenClaw gateway sends and the scripted model reads. */

/** One message of the prompt. Content is a text or a list of parts, of which only the text parts count here. */
export interface ChatMessage {
  readonly role: "system" | "developer" | "user" | "assistant" | "tool"
  readonly content?: string | null | ReadonlyArray<{ readonly type: string; readonly text?: string }>
  readonly tool_calls?: ReadonlyArray<ChatToolCall>
  readonly tool_call_id?: string
}

/** A call as the model writes it: `arguments` is the raw JSON text, which may be malformed. */
export interface ChatToolCall {
  readonly id: string
  readonly type: "function"
  readonly function: { readonly name: string; readonly arguments: string }
}

/** A tool offered to the model. */
export interface ChatTool {
  readonly type: "function"
  readonly function: {
    readonly name: string
    readonly description?: string | undefined
    readonly parameters?: unknown
    readonly strict?: boolean | undefined
  }
}

export interface ChatRequest {
  readonly model: string
  readonly messages: ReadonlyArray<ChatMessage>
  readonly tools?: ReadonlyArray<ChatTool>
  readonly stream?: boolean
  readonly max_completion_tokens?: number
  readonly temperature?: number
  readonly top_p?: number
}

export interface ChatUsage {
  readonly prompt_tokens: number
  readonly completion_tokens: number
}

/** A complete answer of the model. */
export interface ChatReply {
  readonly text: string
  readonly toolCalls: ReadonlyArray<ChatToolCall>
  readonly finish: "stop" | "length" | "tool_calls"
  readonly usage: ChatUsage
}

/** Answers a prompt: the scripted model in the same process, or a provider over HTTP. Rejects with ProviderFailure. */
export interface ChatModel {
  complete(request: ChatRequest, signal: AbortSignal): Promise<ChatReply>
}

/** The provider refused or broke the connection; `status` is absent if the connection was dropped. */
export class ProviderFailure extends Error {
  readonly status: number | undefined
  readonly code: string | undefined
  constructor(status: number | undefined, message: string, code?: string) {
    super(message)
    this.name = "ProviderFailure"
    this.status = status
    this.code = code
  }
}

/** The plain text of a message, from either form of content. */
export const textOf = (message: ChatMessage): string => {
  if (typeof message.content === "string") return message.content
  if (!Array.isArray(message.content)) return ""
  return message.content.map((part) => part.text ?? "").join("\n")
}
