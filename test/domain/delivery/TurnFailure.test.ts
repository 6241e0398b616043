import { assert, describe, it } from "@effect/vitest"
import { LeaseLost } from "../../../src/domain/controlPlane/ControlPlaneFailure.ts"
import { noUsage } from "../../../src/domain/delivery/Run.ts"
import {
  blameOf,
  ConnectionLost,
  ContextOverflow,
  failureByCause,
  failureOf,
  GatewayRestarted,
  GatewayUnreachable,
  isTurnFailure,
  TurnAmbiguous,
  TurnSilent,
  TurnStopped,
  TurnTimeout
} from "../../../src/domain/delivery/TurnFailure.ts"
import type { Blame, TurnFailure } from "../../../src/domain/delivery/TurnFailure.ts"
import type { RunCause } from "../../../src/domain/gateway/GatewayEvent.ts"
import { readGatewayAnswer } from "../../../src/domain/gateway/GatewayResponse.ts"

/** The failure that an HTTP answer comes to. */
const failure = (status: number, body: unknown, retryAfterMillis?: number): TurnFailure => {
  const answer = readGatewayAnswer(status, typeof body === "string" ? body : JSON.stringify(body))
  if (answer._tag === "Calls" || answer._tag === "Text") return assert.fail("the answer is none that failed")
  return failureOf("engineer", answer, retryAfterMillis)
}

const bare = (message: string, type = "invalid_request_error") => ({ error: { message, type } })
const run = (code: string, message: string) => ({
  object: "response",
  status: "failed",
  output: [],
  error: { code, message }
})

const rows: ReadonlyArray<readonly [what: string, failure: () => TurnFailure, tag: TurnFailure["_tag"], blame: Blame]> =
  [
    [
      "a draining gateway",
      () => failure(503, bare("suspending", "service_unavailable")),
      "GatewayUnreachable",
      "shared"
    ],
    ["a proxy's 502", () => failure(502, "<html>Bad Gateway</html>"), "GatewayUnreachable", "shared"],
    ["a proxy's 503", () => failure(503, "no upstream"), "GatewayUnreachable", "shared"],
    ["a bare 429", () => failure(429, bare("too many")), "GatewayUnreachable", "shared"],
    ["a proxy's 504", () => failure(504, "<html>Gateway Time-out</html>", 7_000), "ConnectionLost", "own"],
    ["a proxy's 408", () => failure(408, ""), "ConnectionLost", "own"],
    ["a bare 500", () => failure(500, "oops"), "ConnectionLost", "own"],
    ["a bare 520", () => failure(520, "oops"), "ConnectionLost", "own"],
    ["our token refused", () => failure(401, bare("Unauthorized", "unauthorized")), "GatewayMisconfigured", "shared"],
    ["the endpoint off", () => failure(404, "Not Found"), "GatewayMisconfigured", "shared"],
    ["the method refused", () => failure(405, "Method Not Allowed"), "GatewayMisconfigured", "shared"],
    [
      "a tool's name taken, refused before the run",
      () => failure(400, bare("invalid tool configuration")),
      "GatewayMisconfigured",
      "shared"
    ],
    [
      "a tool's name taken, as a failed run",
      () => failure(400, run("invalid_request_error", "invalid tool configuration")),
      "GatewayMisconfigured",
      "shared"
    ],
    ["an unknown agent", () => failure(400, bare("Unknown agent 'gamma'.")), "UnknownAgent", "shared"],
    ["another bare 400", () => failure(400, bare(': Unrecognized key: "x"')), "TurnRefused", "own"],
    ["a body that is too large", () => failure(413, bare("Payload too large")), "TurnRefused", "own"],
    ["a provider's 400", () => failure(400, run("invalid_request_error", "400 fake")), "TurnRefused", "own"],
    ["a provider's 401", () => failure(401, run("authentication_error", "401 fake")), "ProviderFailed", "shared"],
    ["a provider's 402", () => failure(402, run("billing_error", "pay")), "ProviderFailed", "shared"],
    ["a provider's 403", () => failure(403, run("permission_error", "no")), "ProviderFailed", "shared"],
    ["a provider's dropped connections", () => failure(408, run("timeout", "dropped")), "ProviderFailed", "shared"],
    ["a provider's 429", () => failure(429, run("rate_limit_error", "429")), "ProviderFailed", "shared"],
    ["a provider's 5xx", () => failure(502, run("api_error", "upstream provider error")), "ProviderFailed", "shared"],
    [
      "a 500 of the run that is not the internal one",
      () => failure(500, run("api_error", "upstream provider error")),
      "ProviderFailed",
      "shared"
    ],
    ["an internal error", () => failure(500, run("api_error", "internal error")), "TurnAmbiguous", "silence"],
    ["a page instead of an answer", () => failure(200, "<html></html>"), "TurnUnreadable", "own"],
    ["a lost connection", () => new ConnectionLost({ detail: "reset" }), "ConnectionLost", "own"],
    [
      "an internal error of a gateway that has just started",
      () => new GatewayRestarted({ detail: "internal error" }),
      "GatewayRestarted",
      "shared"
    ],
    ["a deadline", () => new TurnTimeout({ detail: "no end" }), "TurnTimeout", "own"],
    [
      "a session that is too long for its model",
      () => new ContextOverflow({ detail: "too long" }),
      "ContextOverflow",
      "own"
    ],
    ["a turn that a person stopped in OpenClaw", () => new TurnStopped({ detail: "stopped" }), "TurnStopped", "own"],
    ["a turn without a word", () => new TurnSilent({ detail: "empty" }), "TurnSilent", "silence"],
    ["a refused connection", () => new GatewayUnreachable({ detail: "ECONNREFUSED" }), "GatewayUnreachable", "shared"]
  ]

const working = { hasFailedRecently: false, isFailing: false }

describe("the table of failures", () => {
  for (const [what, make, tag, blame] of rows) {
    it(`takes ${what} for ${tag}, ${blame}`, () => {
      const found = make()
      assert.strictEqual(found._tag, tag)
      assert.strictEqual(blameOf(found, working), blame)
      assert.isTrue(isTurnFailure(found))
    })
  }

  it("treats only an internal error as shared while a provider cools down", () => {
    for (const [what, make, tag, blame] of rows) {
      const found = blameOf(make(), { ...working, hasFailedRecently: true })
      assert.strictEqual(found, tag === "TurnAmbiguous" ? "shared" : blame, what)
    }
  })

  it("treats only a deadline as shared while a provider fails and no round completes", () => {
    for (const [what, make, tag, blame] of rows) {
      const found = blameOf(make(), { ...working, isFailing: true })
      assert.strictEqual(found, tag === "TurnTimeout" ? "shared" : blame, what)
    }
  })

  it("keeps how long the gateway or provider asks to wait", () => {
    for (const found of [failure(503, bare("later"), 7_000), failure(429, run("rate_limit_error", "later"), 7_000)]) {
      assert.strictEqual("retryAfterMillis" in found ? found.retryAfterMillis : undefined, 7_000)
    }
    assert.notProperty(failure(503, bare("later")), "retryAfterMillis")
  })

  it("says what to do when settings are wrong", () => {
    const fixOf = (found: TurnFailure) => ("fix" in found ? found.fix : "")
    assert.include(fixOf(failure(401, bare("Unauthorized"))), "OPENCLAW_GATEWAY_TOKEN")
    assert.include(fixOf(failure(404, "Not Found")), "responses.enabled")
    assert.include(fixOf(failure(400, bare("invalid tool configuration"))), "tools.deny")
  })

  it("says what to do about a proxy before the gateway, with its answer", () => {
    assert.match(
      failure(504, "<html>Time-out</html>").detail,
      /read timeout.*OPENCLAW_REQUEST_TIMEOUT_MS.*HTTP 504.*Time-out/
    )
    assert.match(failure(500, "oops").detail, /proxy's log.*HTTP 500: oops/)
  })

  it("names the agent that the gateway does not know", () => {
    const found = failure(400, bare("Unknown agent 'engineer'."))
    assert.strictEqual("agentSlug" in found ? found.agentSlug : "", "engineer")
  })

  it("distinguishes the control plane's failures", () => {
    assert.isFalse(isTurnFailure(new LeaseLost({ function: "renew" })))
  })
})

describe("an ambiguous failure", () => {
  const usage = { ...noUsage, inputTokens: 3 }
  const ambiguous = new TurnAmbiguous({ detail: "internal error", usage, responseId: "resp_1" })
  const causes: ReadonlyArray<readonly [RunCause, TurnFailure["_tag"]]> = [
    [{ _tag: "ContextOverflow", detail: "too long" }, "ContextOverflow"],
    [{ _tag: "Stopped" }, "TurnStopped"],
    [{ _tag: "Silent", detail: "no text" }, "TurnSilent"],
    [{ _tag: "ProviderFailed", detail: "429" }, "ProviderFailed"],
    [{ _tag: "Recovering", detail: "SessionWorkStartChangedError" }, "GatewayRestarted"],
    [{ _tag: "Disconnected" }, "TurnAmbiguous"],
    [{ _tag: "Completed" }, "TurnAmbiguous"]
  ]
  it.each(causes)("is classified by the cause $_tag", (cause, tag) => {
    const found = failureByCause(ambiguous, cause)
    assert.strictEqual(found._tag, tag)
    if (tag !== "GatewayRestarted") assert.deepStrictEqual("usage" in found ? found.usage : undefined, usage)
    if ("detail" in cause) assert.include(found.detail, cause.detail)
  })
})
