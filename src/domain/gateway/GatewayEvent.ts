import { Option, Schema } from "effect"
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
  /** The gateway was restarting, or continuing an interrupted turn of the session. */
  | { readonly _tag: "Recovering"; readonly detail: string }
  /** The event does not say what happened. */
  | { readonly _tag: "Unexplained"; readonly detail: string }

/** A model call ended. */
export interface ModelCall {
  readonly _tag: "ModelCalled"
  readonly usage: Usage
  readonly model: string | null
  /** The model called tools, so the run continues. */
  readonly hasTools: boolean
}

/** What an event of the gateway reports of a session's run. */
export type GatewayEvent =
  | { readonly _tag: "RunStarted" }
  | { readonly _tag: "ToolStarted"; readonly callId: string; readonly tool: string }
  | { readonly _tag: "ToolEnded"; readonly callId: string }
  /** The text of the present model call so far. */
  | { readonly _tag: "TextGrew"; readonly text: string }
  | ModelCall
  | { readonly _tag: "RunEnded"; readonly cause: RunCause; readonly model: string | null }

/** An event with the session and the run that it is about. */
export interface RunEvent {
  readonly sessionKey: string
  /** The gateway's id of the run, which is the id of the HTTP response. */
  readonly runId: string
  readonly event: GatewayEvent
}

const Name = Schema.NonEmptyString

/** A provider and a model; some releases send null between two calls. */
const Model = Schema.Struct({
  provider: Schema.optionalKey(Schema.NullOr(Schema.String)),
  model: Schema.optionalKey(Schema.NullOr(Schema.String))
})

/** The payload of the event `agent`: what happens in a run. */
const AgentPayload = Schema.Struct({
  runId: Name,
  sessionKey: Name,
  stream: Schema.String,
  data: Schema.Unknown
})

const LifecycleData = Schema.Struct({
  phase: Schema.String,
  error: Schema.optionalKey(Schema.String),
  aborted: Schema.optionalKey(Schema.Boolean),
  stopReason: Schema.optionalKey(Schema.String),
  livenessState: Schema.optionalKey(Schema.String),
  errorObservation: Schema.optionalKey(Schema.Struct({ failoverReason: Schema.optionalKey(Schema.String) })),
  terminalReceipt: Schema.optionalKey(Schema.Struct({ effective: Schema.optionalKey(Model) })),
  /** False while the gateway may still try again. */
  executionSettled: Schema.optionalKey(Schema.Boolean)
})

const AssistantData = Schema.Struct({ text: Schema.String })

const ToolData = Schema.Struct({
  kind: Schema.Literal("tool"),
  phase: Schema.Literals(["start", "end"]),
  toolCallId: Name,
  name: Name
})

/** Text that the model writes before it calls a tool. */
const PreambleData = Schema.Struct({ kind: Schema.Literal("preamble"), progressText: Schema.String })

/** The payload of the event `session.message`: a message of the model, written when its call has ended. */
const MessagePayload = Schema.Struct({
  sessionKey: Name,
  message: Schema.Struct({
    role: Schema.Literal("assistant"),
    ...Model.fields,
    usage: Schema.Struct({
      input: Schema.Finite,
      output: Schema.Finite,
      cacheRead: Schema.optionalKey(Schema.Finite),
      cacheWrite: Schema.optionalKey(Schema.Finite)
    }),
    stopReason: Schema.optionalKey(Schema.String),
    __openclaw: Schema.Struct({ runId: Name })
  })
})

const asAgentPayload = Schema.decodeUnknownOption(AgentPayload)
const asLifecycle = Schema.decodeUnknownOption(LifecycleData)
const asAssistant = Schema.decodeUnknownOption(AssistantData)
const asTool = Schema.decodeUnknownOption(ToolData)
const asPreamble = Schema.decodeUnknownOption(PreambleData)
const asMessagePayload = Schema.decodeUnknownOption(MessagePayload)

const modelOf = (named: typeof Model.Type | undefined): string | null =>
  typeof named?.provider === "string" && typeof named.model === "string" ? `${named.provider}/${named.model}` : null

/** The gateway's words for the end of a run whose caller closed the request. */
const DISCONNECTED = "HTTP client disconnected"

/** Only an error names the reason of an abort. 2026.8.2 reports a closed request as an aborted end without one. */
const abortCause = ({ error = "", phase, stopReason }: typeof LifecycleData.Type): RunCause => {
  if (error === DISCONNECTED) return { _tag: "Disconnected" }
  if (stopReason === "restart") return { _tag: "Recovering", detail: error }
  const isStop = phase === "error" && (stopReason === "aborted" || stopReason === "rpc" || stopReason === "stop")
  return isStop ? { _tag: "Stopped" } : { _tag: "Unexplained", detail: error }
}

const causeOf = (end: typeof LifecycleData.Type): RunCause => {
  const { aborted = false, error = "", errorObservation, livenessState, phase } = end
  if (aborted) return abortCause(end)
  if (phase === "end") return { _tag: "Completed" }
  const reason = errorObservation?.failoverReason
  // 2026.8.2 has only the text.
  if (reason === "context_overflow" || error.startsWith("Context overflow")) {
    return { _tag: "ContextOverflow", detail: error }
  }
  if (error.includes("SessionWorkStartChanged")) return { _tag: "Recovering", detail: error }
  // The gateway refuses a provider that is in its cooldown without an observation.
  if (reason !== undefined || error.includes("temporarily disabled after a provider")) {
    return { _tag: "ProviderFailed", detail: error }
  }
  return livenessState === "abandoned" ? { _tag: "Silent", detail: error } : { _tag: "Unexplained", detail: error }
}

const lifecycleEvent = (data: typeof LifecycleData.Type): GatewayEvent | null => {
  if (data.phase === "start") return { _tag: "RunStarted" }
  if (data.phase !== "end" && data.phase !== "error") return null
  if (data.executionSettled === false) return null
  return { _tag: "RunEnded", cause: causeOf(data), model: modelOf(data.terminalReceipt?.effective) }
}

const itemEvent = (data: unknown): Option.Option<GatewayEvent> =>
  Option.orElse(
    Option.map(asTool(data), ({ name, phase, toolCallId }): GatewayEvent =>
      phase === "start"
        ? { _tag: "ToolStarted", callId: toolCallId, tool: name }
        : { _tag: "ToolEnded", callId: toolCallId }
    ),
    () => Option.map(asPreamble(data), ({ progressText }): GatewayEvent => ({ _tag: "TextGrew", text: progressText }))
  )

const agentEvent = (stream: string, data: unknown): Option.Option<GatewayEvent> => {
  switch (stream) {
    case "lifecycle":
      return Option.flatMap(asLifecycle(data), (decoded) => Option.fromNullOr(lifecycleEvent(decoded)))
    case "assistant":
      return Option.map(asAssistant(data), ({ text }): GatewayEvent => ({ _tag: "TextGrew", text }))
    case "item":
      return itemEvent(data)
    default:
      return Option.none()
  }
}

/** Reads what an event of the gateway reports of a run. None for events of other kinds and of unknown forms. */
export const readRunEvent = (frame: {
  readonly event: string
  readonly payload?: unknown
}): Option.Option<RunEvent> => {
  if (frame.event === "agent") {
    return Option.flatMap(asAgentPayload(frame.payload), ({ data, runId, sessionKey, stream }) =>
      Option.map(agentEvent(stream, data), (event) => ({ sessionKey, runId, event }))
    )
  }
  if (frame.event !== "session.message") return Option.none()
  return Option.map(asMessagePayload(frame.payload), ({ message, sessionKey }) => {
    const { usage } = message
    return {
      sessionKey,
      runId: message.__openclaw.runId,
      event: {
        _tag: "ModelCalled",
        usage: {
          inputTokens: usage.input + (usage.cacheRead ?? 0) + (usage.cacheWrite ?? 0),
          outputTokens: usage.output,
          cacheReadTokens: usage.cacheRead ?? 0,
          cacheWriteTokens: usage.cacheWrite ?? 0
        },
        model: modelOf(message),
        hasTools: message.stopReason === "toolUse"
      }
    }
  })
}
