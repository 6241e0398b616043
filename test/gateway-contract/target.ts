import { randomBytes } from "node:crypto"
import { textOf } from "../../local/model/chat.ts"
import type { Rule } from "../../local/model/script.ts"
import type { ModelRequest } from "../../local/model/scriptedModel.ts"

/** The options of a case's own gateway. */
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
  /** The address at which the scripted model accepts scripts and shows its requests. */
  readonly modelUrl: string
  readonly version: string
  readonly configPath: string
  readonly real: boolean
  /** Starts another gateway with other options. Only the scripted gateway can within seconds. */
  readonly variant?: (options: VariantOptions) => Promise<Variant>
}

export interface Variant extends AsyncDisposable {
  readonly target: Target
  /** Stops the gateway as SIGTERM does; resolves when it has exited. */
  readonly drain: () => Promise<void>
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The parsed body; undefined if it is not JSON. */
  readonly json: any
}

export interface TurnOptions {
  readonly key?: string
  /** The agent header; alpha by default, none if undefined. */
  readonly agent?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/** How a case uses its gateway and its model. */
export class Contract {
  readonly target: Target

  constructor(target: Target) {
    this.target = target
  }

  /** Whether the release is 2026.8.2, for answers that differ from 2026.9.6. */
  get isOld(): boolean {
    return this.target.version === "2026.8.2"
  }

  /** A session of this case only. */
  newKey(agent = "alpha"): string {
    return `agent:${agent}:contract-${randomBytes(6).toString("hex")}`
  }

  /** A word that only this case's prompts contain. */
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

  /** Sets the model's answers to prompts with the marker in their last messages. */
  async script(marker: string, actions: Rule["actions"], more: Omit<Rule, "match" | "actions"> = {}): Promise<void> {
    const response = await fetch(`${this.target.modelUrl}/__local/script`, {
      method: "POST",
      body: JSON.stringify({ rules: [{ match: marker, actions, ...more }] })
    })
    if (!response.ok) throw new Error(await response.text())
  }

  /** The model's requests with the marker anywhere in the prompt, oldest first. */
  async prompts(marker: string): Promise<ReadonlyArray<ModelRequest>> {
    const response = await fetch(`${this.target.modelUrl}/__local/requests`)
    const { requests } = (await response.json()) as { readonly requests: ReadonlyArray<ModelRequest> }
    return requests.filter((request) => request.messages.some((message) => textOf(message).includes(marker)))
  }

  /** Waits for that many requests with the marker, and returns them. */
  async untilPrompted(marker: string, times = 1): Promise<ReadonlyArray<ModelRequest>> {
    return await until(`${times} requests to the model`, async () => {
      const prompts = await this.prompts(marker)
      return prompts.length >= times ? prompts : undefined
    })
  }

  /** Deletes the script and the recorded requests. */
  async reset(): Promise<void> {
    await fetch(`${this.target.modelUrl}/__local/script`, { method: "DELETE" })
    await fetch(`${this.target.modelUrl}/__local/requests`, { method: "DELETE" })
  }
}

/** Checks a condition every 20 ms; fails after 20 s with the condition's name. */
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

/** A tool with a text and an integer as parameters. */
export const sendTool = toolWith("message_send", { to: { type: "string" }, n: { type: "integer" } })

/** The text of a completed answer's only message. */
export const finalText = (answer: Answer): string => {
  const [item] = answer.json.output
  return item.content[0].text
}

/** The function calls of an answer. */
export const callsOf = (answer: Answer): ReadonlyArray<any> =>
  answer.json.output.filter((item: any) => item.type === "function_call")
