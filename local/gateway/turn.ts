import { randomBytes } from "node:crypto"
import type { ChatMessage, ChatRequest, ChatTool, ChatToolCall } from "../model/chat.ts"
import type { Provider } from "./provider.ts"
import type { Release } from "./release.ts"
import type { ClientTool } from "./requestBody.ts"
import type { Session } from "./sessions.ts"
import { checkArguments } from "./toolArguments.ts"
import { internalError, type PendingCall, type TurnEnd } from "./turnEnd.ts"

/** What one run is given. */
export interface Turn {
  readonly session: Session
  readonly text: string
  /** The request's instructions and system items. */
  readonly instructions: string
  readonly tools: ReadonlyArray<ClientTool>
  /** Whether client tools hide behind Tool Search. */
  readonly toolSearch: boolean
  readonly maxTokens: number | undefined
  readonly release: Release
  readonly signal: AbortSignal
  /** Called whenever the transcript has changed. */
  readonly onSaved: () => void
}

/** Model calls after which a run that never ends by itself is given up. */
const maxModelCalls = 25
const truncationNote =
  "\n\n⚠️ Reply truncated at the model's output token limit. The text above is partial — ask to continue it."
const silenceText =
  "The previous attempt did not produce a user-visible answer. Continue from the current state and produce the visible answer now. Do not restart from scratch."
const abandonedNote =
  "[Queued user message from a previous active turn; preserved as context only. Continue with the active prompt below.]"

/** Runs the model until it answers with text or with calls for the caller; rejects with TurnFailed, or the signal's reason when aborted. */
export const runTurn = async (provider: Provider, turn: Turn): Promise<TurnEnd> => {
  const { session, signal } = turn
  const usage = { input: 0, output: 0 }
  const pending: Array<PendingCall> = []
  const said: Array<string> = []
  const offered = offeredTools(turn)
  const system = systemPrompt(turn)
  let silences = 0
  session.messages.push({ role: "user", content: userText(turn) })
  session.abandoned = []
  let reprompt: ReadonlyArray<ChatMessage> = []
  for (let call = 0; call < maxModelCalls; call++) {
    session.running = turn.text
    turn.onSaved()
    const reply = await provider.complete(
      modelRequest([system, ...session.messages, ...reprompt], offered, turn),
      signal
    )
    signal.throwIfAborted()
    usage.input += reply.usage.prompt_tokens
    usage.output += reply.usage.completion_tokens
    if (reply.toolCalls.length > 0) {
      if (reply.finish === "length") throw internalError()
      if (reply.toolCalls.some((toolCall) => parseArguments(toolCall) === undefined)) continue
      reprompt = []
      const allDelegated = takeCalls(turn, reply.text, reply.toolCalls, pending)
      if (allDelegated) return { kind: "calls", calls: pending, commentary: said.join("\n\n"), usage }
      if (pending.length === 0 || reply.text === "") continue
      continue
    }
    const text = visibleText(reply.text)
    if (isSilence(text)) {
      if (pending.length > 0) return { kind: "calls", calls: pending, commentary: said.join("\n\n"), usage }
      if (text !== "" && turn.release.noReply === "placeholder") {
        session.messages.push({ role: "assistant", content: reply.text })
        return { kind: "text", text: "No response from OpenClaw.", truncated: false, usage }
      }
      silences += 1
      if (silences > 1) throw internalError()
      reprompt = [{ role: "user", content: `${timestamp()} ${silenceText}` }]
      continue
    }
    session.messages.push({ role: "assistant", content: reply.text })
    if (pending.length > 0) {
      said.push(text)
      return { kind: "calls", calls: pending, commentary: said.join("\n\n"), usage }
    }
    const truncated = reply.finish === "length"
    return { kind: "text", text: truncated ? text + truncationNote : text, truncated, usage }
  }
  throw internalError()
}

/** Answers each call in the transcript; true when every one of them went to the caller. */
const takeCalls = (
  turn: Turn,
  text: string,
  toolCalls: ReadonlyArray<ChatToolCall>,
  pending: Array<PendingCall>
): boolean => {
  const { session } = turn
  session.messages.push({ role: "assistant", content: text === "" ? null : text, tool_calls: toolCalls })
  let allDelegated = true
  for (const toolCall of toolCalls) {
    const outcome = dispatch(turn, toolCall.function.name, parseArguments(toolCall))
    if ("pending" in outcome) pending.push(outcome.pending)
    else allDelegated = false
    session.messages.push({ role: "tool", tool_call_id: toolCall.id, content: outcome.result })
  }
  return allDelegated
}

type Outcome = { readonly result: string } | { readonly result: string; readonly pending: PendingCall }

const dispatch = (turn: Turn, name: string, args: unknown): Outcome => {
  if (!turn.toolSearch) return delegate(turn, name, args)
  const fields = (args ?? {}) as Readonly<Record<string, unknown>>
  const id = typeof fields["id"] === "string" ? fields["id"] : ""
  switch (name) {
    case "tool_search":
      return {
        result: JSON.stringify({
          results: turn.tools.map((tool) => ({ id: tool.name, description: tool.description ?? "" }))
        })
      }
    case "tool_describe": {
      const tool = turn.tools.find((each) => each.name === id)
      return {
        result: tool === undefined ? `Tool ${id} not found` : JSON.stringify({ id, parameters: tool.parameters })
      }
    }
    case "tool_call":
      return delegate(turn, id, fields["args"] ?? {})
    default:
      return { result: `Tool ${name} not found` }
  }
}

const delegate = (turn: Turn, name: string, args: unknown): Outcome => {
  const tool = turn.tools.find((each) => each.name === name)
  if (tool === undefined) return { result: `Tool ${name} not found` }
  const checked = checkArguments(name, tool.parameters, args)
  if ("refused" in checked) return { result: checked.refused }
  return {
    pending: { callId: newCallId(), name, arguments: JSON.stringify(checked.args) },
    result: JSON.stringify({ status: "pending", tool: name, message: "Tool execution delegated to client" }, null, 2)
  }
}

/** Nine hex characters, as the gateway mints them. */
const newCallId = (): string => randomBytes(5).toString("hex").slice(0, 9)

const parseArguments = (toolCall: ChatToolCall): unknown => {
  try {
    const parsed: unknown = JSON.parse(toolCall.function.arguments)
    return parsed ?? undefined
  } catch {
    return undefined
  }
}

const searchTools: ReadonlyArray<ChatTool> = [
  { name: "tool_search", parameters: { type: "object", properties: { query: { type: "string" } } } },
  { name: "tool_describe", parameters: { type: "object", properties: { id: { type: "string" } } } },
  {
    name: "tool_call",
    parameters: { type: "object", properties: { id: { type: "string" }, args: { type: "object" } } }
  }
].map((tool) => ({ type: "function" as const, function: tool }))

const offeredTools = (turn: Turn): ReadonlyArray<ChatTool> => {
  if (turn.tools.length === 0) return []
  if (turn.toolSearch) return searchTools
  const offered: Array<ChatTool> = []
  for (const { name, description, parameters } of turn.tools) {
    // A tool whose root is an array is dropped without a word; one without parameters is offered, and fails when it is called.
    if (parameters?.["type"] === "array") continue
    offered.push({
      type: "function",
      function: { name, description, parameters: { type: "object", properties: {}, ...parameters } }
    })
  }
  return offered
}

const systemPrompt = (turn: Turn): ChatMessage => {
  const identity = `You are the agent ${turn.session.agent}, running inside OpenClaw (scripted ${turn.release.version}).`
  const context = turn.instructions === "" ? "" : `\n## Conversation Context\n${turn.instructions}`
  return { role: "system", content: identity + context }
}

const userText = (turn: Turn): string => {
  const { session } = turn
  const before = session.abandoned.map((text) => `${abandonedNote}\n${text}\n\n`).join("")
  const text = `${timestamp()} ${before}${turn.text}`
  if (session.messages.some((message) => message.role === "user")) return text
  return `${text}\n\nRuntime: agent=${session.agent} | session=${session.key} | sessionId=${session.id} | channel=webchat`
}

const modelRequest = (
  messages: ReadonlyArray<ChatMessage>,
  tools: ReadonlyArray<ChatTool>,
  turn: Turn
): ChatRequest => ({
  model: "fake-1",
  messages,
  ...(tools.length > 0 ? { tools } : {}),
  max_completion_tokens: turn.maxTokens ?? 4096
})

const isSilence = (text: string): boolean => text === "" || text === "NO_REPLY"

/** Strips what the gateway never shows: thinking, reply tags and media lines. */
const visibleText = (text: string): string => {
  if (!/<think>|\[\[|MEDIA:/.test(text)) return text.trim()
  return text
    .replaceAll(/<think>[\s\S]*?<\/think>/g, "")
    .replaceAll(/\[\[reply_to_current\]\]/g, "")
    .split("\n")
    .filter((line) => !line.startsWith("MEDIA:"))
    .join("\n")
    .trim()
}

const weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]

const timestamp = (): string => {
  const now = new Date()
  return `[${weekdays[now.getUTCDay()]} ${now.toISOString().slice(0, 16).replace("T", " ")} UTC]`
}
