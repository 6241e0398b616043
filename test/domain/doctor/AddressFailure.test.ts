import { assert, describe, it } from "@effect/vitest"
import { judgeAddress, transportError } from "../../../src/domain/doctor/AddressFailure.ts"
import type { Address, AddressOutcome } from "../../../src/domain/doctor/AddressFailure.ts"

const plain: Address = { url: "http://gateway.example:18789", variable: "OPENCLAW_GATEWAY_URL", server: "the gateway" }
const secure: Address = { url: "https://name-1.convex.cloud", variable: "CONVEX_URL", server: "the deployment" }
const at = (address: Address, url: string): Address => ({ ...address, url })

const failed = (code: string, more: object = {}): AddressOutcome => ({
  _tag: "Failed",
  // As fetch and undici wrap it.
  cause: new TypeError("fetch failed", { cause: Object.assign(new Error(code), { code, ...more }) })
})
const answered = (status: number, more: object = {}): AddressOutcome => ({ _tag: "Answered", status, ...more })

const cases: ReadonlyArray<
  readonly [what: string, Address, AddressOutcome, kind: "down" | "wrong", problem: string, fix: string]
> = [
  [
    "a port without a server",
    plain,
    failed("ECONNREFUSED"),
    "down",
    "nothing listens at gateway.example:18789",
    "runs"
  ],
  [
    "a proxy that refuses the tunnel",
    secure,
    { _tag: "Failed", cause: new TypeError("failed", { cause: new Error("Proxy response (403) !== 200 when") }) },
    "wrong",
    "refuses a connection to name-1.convex.cloud (HTTP 403)",
    "NO_PROXY"
  ],
  ["an unknown host", plain, failed("ENOTFOUND"), "down", "no host is named gateway.example", "DNS"],
  ["a network without a way", plain, failed("EHOSTUNREACH"), "down", "cannot be reached (EHOSTUNREACH)", "runs"],
  [
    "a server that closes",
    plain,
    failed("UND_ERR_SOCKET"),
    "down",
    "without an answer",
    "https://gateway.example:18789"
  ],
  [
    "https to a port of http",
    secure,
    failed("ERR_SSL_WRONG_VERSION_NUMBER"),
    "wrong",
    "does not speak https",
    "http://"
  ],
  ["another protocol", plain, failed("HPE_INVALID_CONSTANT"), "wrong", "does not speak http", "another program"],
  ["an own certificate", secure, failed("DEPTH_ZERO_SELF_SIGNED_CERT"), "wrong", "not trusted", "NODE_EXTRA_CA_CERTS"],
  ["an unknown authority", secure, failed("UNABLE_TO_VERIFY_LEAF_SIGNATURE"), "wrong", "not trusted", "NODE_EXTRA_CA"],
  ["an old certificate", secure, failed("CERT_HAS_EXPIRED"), "wrong", "has expired", "renew"],
  [
    "another host's certificate",
    secure,
    failed("ERR_TLS_CERT_ALTNAME_INVALID"),
    "wrong",
    "another host name",
    "CONVEX_URL"
  ],
  [
    "the same of Node's own agents",
    { ...secure, isProxied: true },
    {
      _tag: "Failed",
      cause: new Error("Failed to establish tunnel to x:443 via http://p:secret@p: HTTP/1.1 407 Auth")
    },
    "wrong",
    "refuses a connection to name-1.convex.cloud (HTTP 407)",
    "HTTPS_PROXY"
  ],
  [
    "a proxy that is down",
    { ...secure, isProxied: true },
    failed("ECONNREFUSED"),
    "down",
    "nothing",
    "check HTTPS_PROXY"
  ],
  ["silence", plain, { _tag: "Silent", within: "2s" }, "down", "does not answer within 2s", "firewall"],
  [
    "a redirect to https",
    at(secure, "http://name-1.convex.cloud"),
    answered(308, { location: "https://name-1.convex.cloud/version" }),
    "wrong",
    "redirects to https://name-1.convex.cloud/version (HTTP 308)",
    "set CONVEX_URL to https://name-1.convex.cloud"
  ],
  [
    "a redirect to a page for signing in",
    plain,
    answered(302, { location: "https://sso.example/login?token=secret" }),
    "wrong",
    "redirects to https://sso.example/login (HTTP 302)",
    "the gateway itself"
  ],
  [
    "a redirect without a target",
    plain,
    answered(301),
    "wrong",
    "redirects to http://gateway.example:18789/",
    "itself"
  ],
  ["a path too many", at(plain, "http://h:1/v1"), answered(404), "wrong", "below /v1 (HTTP 404)", "remove /v1 from"],
  [
    "the address of HTTP actions",
    at(secure, "https://name-1.convex.site"),
    answered(404, { contentType: "text/plain" }),
    "wrong",
    "HTTP actions",
    "https://name-1.convex.cloud"
  ],
  [
    "another server's page",
    plain,
    answered(200, { contentType: "text/html; charset=x" }),
    "wrong",
    "HTTP 200, text/html",
    "host and port"
  ],
  ["a proxy that asks who we are", plain, answered(401), "wrong", "another server", "credentials"],
  [
    "http to a port of https",
    plain,
    answered(400, { contentType: "text/html" }),
    "wrong",
    "HTTP 400",
    "https://gateway"
  ],
  [
    "a proxy before a server that is down",
    plain,
    answered(502),
    "down",
    "a proxy at gateway.example:18789",
    "proxy's log"
  ]
]

describe("the problem of an address", () => {
  for (const [what, address, outcome, kind, problem, fix] of cases) {
    it(`is named for ${what}, with a fix`, () => {
      const failure = judgeAddress(address, outcome)
      assert.strictEqual(failure.kind, kind)
      assert.include(failure.problem, problem)
      assert.include(failure.fix, fix)
      assert.notMatch(`${failure.problem} ${failure.fix}`, /secret|undefined/)
    })
  }
})

describe("the error below a failed request", () => {
  it("distinguishes a connection that was never made from one that broke", () => {
    const errorOf = (code: string, syscall?: string) => Object.assign(new Error(code), { code, syscall })
    assert.isTrue(transportError(errorOf("ETIMEDOUT", "connect")).isBeforeSending)
    assert.isFalse(transportError(errorOf("ETIMEDOUT", "read")).isBeforeSending)
    assert.isTrue(transportError(errorOf("DEPTH_ZERO_SELF_SIGNED_CERT")).isBeforeSending)
    assert.isTrue(transportError(errorOf("ERR_SSL_WRONG_VERSION_NUMBER")).isBeforeSending)
    assert.isFalse(transportError(errorOf("UND_ERR_SOCKET")).isBeforeSending)
    assert.deepStrictEqual(transportError(new AggregateError([errorOf("ECONNREFUSED", "connect")])), {
      code: "ECONNREFUSED",
      isBeforeSending: true
    })
    assert.deepStrictEqual(transportError("a word"), { code: "unknown", isBeforeSending: false })
  })
})
