import { randomBytes } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { CANARY_TOOL, isCanarySession } from "../../src/domain/gateway/Canary.ts"
import { type ChatMessage, type ChatModel, type ChatReply, type ChatRequest, ProviderFailure, textOf } from "./chat.ts"
import type { Action, Match, Rule, Script } from "./script.ts"

/** A request to the model; `ended` is how the exchange ended. */
export interface ModelRequest {
  /** Running number, from 1. */
  readonly id: number
  /** The session in the prompt's Runtime line, or "" if the prompt has none. */
  readonly session: string
  readonly agent: string
  readonly messages: ReadonlyArray<ChatMessage>
  /** Names of the offered tools. */
  readonly tools: ReadonlyArray<string>
  readonly maxTokens: number | undefined
  readonly stream: boolean
  ended: "open" | "answered" | "failed" | "dropped" | "closed-early"
}

/** The action for a prompt, with its placeholders filled in. */
export interface Decision {
  readonly action: Action
  readonly request: ModelRequest
}

const canaryCall: Action = { toolCalls: [{ name: CANARY_TOOL, args: { word: "canary" } }] }
const usageOfReply = { input: 111, output: 22 }
const keptRequests = 250

/** A model provider that plays a script: the first rule that matches the prompt gives the answer. */
export class ScriptedModel implements ChatModel {
  readonly requests: Array<ModelRequest> = []
  #rules: Array<LiveRule> = []
  #fallback: Action = { text: "ok" }
  #count = 0

  constructor(script: Script = {}) {
    this.add(script)
  }

  /** Number of requests since the start or the last reset, including those that `requests` no longer has. */
  get count(): number {
    return this.#count
  }

  /** Adds rules after the existing ones, or replaces them with `replace`. */
  add(script: Script): void {
    const rules = (script.rules ?? []).map((rule) => new LiveRule(rule))
    this.#rules = script.replace === true ? rules : [...this.#rules, ...rules]
    if (script.fallback !== undefined) this.#fallback = script.fallback
  }

  /** Removes rules and fallback. */
  clearScript(): void {
    this.#rules = []
    this.#fallback = { text: "ok" }
  }

  /** Forgets the requests. */
  clearRequests(): void {
    this.requests.length = 0
    this.#count = 0
  }

  /**
   * Records the request and takes the next action of the first rule that matches it. A runtime's canary gets the
   * expected answer without the script and is not counted: its call if the tool is offered.
   */
  decide(request: ChatRequest): Decision {
    const isOffered = request.tools?.some((tool) => tool.function.name === CANARY_TOOL) === true
    const known = this.#rules.length > 0 || this.#count < keptRequests ? sessionOf(request.messages) : undefined
    const isCanary = isOffered || (known !== undefined && isCanarySession(known.session))
    if (!isCanary) this.#count += 1
    const session = known
    const record: ModelRequest = {
      id: this.#count,
      session: session?.session ?? "",
      agent: session?.agent ?? "",
      messages: request.messages,
      tools: (request.tools ?? []).map((tool) => tool.function.name),
      maxTokens: request.max_completion_tokens,
      stream: request.stream === true,
      ended: "open"
    }
    if (isCanary) return { action: isOffered ? canaryCall : { text: "There is no such tool." }, request: record }
    this.requests.push(record)
    if (this.requests.length > keptRequests * 2) this.requests.splice(0, keptRequests)
    return { action: this.#actionFor(request.messages, record.session), request: record }
  }

  async complete(request: ChatRequest, signal: AbortSignal): Promise<ChatReply> {
    const { action, request: record } = this.decide(request)
    const giveUp = () => {
      if (record.ended === "open") record.ended = "closed-early"
    }
    signal.addEventListener("abort", giveUp, { once: true })
    try {
      if (action.delayMs !== undefined) await sleep(action.delayMs, undefined, { signal })
      if (action.hang === true) await new Promise((_, reject) => rejectOnAbort(signal, reject))
      if (action.drop === true) {
        record.ended = "dropped"
        throw new ProviderFailure(undefined, "connection dropped")
      }
      if (action.status !== undefined) {
        record.ended = "failed"
        throw new ProviderFailure(action.status, messageOfError(action), codeOfError(action))
      }
      record.ended = "answered"
      return replyOf(action)
    } finally {
      signal.removeEventListener("abort", giveUp)
    }
  }

  #actionFor(messages: ReadonlyArray<ChatMessage>, session: string): Action {
    if (this.#rules.length === 0) return this.#fallback
    const spoken = messages.filter((message) => message.role !== "system" && message.role !== "developer")
    const recent = spoken.slice(-4).map(textOf).join("\n")
    const system = messages
      .filter((message) => message.role === "system" || message.role === "developer")
      .map(textOf)
      .join("\n")
    for (const rule of this.#rules) {
      if (!rule.matches(recent, system)) continue
      const action = rule.next(session)
      if (action === undefined) continue
      return rule.fill(action, () => messages.map(textOf).join("\n"))
    }
    return this.#fallback
  }
}

class LiveRule {
  readonly #rule: Rule
  readonly #match: (text: string) => boolean
  readonly #matchSystem: (text: string) => boolean
  readonly #played = new Map<string, number>()

  constructor(rule: Rule) {
    this.#rule = rule
    this.#match = matcher(rule.match)
    this.#matchSystem = matcher(rule.matchSystem)
  }

  matches(recent: string, system: string): boolean {
    return this.#match(recent) && this.#matchSystem(system)
  }

  next(session: string): Action | undefined {
    const counter = this.#rule.perSession === true ? session : ""
    const played = this.#played.get(counter) ?? 0
    const actions = this.#rule.actions
    if (this.#rule.repeat !== true && played >= actions.length * (this.#rule.times ?? 1)) return undefined
    this.#played.set(counter, played + 1)
    return actions[played % actions.length]
  }

  fill(action: Action, prompt: () => string): Action {
    const capture = this.#rule.capture
    if (capture === undefined) return action
    const text = prompt()
    const values = new Map<string, string>()
    for (const [name, regex] of Object.entries(capture)) {
      const last = [...text.matchAll(new RegExp(regex, "g"))].at(-1)
      if (last !== undefined) values.set(name, last[1] ?? last[0])
    }
    return fillIn(action, values) as Action
  }
}

const matcher = (match: Match | undefined): ((text: string) => boolean) => {
  if (match === undefined) return () => true
  if (typeof match === "string") return (text) => text.includes(match)
  const regex = new RegExp(match.regex, match.flags?.replaceAll(/[gy]/g, ""))
  return (text) => regex.test(text)
}

const fillIn = (value: unknown, values: ReadonlyMap<string, string>): unknown => {
  if (typeof value === "string") {
    return value.replaceAll(/\{\{(\w+)\}\}/g, (placeholder, name: string) => values.get(name) ?? placeholder)
  }
  if (Array.isArray(value)) return value.map((item) => fillIn(item, values))
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fillIn(item, values)]))
}

/**
 * The session and the agent in the Runtime line of a prompt. Its place differs by release: in the session's first user
 * text, or in the system prompt.
 */
export const sessionOf = (messages: ReadonlyArray<ChatMessage>): { session: string; agent: string } | undefined => {
  for (const message of messages) {
    if (message.role !== "user" && message.role !== "system") continue
    const line = /^Runtime: agent=([^|\s]+) \| session=([^|\s]+)/m.exec(textOf(message))
    if (line !== null) return { agent: line[1] ?? "", session: line[2] ?? "" }
  }
  return undefined
}

/** The answer of an action; only for actions that answer. */
export const replyOf = (action: Action): ChatReply => {
  const usage = action.usage ?? usageOfReply
  const toolCalls = (action.toolCalls ?? []).map((call) => ({
    id: `call_${randomBytes(6).toString("hex")}`,
    type: "function" as const,
    function: {
      name: call.name,
      arguments: typeof call.args === "string" ? call.args : JSON.stringify(call.args ?? {})
    }
  }))
  return {
    text: action.empty === true ? "" : (action.text ?? ""),
    toolCalls,
    finish: action.truncated === true ? "length" : toolCalls.length > 0 ? "tool_calls" : "stop",
    usage: { prompt_tokens: usage.input, completion_tokens: usage.output }
  }
}

/** The error body of a failing action: the script's, or the provider's form. */
export const errorBodyOf = (action: Action): unknown =>
  action.body ?? { error: { message: `scripted error ${action.status}`, type: "scripted_error" } }

const messageOfError = (action: Action): string => {
  const body = errorBodyOf(action) as { error?: { message?: unknown } } | string
  if (typeof body === "string") return body
  return typeof body.error?.message === "string" ? body.error.message : JSON.stringify(body)
}

const codeOfError = (action: Action): string | undefined => {
  const body = errorBodyOf(action) as { error?: { code?: unknown } } | string
  return typeof body === "object" && typeof body.error?.code === "string" ? body.error.code : undefined
}

const rejectOnAbort = (signal: AbortSignal, reject: (reason: unknown) => void): void => {
  if (signal.aborted) return reject(signal.reason)
  signal.addEventListener("abort", () => reject(signal.reason), { once: true })
}
