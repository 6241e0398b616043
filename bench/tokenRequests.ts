/** Requests as a model provider receives them: their content, what they share with the previous one, and their cost. */
import { textOf } from "../local/model/chat.ts"
import type { ChatMessage, ChatRequest } from "../local/model/chat.ts"
import type { Goal } from "./figure.ts"
import type { Row } from "./passes.ts"

const CHARACTERS_PER_TOKEN = 4
/** The price of a token relative to uncached input: read from the cache, and written to it at Anthropic. */
const CACHE_READ = 0.1
const CACHE_WRITE = { anthropic: 1.25, openai: 1 }
type Provider = keyof typeof CACHE_WRITE

const kinds = ["delivery", "tool round", "heartbeat"] as const
export type Kind = (typeof kinds)[number]

/** One request; lengths are in characters. */
export interface TokenRequest {
  readonly session: string
  readonly kind: Kind
  readonly text: string
  readonly tools: number
  readonly system: number
  /** The part of the system prompt that the runtime wrote. */
  readonly instructions: number
  /** The last user message, which this request adds. */
  readonly own: number
  /** The prefix that it shares with the session's previous request. */
  readonly shared: number
}

/** The messages without the note that the gateway adds after them and removes again. */
const lasting = ({ messages }: ChatRequest): ReadonlyArray<ChatMessage> =>
  messages.filter(
    (message) => message.role !== "user" || !textOf(message).startsWith("<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>")
  )

/** The part that this request adds to the history. */
export const ownText = (chat: ChatRequest): string => {
  const last = lasting(chat).findLast(({ role }) => role === "user")
  return last === undefined ? "" : textOf(last)
}

export const kindOf = (own: string): Kind =>
  own.includes('"tool":"') ? "tool round" : /\bheartbeat \S+, attempt /.test(own) ? "heartbeat" : "delivery"

const sharedPrefix = (left: string, right: string): number => {
  const most = Math.min(left.length, right.length)
  let at = 0
  while (at < most && left.charCodeAt(at) === right.charCodeAt(at)) at += 1
  return at
}

/** The gateway puts the instructions under this heading, before its own later sections. */
const instructionsIn = (system: string): string => {
  const [, rest = ""] = system.split("## Conversation Context\n")
  return rest.split(/\n(?=## )/, 1)[0] ?? ""
}

/** Collects requests in their order. */
export const makeRequestLog = () => {
  const previous = new Map<string, string>()
  const requests: Array<TokenRequest> = []
  return {
    requests,
    add: (session: string, chat: ChatRequest): void => {
      const tools = JSON.stringify(chat.tools ?? [])
      const system = chat.messages.filter(({ role }) => role === "system").map(textOf)
      const body = lasting(chat).map(
        (message) => `${message.role}: ${textOf(message)}${JSON.stringify(message.tool_calls ?? "")}`
      )
      const text = [tools, ...body].join("\n")
      const own = ownText(chat)
      requests.push({
        session,
        kind: kindOf(own),
        text,
        tools: tools.length,
        system: system.join("\n").length,
        instructions: instructionsIn(system.join("\n")).length,
        own: own.length,
        shared: sharedPrefix(previous.get(session) ?? "", text)
      })
      previous.set(session, text)
    }
  }
}

type Measure = (request: TokenRequest) => number

const total: Measure = ({ text }) => text.length
const isFirstOfTurn = ({ kind }: TokenRequest): boolean => kind !== "tool round"
const priced =
  (provider: Provider, cached: Measure): Measure =>
  (request) =>
    CACHE_READ * cached(request) + CACHE_WRITE[provider] * (request.text.length - cached(request))
/** The cache still has the session's previous request. */
const warm: Measure = ({ shared }) => shared
/** The cache has only what this turn has written to it. */
const cold: Measure = (request) => (isFirstOfTurn(request) ? 0 : request.shared)

const sum = (requests: ReadonlyArray<TokenRequest>, measure: Measure): number =>
  requests.reduce((tokens, request) => tokens + measure(request), 0) / CHARACTERS_PER_TOKEN

const share = (requests: ReadonlyArray<TokenRequest>): number => (100 * sum(requests, warm)) / sum(requests, total)

const columns: ReadonlyArray<readonly [string, Measure]> = [
  ["total", total],
  ["tools", ({ tools }) => tools],
  ["system", ({ system }) => system],
  ["of it ours", ({ instructions }) => instructions],
  ["history", ({ own, system, text, tools }) => text.length - tools - system - own],
  ["new", ({ own }) => own],
  ["warm, Anthropic", priced("anthropic", warm)],
  ["warm, OpenAI", priced("openai", warm)],
  ["cold, Anthropic", priced("anthropic", cold)],
  ["cold, OpenAI", priced("openai", cold)]
]

const rounded = (value: number): string => Math.round(value).toLocaleString("en-US")

/** The mean tokens of a request by its kind, as a Markdown table. */
export const tableOf = (requests: ReadonlyArray<TokenRequest>): string => {
  const header = ["request", "n", ...columns.map(([name]) => name), "shared"]
  const rows = kinds.map((kind) => {
    const of = requests.filter((request) => request.kind === kind)
    const means = columns.map(([, measure]) => rounded(sum(of, measure) / of.length))
    return [kind, String(of.length), ...means, `${share(of).toFixed(1)} %`]
  })
  return [header, header.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n")
}

/**
 * The average cost of a turn; tokens are characters / 4. `first` are the requests up to the end of the longest thread.
 */
export const rowsOf = (
  requests: ReadonlyArray<TokenRequest>,
  first: ReadonlyArray<TokenRequest>
): ReadonlyArray<Row> => {
  const row = (name: string, unit: string, sample: number, goal?: Goal): Row => ({
    name,
    unit,
    samples: [sample],
    ...(goal === undefined ? {} : { goal })
  })
  const turns = requests.filter(isFirstOfTurn).length
  const perTurn = (measure: Measure) => sum(requests, measure) / turns
  const deliveries = requests.filter(({ kind }) => kind === "delivery")
  const late = first.filter(({ kind }) => kind === "delivery").slice(-20)
  const heartbeats = requests.filter(({ kind }) => kind === "heartbeat")
  const sessions = new Set(deliveries.map(({ session }) => session))
  return [
    row("turns", "turns", turns),
    row("shared with the session's previous request", "%", share(requests), { atLeast: 95 }),
    row("input per turn", "tokens", perTurn(total)),
    row("input per turn, price-weighted, warm, Anthropic", "tokens", perTurn(priced("anthropic", warm))),
    row("input per turn, price-weighted, warm, OpenAI", "tokens", perTurn(priced("openai", warm))),
    row("input per turn, price-weighted, cold, Anthropic", "tokens", perTurn(priced("anthropic", cold))),
    row("input per turn, price-weighted, cold, OpenAI", "tokens", perTurn(priced("openai", cold))),
    row("own input of a delivery, at 30 messages", "tokens", sum(late, ({ own }) => own) / late.length),
    row("largest delivery", "tokens", Math.max(...deliveries.map(total)) / CHARACTERS_PER_TOKEN),
    row("input of a heartbeat", "tokens", sum(heartbeats, total) / heartbeats.length),
    row("sessions of deliveries, with every rotation", "sessions", sessions.size)
  ]
}
