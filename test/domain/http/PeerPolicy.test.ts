import { assert, describe, it } from "@effect/vitest"
import { hostsOf, peerProblem } from "../../../src/domain/http/PeerPolicy.ts"
import { loopback } from "../../../src/domain/settings/AddressList.ts"

const own = ["localhost", "127.0.0.1", "::1"]

describe("the names of this process", () => {
  const cases: ReadonlyArray<readonly [string, string, ReadonlyArray<string>]> = [
    ["127.0.0.1", "http://127.0.0.1:3000", own],
    ["0.0.0.0", "http://runtime:3000", [...own, "runtime"]],
    ["::", "http://[fd00::5]:3000", [...own, "fd00::5"]],
    ["::1", "http://localhost:3000", own],
    ["[fd00::7]", "https://Runtime.Example/base", [...own, "fd00::7", "runtime.example"]],
    ["10.1.2.3", "http://10.1.2.3:3000", [...own, "10.1.2.3"]],
    ["runtime.internal", "http://127.0.0.1:3000", [...own, "runtime.internal"]]
  ]
  for (const [listensOn, baseUrl, names] of cases) {
    it(`are ${names.slice(3).join(" and ") || "this machine's alone"} and this machine's when it listens on ${listensOn}, reached by ${baseUrl}`, () => {
      assert.sameMembers([...hostsOf(listensOn, baseUrl)], [...names])
    })
  }
})

describe("a peer", () => {
  const rules = { allow: loopback, hosts: hostsOf("127.0.0.1", "http://runtime:3000") }
  const good = { remoteAddress: "127.0.0.1", host: "runtime:3000", origin: undefined }

  it("of this machine, by a name of this process and without an Origin has no problem", () => {
    assert.isNull(peerProblem(rules, good))
  })

  it("gets the first of its problems: address, host, origin", () => {
    assert.include(
      peerProblem(rules, { remoteAddress: undefined, host: undefined, origin: "null" }),
      "AGENT_HTTP_ALLOW"
    )
    assert.include(peerProblem(rules, { ...good, host: undefined, origin: "null" }), "TASK_STATUS_BASE_URL")
    assert.include(peerProblem(rules, { ...good, origin: "null" }), "Origin")
  })

  for (const host of [
    "",
    " ",
    "evil.example",
    "runtime.evil.example",
    "runtime:port",
    "a@runtime",
    "runtime/x",
    "[::1",
    "🙂"
  ]) {
    it(`is not served under the host ${JSON.stringify(host)}`, () => {
      assert.include(peerProblem(rules, { ...good, host }), "host name")
    })
  }
})
