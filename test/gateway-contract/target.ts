import { randomBytes } from "node:crypto"
import { textOf } from "../../local/model/chat.ts"
import type { Rule } from "../../local/model/script.ts"
import type { ModelRequest } from "../../local/model/scriptedModel.ts"

/** What a case may ask of a gateway of its own. */
export interface VariantOptions {
  readonly agents?: ReadonlyArray<string>
  readonly toolSearch?: boolean
  readonly maxConcurrent?: number
  readonly timeScale?: number
}

/** A gateway under contract, with agents alpha and beta and a scripted model behind it. */
export interface Target {
  readonly url: string
  readonly token: string
  /** Where the scripted model takes scripts and shows what it was asked. */
  readonly modelUrl: string
  readonly version: string
  readonly configPath: string
  readonly real: boolean
  /** Starts another gateway with other options; only the stand-in can within seconds. */
  readonly variant?: (options: VariantOptions) => Promise<Variant>
}

export interface Variant extends AsyncDisposable {
  readonly target: Target
  /** Asks the gateway to stop as SIGTERM does; resolves when it has. */
  readonly drain: () => Promise<void>
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The parsed body; undefined when it is no JSON. */
  readonly json: any
}

export interface TurnOptions {
  readonly key?: string
  /** The agent header; alpha unless given, none when undefined. */
  readonly agent?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/** How a case speaks to its gateway and its model. */
export class Contract {
  readonly target: Target

  constructor(target: Target) {
    this.target = target
  }

  /** Whether the release is 2026.8.2, where it answers otherwise than 2026.9.6. */
  get isOld(): boolean {
    return this.target.version === "2026.8.2"
  }

  /** A session of this case alone. */
  newKey(agent = "alpha"): string {
    return `agent:${agent}:contract-${randomBytes(6).toString("hex")}`
  }

  /** A word that stands in the prompts of this case alone. */
  newMarker(): string {
    return `marker-${randomBytes(6).toString("hex")}`
  }

  async request(path: string, init: RequestInit = {}): Promise<Answer> {
    const response = await fetch(`${this.target.url}${path}`, init)
    const text = await response.text()
    let json: unknown
    try {
      json = JSON.parse(text)
    } catch {
      json = undefined
    }
    return { status: response.status, headers: response.headers, text, json }
  }

  /** Posts a body, an object or raw text, to /v1/responses. */
  post(body: unknown, options: TurnOptions = {}): Promise<Answer> {
    const agent = "agent" in options ? options.agent : "alpha"
    return this.request("/v1/responses", {
      method: "POST",
      headers: {
        authorization: `Bearer ${this.target.token}`,
        "content-type": "application/json",
        ...(agent === undefined ? {} : { "x-openclaw-agent-id": agent }),
        ...(options.key === undefined ? {} : { "x-openclaw-session-key": options.key }),
        ...options.headers
      },
      body: typeof body === "string" ? body : JSON.stringify(body),
      ...(options.signal === undefined ? {} : { signal: options.signal })
    })
  }

  /** One turn for the model `openclaw`. */
  turn(body: Readonly<Record<string, unknown>>, options: TurnOptions = {}): Promise<Answer> {
    return this.post({ model: "openclaw", ...body }, options)
  }

  /** Sets what the model answers when the marker is among the last messages. */
  async script(marker: string, actions: Rule["actions"], more: Omit<Rule, "match" | "actions"> = {}): Promise<void> {
    const response = await fetch(`${this.target.modelUrl}/__local/script`, {
      method: "POST",
      body: JSON.stringify({ rules: [{ match: marker, actions, ...more }] })
    })
    if (!response.ok) throw new Error(await response.text())
  }

  /** What the model was asked with the marker anywhere in the prompt, oldest first. */
  async prompts(marker: string): Promise<ReadonlyArray<ModelRequest>> {
    const response = await fetch(`${this.target.modelUrl}/__local/requests`)
    const { requests } = (await response.json()) as { readonly requests: ReadonlyArray<ModelRequest> }
    return requests.filter((request) => request.messages.some((message) => textOf(message).includes(marker)))
  }

  /** Waits until the model was asked that often with the marker, and answers what it was asked. */
  async untilPrompted(marker: string, times = 1): Promise<ReadonlyArray<ModelRequest>> {
    return await until(`the model to be asked ${times} times`, async () => {
      const prompts = await this.prompts(marker)
      return prompts.length >= times ? prompts : undefined
    })
  }

  /** Forgets the script and the recorded requests. */
  async reset(): Promise<void> {
    await fetch(`${this.target.modelUrl}/__local/script`, { method: "DELETE" })
    await fetch(`${this.target.modelUrl}/__local/requests`, { method: "DELETE" })
  }
}

/** Waits for a condition, asking every 20 ms; fails after 20 s naming what it waited for. */
export const until = async <A>(what: string, condition: () => Promise<A | undefined>): Promise<A> => {
  const deadline = performance.now() + 20_000
  for (;;) {
    const value = await condition()
    if (value !== undefined) return value
    if (performance.now() > deadline) throw new Error(`waited 20 s for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** The user and assistant texts of a prompt, without the gateway's time stamps and Runtime lines. */
export const spokenOf = (prompt: ModelRequest): ReadonlyArray<string> =>
  prompt.messages
    .filter((message) => message.role !== "system")
    .filter((message) => !textOf(message).includes("BEGIN_OPENCLAW_INTERNAL_CONTEXT"))
    .map((message) =>
      textOf(message)
        .replace(/^\[\w{3} \d{4}-\d\d-\d\d \d\d:\d\d UTC\] /, "")
        .replace(/\n\nRuntime: .*$/s, "")
    )

/** The system prompt. */
export const systemOf = (prompt: ModelRequest): string =>
  prompt.messages
    .filter((message) => message.role === "system")
    .map(textOf)
    .join("\n")

/** A flat function tool with the given properties, all of them required. */
export const toolWith = (name: string, properties: Readonly<Record<string, object>>, more: object = {}): object => ({
  type: "function",
  name,
  description: `the tool ${name}`,
  parameters: {
    type: "object",
    properties,
    required: Object.keys(properties),
    additionalProperties: false,
    ...more
  }
})

/** A tool that takes a text and a whole number. */
export const sendTool = toolWith("message_send", { to: { type: "string" }, n: { type: "integer" } })

/** The text of a completed answer's only message. */
export const finalText = (answer: Answer): string => {
  const [item] = answer.json.output
  return item.content[0].text
}

/** The function calls of an answer. */
export const callsOf = (answer: Answer): ReadonlyArray<any> =>
  answer.json.output.filter((item: any) => item.type === "function_call")
