import type { Usage } from "../delivery/Run.ts"

/** How the gateway ended a run, as its events say. A `detail` is the gateway's own text. */
export type RunCause =
  | { readonly _tag: "Completed" }
  /** The session's history no longer fits into the model's context. */
  | { readonly _tag: "ContextOverflow"; readonly detail: string }
  /** A person stopped it in OpenClaw. */
  | { readonly _tag: "Stopped" }
  /** The runtime closed its request. */
  | { readonly _tag: "Disconnected" }
  /** The model ended without an answer. */
  | { readonly _tag: "Silent"; readonly detail: string }
  | { readonly _tag: "ProviderFailed"; readonly detail: string }
  /** The gateway was continuing an interrupted turn of the session. */
  | { readonly _tag: "Recovering"; readonly detail: string }

/** What an event of the gateway reports of a session's run. */
export type GatewayEvent =
  | { readonly _tag: "RunStarted" }
  | { readonly _tag: "ToolStarted"; readonly callId: string; readonly tool: string }
  | { readonly _tag: "ToolEnded"; readonly callId: string }
  /** The text of the present model call so far. */
  | { readonly _tag: "TextGrew"; readonly text: string }
  /** A model call ended. */
  | { readonly _tag: "ModelCalled"; readonly usage: Usage; readonly model: string | null }
  | { readonly _tag: "RunEnded"; readonly cause: RunCause; readonly model: string | null }

/** An event with the session and the run that it is about. */
export interface RunEvent {
  readonly sessionKey: string
  /** The gateway's id of the run, which is the id of the HTTP response. */
  readonly runId: string
  readonly event: GatewayEvent
}
