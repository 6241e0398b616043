/** Tokens of all model calls of a run. */
export interface Usage {
  readonly input: number
  readonly output: number
}

/** A tool call passed to the caller. Its id is the gateway's, never the model's. */
export interface PendingCall {
  readonly callId: string
  readonly name: string
  readonly arguments: string
}

/** The end of a run, before it becomes an HTTP answer. */
export type TurnEnd =
  | {
      readonly kind: "text"
      readonly text: string
      /** The model reached its token limit; not every release reports that in the status. */
      readonly truncated: boolean
      readonly status: "completed" | "incomplete"
      readonly usage: Usage
    }
  | {
      readonly kind: "calls"
      readonly calls: ReadonlyArray<PendingCall>
      /** Text of a later model call than the one with the tool calls; text in the same call is dropped. */
      readonly commentary: string
      readonly usage: Usage
    }

/** How the gateway's event reports the end of a run. */
export interface RunEndEvent {
  readonly error?: string
  readonly aborted?: boolean
  readonly stopReason?: string
  readonly replayInvalid?: boolean
  readonly livenessState?: string
  readonly errorObservation?: object
}

/** The run failed. It becomes a Response object with the status "failed", and an event. */
export class TurnFailed extends Error {
  readonly status: number
  readonly code: string
  readonly event: RunEndEvent
  constructor(status: number, code: string, message: string, event: RunEndEvent = {}) {
    super(message)
    this.name = "TurnFailed"
    this.status = status
    this.code = code
    this.event = event
  }
}

/** The end of a run whose model answered nothing. */
export const silentEnd: RunEndEvent = {
  aborted: false,
  replayInvalid: true,
  livenessState: "abandoned",
  error: "⚠️ Agent couldn't generate a response. Please try again."
}

/** The gateway's message for silence, bad keys, a provider in cooldown and a full context alike; the event differs. */
export const internalError = (event: RunEndEvent = {}): TurnFailed =>
  new TurnFailed(500, "api_error", "internal error", event)
