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
/** Replies with unreadable tool arguments that are asked for again, with the same prompt. */
const maxMalformed = 3
const silenceText =
  "The previous attempt did not produce a user-visible answer. Continue from the current state and produce the visible answer now. Do not restart from scratch."
const silenceAfterTools =
  "The previous assistant turn completed its tool calls but did not produce a user-visible answer. Continue from the current transcript and produce the final user-visible answer now. Do not repeat completed tool calls or restart from scratch. Tools are unavailable in this step: it is a text-only pass, so reply with plain text and do not attempt any tool call. If a tool failed, say so; never claim completion or success."
const continueText =
  "Continue the current task from the existing transcript, preserving completed work. If an action was interrupted, inspect its state before deciding whether to retry it. Do not restart the task or repeat completed actions."
const abandonedNote =
  "[Queued user message from a previous active turn; preserved as context only. Continue with the active prompt below.]"

/** Runs the model until it answers with text or with calls for the caller; rejects with TurnFailed, or the signal's reason when aborted. */
export const runTurn = async (provider: Provider, turn: Turn): Promise<TurnEnd> => {
  const { session } = turn
  const at = session.messages.length
  const abandoned = session.abandoned
  session.abandoned = undefined
  session.messages.push(userMessage(turn, abandoned))
  try {
    return await answer(provider, turn, at)
  } catch (error) {
    // A turn broken off before the model said anything leaves only its text, which the next turn is told once.
    if (turn.signal.aborted && session.messages.length === at + 1) {
      session.messages.pop()
      session.abandoned = turn.text
    }
    throw error
  } finally {
    if (session.messages.length > at) session.messages[at] = userMessage(turn, undefined, at === 0)
    forgetUnknownTools(turn, at)
  }
}

const answer = async (provider: Provider, turn: Turn, at: number): Promise<TurnEnd> => {
  const { session, signal } = turn
  const usage = { input: 0, output: 0 }
  const pending: Array<PendingCall> = []
  const system = systemPrompt(turn)
  let offered = offeredTools(turn)
  let reprompt: ReadonlyArray<ChatMessage> = []
  let silences = 0
  let malformed = 0
  for (let call = 0; call < maxModelCalls; call++) {
    session.running = turn.text
    turn.onSaved()
    const request = (attempt: number): ChatRequest => {
      if (attempt > 0 && session.messages.length === at + 1) {
        session.messages[at] = userMessage({ ...turn, text: continueText }, turn.text, at === 0)
      }
      return modelRequest([system, ...session.messages, ...reprompt], offered, turn)
    }
    const reply = await provider.complete(request, signal)
    signal.throwIfAborted()
    usage.input += reply.usage.prompt_tokens
    usage.output += reply.usage.completion_tokens
    if (reply.toolCalls.length > 0) {
      if (reply.finish === "length") throw internalError()
      if (reply.toolCalls.some((toolCall) => parseArguments(toolCall) === undefined)) {
        malformed += 1
        if (malformed > maxMalformed) throw internalError()
        continue
      }
      const allDelegated = takeCalls(turn, reply.text, reply.toolCalls, pending)
      if (allDelegated) return { kind: "calls", calls: pending, commentary: "", usage }
      continue
    }
    const text = visibleText(reply.text)
    if (isSilence(text)) {
      if (pending.length > 0) return { kind: "calls", calls: pending, commentary: "", usage }
      if (text !== "" && turn.release.noReply === "placeholder") {
        session.messages.push({ role: "assistant", content: reply.text })
        return { kind: "text", text: "No response from OpenClaw.", truncated: false, usage }
      }
      silences += 1
      if (silences > 1) throw internalError()
      const afterTools = session.messages.length > at + 1
      reprompt = [{ role: "user", content: afterTools ? silenceAfterTools : `${timestamp()} ${silenceText}` }]
      if (afterTools) offered = []
      continue
    }
    session.messages.push({ role: "assistant", content: reply.text })
    if (pending.length > 0) return { kind: "calls", calls: pending, commentary: text, usage }
    return { kind: "text", text, truncated: reply.finish === "length", usage }
  }
  throw internalError()
}

/** A call of a tool that does not exist stays in the transcript only while its run lasts. */
const forgetUnknownTools = (turn: Turn, from: number): void => {
  const { session } = turn
  const known = new Set([...turn.tools.map((tool) => tool.name), ...searchTools.map((tool) => tool.function.name)])
  const forgotten = new Set<string>()
  const kept: Array<ChatMessage> = []
  for (const message of session.messages.slice(from)) {
    if (message.tool_calls === undefined) {
      if (!forgotten.has(message.tool_call_id ?? "")) kept.push(message)
      continue
    }
    const calls = message.tool_calls.filter((call) => known.has(call.function.name))
    for (const call of message.tool_calls) if (!calls.includes(call)) forgotten.add(call.id)
    if (calls.length > 0) kept.push({ ...message, tool_calls: calls })
    else if (typeof message.content === "string") kept.push({ role: "assistant", content: message.content })
  }
  if (forgotten.size > 0) session.messages.splice(from, session.messages.length - from, ...kept)
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

const parseArguments = (toolCall: ChatToolCall): object | undefined => {
  try {
    const parsed: unknown = JSON.parse(toolCall.function.arguments)
    return typeof parsed === "object" && parsed !== null && !Array.isArray(parsed) ? parsed : undefined
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

const userMessage = (
  turn: Turn,
  before: string | undefined,
  first = turn.session.messages.length === 0
): ChatMessage => {
  const { session } = turn
  const text = before === undefined ? turn.text : `${abandonedNote}\n${before}\n\n${turn.text}`
  const runtime = `\n\nRuntime: agent=${session.agent} | session=${session.key} | sessionId=${session.id} | channel=webchat`
  return { role: "user", content: `${timestamp()} ${text}${first ? runtime : ""}` }
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

/** NO_REPLY in the forms that the gateway takes for it: any case, repeated, in punctuation, as a JSON string or an action. */
const isSilence = (text: string): boolean => {
  if (text === "") return true
  if (text.length > 200 || !/no_reply/i.test(text)) return false
  const bare = text.replaceAll(/^[\p{P}\s]+|[\p{P}\s]+$/gu, "")
  return /^no_reply(?:\s+no_reply)*$/i.test(bare) || /^\{\s*"action"\s*:\s*"\s*NO_REPLY\s*"\s*\}$/.test(text)
}

/** Strips what the gateway never shows: thinking, reply tags and media lines. */
const visibleText = (text: string): string => {
  if (!/<think>|\[\[|MEDIA:/.test(text)) return text.trim()
  return text
    .replaceAll(/<think>[\s\S]*?<\/think>/g, "")
    .replaceAll(/\[\[reply_to_current\]\]/g, "")
    .split("\n")
    .filter((line) => !line.startsWith("MEDIA:"))
    .map((line) => line.trimEnd())
    .join("\n")
    .trim()
}

const weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]

const timestamp = (): string => {
  const now = new Date()
  return `[${weekdays[now.getUTCDay()]} ${now.toISOString().slice(0, 16).replace("T", " ")} UTC]`
}
