import type { ChatMessage, ChatReply, ChatRequest, ChatToolCall } from "../model/chat.ts"
import type { Workspace } from "./config.ts"
import type { Provider } from "./provider.ts"
import type { Release } from "./release.ts"
import type { ClientTool } from "./requestBody.ts"
import type { RunEvents } from "./runEvents.ts"
import type { Session } from "./sessions.ts"
import { dispatchCall, offeredTools, readArguments } from "./toolCalls.ts"
import { internalError, type PendingCall, silentEnd, type TurnEnd } from "./turnEnd.ts"
import { workspacePrompt } from "./workspace.ts"

/** The input of one run. */
export interface Turn {
  readonly session: Session
  readonly text: string
  /** The text in the transcript, if it differs. */
  readonly remembered: string
  /** The request's instructions and system items. */
  readonly instructions: string
  readonly workspace: Workspace | undefined
  readonly tools: ReadonlyArray<ClientTool>
  /** Whether client tools are hidden behind Tool Search. */
  readonly toolSearch: boolean
  readonly maxTokens: number | undefined
  readonly release: Release
  readonly signal: AbortSignal
  readonly events: RunEvents
  /** Called after each change of the transcript. */
  readonly onSaved: () => void
}

/** Number of model calls after which the gateway ends a run that does not end on its own. */
const maxModelCalls = 25
const silenceText =
  "The previous attempt did not produce a user-visible answer. Continue from the current state and produce the visible answer now. Do not restart from scratch."
const silenceAfterTools =
  "The previous assistant turn completed its tool calls but did not produce a user-visible answer. Continue from the current transcript and produce the final user-visible answer now. Do not repeat completed tool calls or restart from scratch. Tools are unavailable in this step: it is a text-only pass, so reply with plain text and do not attempt any tool call. If a tool failed, say so; never claim completion or success."
const continueText =
  "Continue the current task from the existing transcript, preserving completed work. If an action was interrupted, inspect its state before deciding whether to retry it. Do not restart the task or repeat completed actions."
const abandonedNote =
  "[Queued user message from a previous active turn; preserved as context only. Continue with the active prompt below.]"
const abortedNote =
  "<turn_aborted>\nThe previous turn was interrupted. Any running background processes may still be active. If any tools or commands were aborted, they may have partially executed.\n</turn_aborted>"

/**
 * Runs the model until it answers with text or with calls for the caller. Rejects with TurnFailed, or with the signal's
 * reason if aborted.
 */
export const runTurn = (provider: Provider, turn: Turn): Promise<TurnEnd> => new Run(provider, turn).run()

class Run {
  readonly #provider: Provider
  readonly #turn: Turn
  readonly #session: Session
  /** Index of this run's user message in the transcript. */
  readonly #at: number
  readonly #pending: Array<PendingCall> = []
  readonly #failedTools = new Set<string>()
  /** Messages of this run that later runs do not see. */
  #prompted: ReadonlyArray<ChatMessage> = []
  readonly #system: ChatMessage
  #textOnly = false
  #silences = 0
  #usage = { input: 0, output: 0 }

  constructor(provider: Provider, turn: Turn) {
    this.#provider = provider
    this.#turn = turn
    this.#session = turn.session
    this.#at = turn.session.messages.length
    this.#system = this.#systemPrompt()
  }

  async run(): Promise<TurnEnd> {
    const { messages } = this.#session
    const abandoned = this.#session.abandoned
    this.#session.abandoned = undefined
    messages.push(this.#userMessage(this.#turn.text, abandoned))
    let left = false
    try {
      return await this.#answer()
    } catch (error) {
      left = this.#turn.signal.aborted && this.#leave()
      throw error
    } finally {
      if (!left) messages[this.#at] = this.#userMessage(this.#turn.remembered)
      this.#forgetUnknownTools()
    }
  }

  /** Stores the text of an aborted turn. Returns true if it is no longer in the transcript. */
  #leave(): boolean {
    const { session, release, text } = this.#turn
    if (release.abandonedTurns === "kept") {
      session.messages.push({ role: "user", content: `${timestamp()} ${abortedNote}` })
      return false
    }
    if (session.messages.length > this.#at + 1) return false
    session.messages.pop()
    session.abandoned = text
    return true
  }

  async #answer(): Promise<TurnEnd> {
    const { release, signal } = this.#turn
    let malformed = 0
    for (let call = 0; call < maxModelCalls; call++) {
      this.#session.running = this.#turn.text
      this.#turn.onSaved()
      const reply = await this.#provider.complete((attempt, overloaded) => this.#request(attempt, overloaded), signal)
      signal.throwIfAborted()
      this.#turn.events.replied(reply)
      this.#session.lastCallTokens = reply.usage.prompt_tokens
      this.#usage.input += reply.usage.prompt_tokens
      this.#usage.output += reply.usage.completion_tokens
      if (reply.toolCalls.length > 0 && !this.#textOnly) {
        if (reply.finish === "length") throw internalError()
        if (reply.toolCalls.some((toolCall) => readArguments(toolCall) === undefined)) {
          malformed += 1
          if (malformed > release.malformedRetries) throw internalError()
          continue
        }
        if (this.#takeCalls(reply.text, reply.toolCalls)) return this.#calls(this.#warning() ?? "")
        continue
      }
      const end = this.#takeText(reply)
      if (end !== undefined) return end
    }
    throw internalError()
  }

  /** Answers each call in the transcript. Returns true if all of them went to the caller. */
  #takeCalls(text: string, toolCalls: ReadonlyArray<ChatToolCall>): boolean {
    const { messages } = this.#session
    const answered: Array<ChatToolCall> = []
    const results: Array<ChatMessage> = []
    let allDelegated = true
    for (const toolCall of toolCalls) {
      const { name } = toolCall.function
      const outcome = dispatchCall(this.#turn, name, readArguments(toolCall))
      if (!outcome.unknown) this.#turn.events.tool(toolCall)
      if (outcome.pending !== undefined) this.#pending.push(outcome.pending)
      else allDelegated = false
      if (outcome.failed) this.#failedTools.add(name)
      if (outcome.unknown && !this.#turn.release.showsUnknownTools) continue
      answered.push(toolCall)
      results.push({ role: "tool", tool_call_id: toolCall.id, content: outcome.result })
    }
    if (answered.length > 0) {
      messages.push({ role: "assistant", content: text === "" ? null : text, tool_calls: answered }, ...results)
    }
    return allDelegated
  }

  /** The end of the run after a text or a silence, or undefined if the gateway calls the model again. */
  #takeText(reply: ChatReply): TurnEnd | undefined {
    const { release } = this.#turn
    const text = reply.toolCalls.length > 0 ? "" : visibleText(reply.text)
    if (!isSilence(text)) {
      this.#session.messages.push({ role: "assistant", content: reply.text })
      if (this.#pending.length > 0) return this.#calls(text)
      const truncated = reply.finish === "length"
      return this.#text(text, truncated)
    }
    const warning = this.#warning()
    if (this.#pending.length > 0) return this.#calls(warning ?? "")
    const afterTools = this.#failedTools.size > 0 || this.#session.messages.length > this.#at + 1
    if (afterTools && this.#silences < release.textOnlyPasses) {
      this.#silences += 1
      this.#textOnly = true
      this.#prompted = [{ role: "user", content: silenceAfterTools }]
      return undefined
    }
    if (warning !== undefined) return this.#text(warning)
    if (text !== "" && release.noReply === "placeholder") {
      this.#session.messages.push({ role: "assistant", content: reply.text })
      return this.#text("No response from OpenClaw.")
    }
    if (this.#silences > 0) throw internalError(silentEnd)
    this.#silences += 1
    this.#prompted = [{ role: "user", content: `${timestamp()} ${silenceText}` }]
    return undefined
  }

  #text(text: string, truncated = false): TurnEnd {
    const status = truncated && this.#turn.release.reportsTruncation ? "incomplete" : "completed"
    return { kind: "text", text, truncated, status, usage: this.#usage }
  }

  #calls(commentary: string): TurnEnd {
    return { kind: "calls", calls: this.#pending, commentary, usage: this.#usage }
  }

  /** The gateway's own warning, if a tool failed and no later call of it in the same run succeeded. */
  #warning(): string | undefined {
    const failed = [...this.#failedTools].findLast((name) => !this.#pending.some((call) => call.name === name))
    if (failed === undefined) return undefined
    const title = failed.replaceAll(/[_.-]+/g, " ").replaceAll(/\b[a-z]/g, (letter) => letter.toUpperCase())
    return `${this.#turn.release.warningSign} ${title} blocked`
  }

  #request(attempt: number, overloaded: boolean): ChatRequest {
    const { session, release, text, maxTokens } = this.#turn
    const alone = session.messages.length === this.#at + 1
    if (attempt > 0 && alone) {
      if (release.notesRetries) session.messages[this.#at] = this.#userMessage(continueText, text)
      else if (overloaded) this.#prompted = [this.#userMessage(text)]
    }
    const tools = this.#textOnly ? [] : offeredTools(this.#turn)
    return {
      model: "fake-1",
      messages: [this.#system, ...session.messages, ...this.#prompted],
      ...(tools.length > 0 ? { tools } : {}),
      max_completion_tokens: maxTokens ?? 4096
    }
  }

  #systemPrompt(): ChatMessage {
    const { session, instructions, release, workspace } = this.#turn
    const parts = [`You are the agent ${session.agent}, running inside OpenClaw (scripted ${release.version}).`]
    const own = workspace === undefined ? "" : workspacePrompt(workspace.folder, workspace.skills)
    if (own !== "") parts.push(own)
    if (instructions !== "") parts.push(`## Conversation Context\n${instructions}`)
    if (release.runtimeLine === "system") parts.push(`## Runtime\n${this.#runtimeLine()}`)
    return { role: "system", content: parts.join("\n") }
  }

  #userMessage(text: string, before?: string): ChatMessage {
    const whole = before === undefined ? text : `${abandonedNote}\n${before}\n\n${text}`
    const runtime = this.#at === 0 && this.#turn.release.runtimeLine === "user" ? `\n\n${this.#runtimeLine()}` : ""
    return { role: "user", content: `${timestamp()} ${whole}${runtime}` }
  }

  #runtimeLine(): string {
    const { agent, key, id } = this.#session
    return `Runtime: agent=${agent} | session=${key} | sessionId=${id} | channel=webchat`
  }

  /** A call of a tool that does not exist stays in the transcript only during its run. */
  #forgetUnknownTools(): void {
    const { messages } = this.#session
    const own = messages.slice(this.#at)
    const unknown = new Set(
      own.flatMap((message) =>
        (message.tool_calls ?? [])
          .filter((call) => dispatchCall(this.#turn, call.function.name, readArguments(call)).unknown)
          .map((call) => call.id)
      )
    )
    if (unknown.size === 0) return
    const kept: Array<ChatMessage> = []
    for (const message of own) {
      if (message.tool_calls === undefined) {
        if (!unknown.has(message.tool_call_id ?? "")) kept.push(message)
        continue
      }
      const calls = message.tool_calls.filter((call) => !unknown.has(call.id))
      if (calls.length > 0) kept.push({ ...message, tool_calls: calls })
      else if (typeof message.content === "string") kept.push({ role: "assistant", content: message.content })
    }
    messages.splice(this.#at, own.length, ...kept)
  }
}

/** The forms that the gateway treats as NO_REPLY: any case, repeated, in punctuation, as a JSON string or an action. */
const isSilence = (text: string): boolean => {
  if (text === "") return true
  if (text.length > 200 || !/no_reply/i.test(text)) return false
  const bare = text.replaceAll(/^[\p{P}\s]+|[\p{P}\s]+$/gu, "")
  return /^no_reply(?:\s+no_reply)*$/i.test(bare) || /^\{\s*"action"\s*:\s*"\s*NO_REPLY\s*"\s*\}$/.test(text)
}

/** Removes what the gateway never shows: thinking, reply tags and media lines. */
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
