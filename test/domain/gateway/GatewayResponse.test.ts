import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { noUsage } from "../../../src/domain/delivery/Run.ts"
import { readGatewayAnswer } from "../../../src/domain/gateway/GatewayResponse.ts"
import type { GatewayAnswer } from "../../../src/domain/gateway/GatewayResponse.ts"

const read = (status: number, body: unknown): GatewayAnswer =>
  readGatewayAnswer(status, typeof body === "string" ? body : JSON.stringify(body))

const usage = {
  input_tokens: 111,
  input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
  output_tokens: 22,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: 133
}
const readUsage = { ...noUsage, inputTokens: 111, outputTokens: 22 }

const message = (text: string, phase?: string) => ({
  type: "message",
  id: "msg_1",
  role: "assistant",
  content: [{ type: "output_text", text }],
  status: "completed",
  ...(phase === undefined ? {} : { phase })
})

const call = (name: string, parameters = '{"to":"bob"}') => ({
  type: "function_call",
  id: `call_${name}`,
  call_id: `id_${name}`,
  name,
  arguments: parameters
})

const response = (output: ReadonlyArray<unknown>, changes: object = {}) => ({
  id: "resp_1",
  object: "response",
  created_at: 1_795_328_127,
  status: "completed",
  model: "openclaw/alpha",
  output,
  usage,
  ...changes
})

const failed = (code: string, text: string) => response([], { status: "failed", error: { code, message: text } })
const refused = (text: string, type: string) => ({ error: { message: text, type } })

const calls = (...names: ReadonlyArray<string>): GatewayAnswer => ({
  _tag: "Calls",
  calls: names.map((name) => ({ callId: `id_${name}`, name, arguments: '{"to":"bob"}' })),
  usage: readUsage,
  responseId: "resp_1"
})

const text = (words: string, isTruncated = false): GatewayAnswer => ({
  _tag: "Text",
  text: words,
  isTruncated,
  usage: readUsage,
  responseId: "resp_1"
})

/** The shapes measured on the gateway's versions, and what each means. */
const known: ReadonlyArray<readonly [what: string, status: number, body: unknown, meaning: GatewayAnswer]> = [
  ["a text with a final answer", 200, response([message("ok", "final_answer")]), text("ok")],
  ["a text without a phase", 200, response([message("ok")]), text("ok")],
  [
    "a text of several parts and messages",
    200,
    response([
      {
        type: "message",
        content: [
          { type: "output_text", text: "one " },
          { type: "output_text", text: "two" }
        ]
      },
      message("three")
    ]),
    text("one two\n\nthree")
  ],
  [
    "a commentary before the final answer",
    200,
    response([message("let me see", "commentary"), message("done", "final_answer")]),
    text("done")
  ],
  ["a commentary alone", 200, response([message("let me see", "commentary")]), text("let me see")],
  ["an empty commentary", 200, response([message("", "commentary")]), text("")],
  ["no output at all", 200, response([]), text("")],
  ["the convenience field of other servers", 200, response([], { output_text: "ok" }), text("ok")],
  [
    "a text cut at the model's limit",
    200,
    response([message("half")], { status: "incomplete", incomplete_details: { reason: "max_output_tokens" } }),
    text("half", true)
  ],
  [
    "a text cut at the model's limit as 2026.8.2 says it",
    200,
    response([message("half\n\n⚠️ Reply truncated at the model's output token limit.")]),
    text("half\n\n⚠️ Reply truncated at the model's output token limit.", true)
  ],
  [
    "a text that a filter ended",
    200,
    response([message("half")], { status: "incomplete", incomplete_details: { reason: "content_filter" } }),
    text("half")
  ],
  ["one call of 2026.8.2 and later", 200, response([call("send")]), calls("send")],
  ["two calls of one turn, in their order", 200, response([call("b"), call("a")]), calls("b", "a")],
  ["a call of versions before 2026.8.2", 200, response([call("send")], { status: "incomplete" }), calls("send")],
  ["a call with text beside it", 200, response([message("Let me send."), call("send")]), calls("send")],
  ["a call behind the stream's empty message", 200, response([message("", "commentary"), call("send")]), calls("send")],
  [
    "a call without arguments",
    200,
    response([{ type: "function_call", call_id: "id_look", name: "look" }]),
    {
      _tag: "Calls",
      calls: [{ callId: "id_look", name: "look", arguments: "{}" }],
      usage: readUsage,
      responseId: "resp_1"
    }
  ],
  ["items of other kinds", 200, response([{ type: "reasoning", summary: [] }, message("ok")]), text("ok")],
  [
    "a text of 2026.6.11, whose total is of one call only",
    200,
    response([message("ok")], { usage: { input_tokens: 222, output_tokens: 44, total_tokens: 133 } }),
    { ...text("ok"), usage: { ...noUsage, inputTokens: 222, outputTokens: 44 } } as GatewayAnswer
  ],
  [
    "a text without usage",
    200,
    response([message("ok")], { usage: undefined }),
    { ...text("ok"), usage: { ...noUsage, inputTokens: 0, outputTokens: 0 } } as GatewayAnswer
  ],
  [
    "usage that is no number",
    200,
    response([message("ok")], { usage: { input_tokens: "111", output_tokens: -5 } }),
    { ...text("ok"), usage: { ...noUsage, inputTokens: 0, outputTokens: 0 } } as GatewayAnswer
  ],
  [
    "half a surrogate pair",
    200,
    '{"object":"response","output":[{"type":"message","content":[{"type":"output_text","text":"a\\ud83d"}]}]}',
    {
      _tag: "Text",
      text: "a\ufffd",
      isTruncated: false,
      usage: { ...noUsage, inputTokens: 0, outputTokens: 0 }
    }
  ],
  [
    "silence, overflow, cooldown or a bad key",
    500,
    failed("api_error", "internal error"),
    {
      _tag: "RunFailed",
      status: 500,
      code: "api_error",
      message: "internal error",
      usage: readUsage,
      responseId: "resp_1"
    }
  ],
  [
    "a provider's 401, which is not about our token",
    401,
    failed("authentication_error", "401 fake error 401"),
    {
      _tag: "RunFailed",
      status: 401,
      code: "authentication_error",
      message: "401 fake error 401",
      usage: readUsage,
      responseId: "resp_1"
    }
  ],
  [
    "a provider's 429",
    429,
    failed("rate_limit_error", "429 Rate limit reached"),
    {
      _tag: "RunFailed",
      status: 429,
      code: "rate_limit_error",
      message: "429 Rate limit reached",
      usage: readUsage,
      responseId: "resp_1"
    }
  ],
  [
    "a failed run with HTTP 200",
    200,
    failed("api_error", "upstream provider error"),
    {
      _tag: "RunFailed",
      status: 200,
      code: "api_error",
      message: "upstream provider error",
      usage: readUsage,
      responseId: "resp_1"
    }
  ],
  [
    "a failed run without an error",
    502,
    response([], { status: "failed", error: null }),
    { _tag: "RunFailed", status: 502, code: "unknown", message: "no message", usage: readUsage, responseId: "resp_1" }
  ],
  [
    "a wrong token",
    401,
    refused("Unauthorized", "unauthorized"),
    { _tag: "Refused", status: 401, message: "Unauthorized" }
  ],
  [
    "an unknown agent",
    400,
    refused("Unknown agent 'gamma'.", "invalid_request_error"),
    { _tag: "Refused", status: 400, message: "Unknown agent 'gamma'." }
  ],
  [
    "a gateway that drains",
    503,
    {
      error: { message: "Gateway is temporarily unavailable", type: "service_unavailable", code: "gateway_unavailable" }
    },
    { _tag: "Refused", status: 503, message: "Gateway is temporarily unavailable" }
  ],
  ["an endpoint that is off", 404, "Not Found", { _tag: "Refused", status: 404, message: "Not Found" }],
  ["an error that is a string", 400, { error: "bad" }, { _tag: "Refused", status: 400, message: "bad" }],
  ["an error without a body", 500, "", { _tag: "Refused", status: 500, message: "HTTP 500 without a body" }],
  ["an error of another JSON", 502, { oops: true }, { _tag: "Refused", status: 502, message: "HTTP 502" }],
  [
    "the page that 2026.2.19 answers to everything",
    200,
    "<!doctype html><html></html>",
    { _tag: "Unreadable", status: 200, detail: "the body is not JSON" }
  ],
  ["an empty body", 200, "", { _tag: "Unreadable", status: 200, detail: "the body is not JSON" }],
  [
    "other JSON",
    200,
    { object: "chat.completion", choices: [] },
    { _tag: "Unreadable", status: 200, detail: "the JSON is not a Response object" }
  ],
  [
    "a Response object without output",
    200,
    { object: "response", status: "completed" },
    { _tag: "Unreadable", status: 200, detail: "a Response object without output" }
  ],
  [
    "a call without an id, which is no silence",
    200,
    response([{ type: "function_call", name: "send", arguments: "{}" }]),
    { _tag: "Unreadable", status: 200, detail: "an item of the output has an unknown form" }
  ],
  [
    "a call whose arguments are an object, beside a good one",
    200,
    response([call("a"), { ...call("b"), arguments: { to: "bob" } }]),
    { _tag: "Unreadable", status: 200, detail: "an item of the output has an unknown form" }
  ],
  [
    "a message whose content is a string, which is no silence",
    200,
    response([{ type: "message", content: "hello" }]),
    { _tag: "Unreadable", status: 200, detail: "an item of the output has an unknown form" }
  ]
]

describe("the answer of the gateway", () => {
  for (const [what, status, body, meaning] of known) {
    it(`is read when it is ${what}`, () => {
      assert.deepStrictEqual(read(status, body), meaning)
    })
  }

  it("that is an endless page is refused with its beginning only", () => {
    const answer = read(500, "x".repeat(1_000_000))
    assert.strictEqual(answer._tag, "Refused")
    assert.isAtMost(answer._tag === "Refused" ? answer.message.length : 0, 300)
  })
})

const tags = ["Calls", "Text", "RunFailed", "Refused", "Unreadable"]
const Status = Schema.Int.check(Schema.isBetween({ minimum: 200, maximum: 599 }))
const Json = Schema.Union([Schema.String, Schema.Finite, Schema.Boolean, Schema.Null])
const Item = Schema.Union([
  Schema.Struct({
    type: Schema.Literals(["function_call", "message", "reasoning"]),
    call_id: Schema.optionalKey(Json),
    name: Schema.optionalKey(Json),
    arguments: Schema.optionalKey(Json),
    phase: Schema.optionalKey(Json),
    content: Schema.optionalKey(
      Schema.Union([Json, Schema.Array(Schema.Struct({ type: Schema.Literal("output_text"), text: Json }))])
    )
  }),
  Json
])
const NearlyResponse = Schema.Struct({
  object: Schema.Literals(["response", "list"]),
  status: Schema.optionalKey(Schema.Literals(["completed", "incomplete", "failed"])),
  output: Schema.optionalKey(Schema.Union([Schema.Array(Item), Json])),
  output_text: Schema.optionalKey(Json),
  error: Schema.optionalKey(Schema.Union([Json, Schema.Struct({ code: Json, message: Json })])),
  incomplete_details: Schema.optionalKey(Schema.Union([Json, Schema.Struct({ reason: Json })])),
  usage: Schema.optionalKey(Schema.Union([Json, Schema.Struct({ input_tokens: Json, output_tokens: Json })]))
})

describe("for any bytes", () => {
  const holds = (status: number, body: string) => {
    const answer = readGatewayAnswer(status, body)
    assert.include(tags, answer._tag)
    if (status >= 400) assert.include(["RunFailed", "Refused"], answer._tag)
    if (answer._tag === "Text") assert.isTrue(answer.text.isWellFormed())
    if (answer._tag === "Calls") assert.isNotEmpty(answer.calls)
    if (answer._tag === "Calls" || answer._tag === "Text") {
      const { inputTokens, outputTokens } = answer.usage
      assert.isAtLeast(inputTokens, 0)
      assert.isAtLeast(outputTokens, 0)
    }
  }

  it.prop("a string is one of the answers", { status: Status, body: Schema.String }, ({ body, status }) =>
    holds(status, body)
  )

  it.prop("JSON is one of the answers", { status: Status, json: Schema.Json }, ({ json, status }) =>
    holds(status, JSON.stringify(json))
  )

  it.prop(
    "what looks nearly like a response is one of the answers",
    { status: Status, json: NearlyResponse },
    ({ json, status }) => holds(status, JSON.stringify(json)),
    { arbitrary: { runs: 500 } }
  )

  it.prop(
    "and a response that breaks off is one of the answers",
    { json: NearlyResponse, share: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })) },
    ({ json, share }) => {
      const body = JSON.stringify(json)
      holds(200, body.slice(0, Math.floor(body.length * share)))
    }
  )
})
