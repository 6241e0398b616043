import { Option, Redacted, Schema } from "effect"
import { readRunEvent } from "../../src/domain/gateway/GatewayEvent.ts"
import type { GatewayEvent, RunEvent } from "../../src/domain/gateway/GatewayEvent.ts"
import { FrameText } from "../../src/domain/gateway/GatewayFrame.ts"
import type { Frame } from "../../src/domain/gateway/GatewayFrame.ts"
import { connectParams } from "../../src/layers/gateway/GatewaySocket.ts"
import { type Target, until } from "./target.ts"

const decode = Schema.decodeUnknownSync(FrameText)

/** A connection to the gateway's WebSocket. */
export class EventClient implements AsyncDisposable {
  readonly #socket: WebSocket
  readonly #frames: Array<Frame> = []
  #sent = 0
  #closed = false

  private constructor(url: string) {
    this.#socket = new WebSocket(url.replace(/^http/, "ws"))
    this.#socket.addEventListener("message", ({ data }) => this.#frames.push(decode(String(data))))
    this.#socket.addEventListener("close", () => (this.#closed = true))
  }

  /** Connects as the runtime does. Returns the client and the answer. */
  static async open({ token, url }: Pick<Target, "token" | "url">, scopes = ["operator.read"]) {
    const client = new EventClient(url)
    await until("the challenge", async () =>
      client.#frames.find((frame) => frame.type === "event" && frame.event === "connect.challenge")
    )
    const own = connectParams("1.0.0", Option.some(Redacted.make(token)))
    const answer = await client.request("connect", { ...own, scopes })
    return { client, answer }
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** What the events of the session report, in order. */
  events(sessionKey: string): ReadonlyArray<RunEvent> {
    return this.#frames
      .flatMap((frame) => (frame.type === "event" ? Option.toArray(readRunEvent(frame)) : []))
      .filter((event) => event.sessionKey === sessionKey)
  }

  async request(method: string, params: object): Promise<Extract<Frame, { readonly type: "res" }>> {
    const id = String((this.#sent += 1))
    this.#socket.send(JSON.stringify({ type: "req", id, method, params }))
    return await until(`the answer to ${method}`, async () =>
      this.#frames.find(
        (frame): frame is Extract<Frame, { readonly type: "res" }> => frame.type === "res" && frame.id === id
      )
    )
  }

  /** The end of the session's run. */
  async end(sessionKey: string): Promise<RunEvent & { readonly event: Extract<GatewayEvent, { _tag: "RunEnded" }> }> {
    return await until("the end of the run", async () =>
      this.events(sessionKey).findLast(
        (each): each is RunEvent & { readonly event: Extract<GatewayEvent, { _tag: "RunEnded" }> } =>
          each.event._tag === "RunEnded"
      )
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close()
    await until("the end of the connection", async () => this.#closed || undefined)
  }
}
