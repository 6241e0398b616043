/** Tokens of all model calls of a run. */
export interface Usage {
  readonly input: number
  readonly output: number
}

/** A tool call handed to the caller; the id is the gateway's own, never the model's. */
export interface PendingCall {
  readonly callId: string
  readonly name: string
  readonly arguments: string
}

/** How a run ended, before it becomes an HTTP answer. */
export type TurnEnd =
  | {
      readonly kind: "text"
      readonly text: string
      /** The model ran out of tokens; not every release says so in the status. */
      readonly truncated: boolean
      readonly status: "completed" | "incomplete"
      readonly usage: Usage
    }
  | {
      readonly kind: "calls"
      readonly calls: ReadonlyArray<PendingCall>
      /** Text the model wrote in a later model call than the one that called; text beside the calls is dropped. */
      readonly commentary: string
      readonly usage: Usage
    }

/** The run failed; becomes a Response object with status "failed". */
export class TurnFailed extends Error {
  readonly status: number
  readonly code: string
  constructor(status: number, code: string, message: string) {
    super(message)
    this.name = "TurnFailed"
    this.status = status
    this.code = code
  }
}

/** What the gateway says for silence, bad keys, a provider in cooldown and an overflowing context alike. */
export const internalError = (): TurnFailed => new TurnFailed(500, "api_error", "internal error")
