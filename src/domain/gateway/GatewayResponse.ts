import { Option, Schema } from "effect"
import { noUsage } from "../delivery/Run.ts"
import type { Usage } from "../delivery/Run.ts"

/** A function call in a response. `callId` is opaque, `arguments` is the JSON text that the gateway sent. */
export interface FunctionCall {
  readonly callId: string
  readonly name: string
  readonly arguments: string
}

/** The meaning of an HTTP answer of any version of the gateway. Only here are its two kinds of errors distinguished. */
export type GatewayAnswer =
  | {
      readonly _tag: "Calls"
      readonly calls: ReadonlyArray<FunctionCall>
      readonly usage: Usage
      readonly responseId?: string
    }
  | {
      readonly _tag: "Text"
      readonly text: string
      readonly isTruncated: boolean
      readonly usage: Usage
      readonly responseId?: string
    }
  /** A Response object with `status: "failed"`: the run began, and the model's provider or the run itself failed. */
  | {
      readonly _tag: "RunFailed"
      readonly status: number
      readonly code: string
      readonly message: string
      readonly usage: Usage
      readonly responseId?: string
    }
  /** A bare `{ error }` or plain text: the gateway refused before any run, or a proxy answered. */
  | { readonly _tag: "Refused"; readonly status: number; readonly message: string }
  /** A success in an unknown format. */
  | { readonly _tag: "Unreadable"; readonly status: number; readonly detail: string }

const ErrorJson = Schema.Struct({
  message: Schema.optionalKey(Schema.Unknown),
  code: Schema.optionalKey(Schema.Unknown),
  type: Schema.optionalKey(Schema.Unknown)
})

const ResponseJson = Schema.Struct({
  object: Schema.Literal("response"),
  id: Schema.optionalKey(Schema.Unknown),
  status: Schema.optionalKey(Schema.Unknown),
  output: Schema.optionalKey(Schema.Array(Schema.Unknown)),
  output_text: Schema.optionalKey(Schema.Unknown),
  error: Schema.optionalKey(Schema.Unknown),
  incomplete_details: Schema.optionalKey(Schema.Unknown),
  usage: Schema.optionalKey(Schema.Unknown)
})

const RefusalJson = Schema.Struct({ error: Schema.Union([ErrorJson, Schema.String]) })

const CallJson = Schema.Struct({
  type: Schema.Literal("function_call"),
  call_id: Schema.NonEmptyString,
  name: Schema.NonEmptyString,
  arguments: Schema.optionalKey(Schema.String)
})

const MessageJson = Schema.Struct({
  type: Schema.Literal("message"),
  phase: Schema.optionalKey(Schema.Unknown),
  content: Schema.Array(Schema.Unknown)
})

const TextPartJson = Schema.Struct({ type: Schema.Literal("output_text"), text: Schema.String })

const SpokenItemJson = Schema.Struct({ type: Schema.Literals(["function_call", "message"]) })

const UsageJson = Schema.Struct({
  input_tokens: Schema.optionalKey(Schema.Unknown),
  output_tokens: Schema.optionalKey(Schema.Unknown),
  input_tokens_details: Schema.optionalKey(
    Schema.Struct({
      cached_tokens: Schema.optionalKey(Schema.Unknown),
      cache_write_tokens: Schema.optionalKey(Schema.Unknown)
    })
  )
})

const TruncatedJson = Schema.Struct({ reason: Schema.Literal("max_output_tokens") })

const TRUNCATION_NOTE = "⚠️ Reply truncated at the model's output token limit"

const decodeJsonText = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))
const asResponse = Schema.decodeUnknownOption(ResponseJson)
const asRefusal = Schema.decodeUnknownOption(RefusalJson)
const asError = Schema.decodeUnknownOption(ErrorJson)
const asCall = Schema.decodeUnknownOption(CallJson)
const asMessage = Schema.decodeUnknownOption(MessageJson)
const asTextPart = Schema.decodeUnknownOption(TextPartJson)
const asSpokenItem = Schema.decodeUnknownOption(SpokenItemJson)
const asUsage = Schema.decodeUnknownOption(UsageJson)
const asTruncated = Schema.decodeUnknownOption(TruncatedJson)

const text = (value: unknown, otherwise: string): string =>
  typeof value === "string" && value !== "" ? value : otherwise

const count = (value: unknown): number =>
  typeof value === "number" && Number.isFinite(value) && value > 0 ? Math.floor(value) : 0

/** Adds input and output, because the total of some versions covers one model call only. */
const readUsage = (json: unknown): Usage =>
  Option.match(asUsage(json), {
    onNone: () => noUsage,
    onSome: ({ input_tokens, input_tokens_details: details, output_tokens }) => ({
      inputTokens: count(input_tokens),
      outputTokens: count(output_tokens),
      cacheReadTokens: count(details?.cached_tokens),
      cacheWriteTokens: count(details?.cache_write_tokens)
    })
  })

const present = <A>(options: ReadonlyArray<Option.Option<A>>): ReadonlyArray<A> =>
  options.flatMap((option) => (Option.isSome(option) ? [option.value] : []))

/** The visible text: `output_text` if it exists, otherwise the final messages, otherwise the commentary. */
const readText = (response: typeof ResponseJson.Type): string => {
  if (typeof response.output_text === "string" && response.output_text !== "") return response.output_text
  const messages = present((response.output ?? []).map((item) => asMessage(item)))
  const wordsOf = (wanted: ReadonlyArray<typeof MessageJson.Type>): string =>
    wanted
      .map((message) =>
        present(message.content.map((part) => asTextPart(part)))
          .map((part) => part.text)
          .join("")
      )
      .filter((words) => words !== "")
      .join("\n\n")
  const final = wordsOf(messages.filter((message) => message.phase !== "commentary"))
  return final === "" ? wordsOf(messages) : final
}

const readResponse = (status: number, response: typeof ResponseJson.Type): GatewayAnswer => {
  const id = typeof response.id === "string" && response.id !== "" ? { responseId: response.id } : {}
  if (response.status === "failed" || status >= 400) {
    const error = Option.getOrElse(asError(response.error), () => ({}) as typeof ErrorJson.Type)
    return {
      _tag: "RunFailed",
      status,
      code: text(error.code, text(error.type, "unknown")),
      message: text(error.message, "no message"),
      usage: readUsage(response.usage),
      ...id
    }
  }
  if (response.output === undefined && typeof response.output_text !== "string") {
    return { _tag: "Unreadable", status, detail: "a Response object without output" }
  }
  const items = response.output ?? []
  // An unknown item must not count as silence, because the agent did answer.
  const unread = items.find(
    (item) => Option.isSome(asSpokenItem(item)) && Option.isNone(asCall(item)) && Option.isNone(asMessage(item))
  )
  if (unread !== undefined) {
    return { _tag: "Unreadable", status, detail: "an item of the output has an unknown form" }
  }
  const calls = present(items.map((item) => asCall(item)))
  const usage = readUsage(response.usage)
  // Only the presence of a call counts: versions before 2026.8.2 send calls with status "incomplete".
  if (calls.length > 0) {
    return {
      _tag: "Calls",
      calls: calls.map((call) => ({ callId: call.call_id, name: call.name, arguments: call.arguments ?? "{}" })),
      usage,
      ...id
    }
  }
  const words = readText(response).toWellFormed()
  // 2026.8.2 reports it only by the note that it appends to the text.
  const isTruncated = Option.isSome(asTruncated(response.incomplete_details)) || words.includes(TRUNCATION_NOTE)
  // JSON can escape a lone surrogate, which the control plane could not store.
  return { _tag: "Text", text: words, isTruncated, usage, ...id }
}

/** Reads the body of an answer of `POST /v1/responses`. Never fails, for any bytes. */
export const readGatewayAnswer = (status: number, body: string): GatewayAnswer => {
  const json = decodeJsonText(body)
  if (Option.isNone(json)) {
    return status >= 400
      ? { _tag: "Refused", status, message: text(body.trim().slice(0, 300), `HTTP ${status} without a body`) }
      : { _tag: "Unreadable", status, detail: "the body is not JSON" }
  }
  const response = asResponse(json.value)
  if (Option.isSome(response)) return readResponse(status, response.value)
  const refusal = asRefusal(json.value)
  if (status >= 400) {
    const error = Option.isSome(refusal) ? refusal.value.error : undefined
    const message = typeof error === "string" ? error : text(error?.message, `HTTP ${status}`)
    return { _tag: "Refused", status, message }
  }
  return { _tag: "Unreadable", status, detail: "the JSON is not a Response object" }
}
