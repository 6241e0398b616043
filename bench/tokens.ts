/**
 * What the turns of a team cost in model tokens: a scripted conversation against the scripted gateway, which builds the
 * provider's requests as the real one does (tools, system prompt, append-only history). Tokens are characters / 4. A
 * provider's prompt cache reuses the part that a request shares with the previous one of its session.
 */
import { Effect } from "effect"
import type { ChatRequest } from "../local/model/chat.ts"
import { textOf } from "../local/model/chat.ts"
import { sessionOf } from "../local/model/scriptedModel.ts"
import type { ActedCall } from "../test/actingModel.ts"
import { serveActingModel } from "../test/actingModel.ts"
import { eventually } from "../test/process/house.ts"
import { inPasses } from "./passes.ts"
import type { Pass, Row } from "./passes.ts"
import { houseOf } from "./subject.ts"

/** Messages of a person in the first task and in the second. */
const MESSAGES = { first: 30, second: 12 }
/** Heartheartbeats of one agent after the conversation. */
const HEARTBEATS = 5
const CHARACTERS_PER_TOKEN = 4
/** The price of a token relative to uncached input: read from the cache, and written to it at Anthropic. */
const CACHE_READ = 0.1
const CACHE_WRITE = 1.25

type Kind = "delivery" | "tool round" | "heartbeat"

/** One request as a provider reads it, and what it has in common with the previous one of its session. */
interface Request {
  readonly session: string
  readonly kind: Kind
  readonly text: string
  /** The last user message: what this request adds. */
  readonly own: number
  readonly shared: number
}

const words =
  "the login button on the settings page does not react when the network is slow so we should check the retry logic and the error text before the release"

/** A text of about this many characters, another one for each number. */
const textFor = (number: number, characters: number): string => {
  const rotated = words.split(" ").map((_, index, all) => all[(index * 7 + number) % all.length])
  return `(${number}) ${Array.from({ length: Math.ceil(characters / words.length) }, () => rotated.join(" ")).join(". ")}`
}

const sharedPrefix = (left: string, right: string): number => {
  const most = Math.min(left.length, right.length)
  let at = 0
  while (at < most && left.charCodeAt(at) === right.charCodeAt(at)) at += 1
  return at
}

/** Everything that the provider reads, in its order. */
const textOfRequest = ({ messages, tools = [] }: ChatRequest): string =>
  [
    JSON.stringify(tools),
    ...messages.map((message) => `${message.role}: ${textOf(message)}${JSON.stringify(message.tool_calls ?? "")}`)
  ].join("\n")

const lastUserText = ({ messages }: ChatRequest): string => {
  const last = messages.findLast(({ role }) => role === "user")
  return last === undefined ? "" : textOf(last)
}

const kindOf = (own: string): Kind =>
  own.includes('"tool":"') ? "tool round" : /\bheartbeat \S+, attempt /.test(own) ? "heartbeat" : "delivery"

/** Answers as a team does: those who are asked look at the task and answer, the others have nothing to add. */
const act = (own: string, number: number): string | ActedCall => {
  switch (kindOf(own)) {
    case "heartbeat":
      return "HEARTBEAT_OK"
    case "tool round":
      return textFor(number, 300)
    case "delivery": {
      const taskId = /task id: (\w+)/.exec(own)?.[1]
      if (!own.includes(" mentioned you")) return "NO_ACTION"
      return taskId === undefined || number % 3 !== 0 ? textFor(number, 300) : { name: "task_load", args: { taskId } }
    }
  }
}

const rowsOf = (requests: ReadonlyArray<Request>): ReadonlyArray<Row> => {
  const turns = requests.filter(({ kind }) => kind !== "tool round").length
  const tokens = (all: ReadonlyArray<Request>, of: (request: Request) => number) =>
    all.reduce((sum, request) => sum + of(request), 0) / CHARACTERS_PER_TOKEN
  const length = ({ text }: Request) => text.length
  const fresh = ({ shared, text }: Request) => text.length - shared
  const priced = (write: number) => (request: Request) => CACHE_READ * request.shared + write * fresh(request)
  const row = (name: string, unit: string, sample: number): Row => ({
    name: `tokens: ${name}`,
    unit,
    samples: [sample]
  })
  const deliveries = requests.filter(({ kind }) => kind === "delivery")
  const late = deliveries.slice(-20)
  const heartbeats = requests.filter(({ kind }) => kind === "heartbeat")
  return [
    row("turns", "turns", turns),
    row(
      "shared with the session's previous request",
      "%",
      (100 * tokens(requests, (each) => each.shared)) / tokens(requests, length)
    ),
    row("input per turn", "tokens", tokens(requests, length) / turns),
    row("input per turn, price-weighted, warm, Anthropic", "tokens", tokens(requests, priced(CACHE_WRITE)) / turns),
    row("input per turn, price-weighted, warm, OpenAI", "tokens", tokens(requests, priced(1)) / turns),
    row("own input of a delivery, the last 20", "tokens", tokens(late, (each) => each.own) / late.length),
    row("input of a heartbeat", "tokens", tokens(heartbeats, length) / heartbeats.length)
  ]
}

const pass: Pass = (subject) =>
  Effect.gen(function* () {
    const requests: Array<Request> = []
    const previous = new Map<string, string>()
    const sessions = new Map<string, string>()
    const modelUrl = yield* serveActingModel(async (_, chat) => {
      const text = textOfRequest(chat)
      const own = lastUserText(chat)
      // A long history loses the line that names the session; only deliveries have one that long.
      const agent = /\(@([a-z-]+)\), /.exec(text)?.[1] ?? "unknown"
      const session = sessionOf(chat.messages)?.session ?? sessions.get(agent) ?? "unknown"
      if (!session.includes(":heartbeat:")) sessions.set(agent, session)
      const shared = sharedPrefix(previous.get(session) ?? "", text)
      previous.set(session, text)
      requests.push({ session, kind: kindOf(own), text, own: own.length, shared })
      return act(own, requests.length)
    })
    const house = yield* houseOf(subject, { gatewayArgs: ["--model-url", modelUrl] })
    const { accountId, agents } = house.account
    yield* house.startRuntime({ LOG_LEVEL: "error" })
    const isQuiet = eventually(house.notifications, (rows) => rows.every(({ state }) => state === "delivered"))
    const converse = (title: string, messages: number) =>
      Effect.gen(function* () {
        const taskId = yield* house.newTask(title)
        yield* Effect.promise(() =>
          house.person.mutation("app/tasks:assign", { accountId, taskId, assigneeIds: [agents["engineer"]!] })
        )
        for (let number = 0; number < messages; number += 1) {
          const slug = ["engineer", "qa", "squad-lead"][number % 3]!
          yield* house.post(taskId, `@${slug} ${textFor(number, 400)}`)
          yield* isQuiet
        }
      })
    yield* converse("Fix the login button", MESSAGES.first)
    yield* converse("Write the release notes", MESSAGES.second)
    const heartbeat = (schedule: string) =>
      Effect.promise(() =>
        house.person.mutation("app/agents:update", { accountId, agentId: agents["engineer"]!, heartbeat: schedule })
      )
    yield* heartbeat("* * * * * *")
    yield* eventually(
      Effect.sync(() => requests.filter(({ kind }) => kind === "heartbeat").length),
      (count) => count >= HEARTBEATS
    )
    yield* heartbeat("0 0 29 2 *")
    return rowsOf(requests)
  }).pipe(Effect.scoped)

/** Runs the measurement; about two minutes for each checkout. One pass: the conversation is the same each time. */
export const run = inPasses(pass, 1)
