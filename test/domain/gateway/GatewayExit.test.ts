import { assert, describe, it } from "@effect/vitest"
import { judgeGatewayExit, reasonOfOutput } from "../../../src/domain/gateway/GatewayExit.ts"

describe("a gateway's end", () => {
  it("by a signal or with any code except 78 is followed by a restart", () => {
    for (const code of [null, 0, 1, 70, 137])
      assert.strictEqual(judgeGatewayExit(code, ["Invalid config"])._tag, "Restart")
  })

  it("with 78 is a fault of the configuration, in the gateway's own words", () => {
    for (const [lines, reason] of [
      [["Missing config. Run `openclaw setup` or set gateway.mode=local"], "Missing config"],
      [
        ["starting", "Invalid config at /x/openclaw.json:", '  <root>: Unrecognized key: "bogus"', "Run doctor"],
        "bogus"
      ],
      [["Refusing to bind gateway to lan without auth."], "Refusing to bind"],
      [["existing config is missing gateway.mode, clobbered config"], "gateway.mode"]
    ] as const) {
      const verdict = judgeGatewayExit(78, lines)
      assert.strictEqual(verdict._tag, "ConfigurationFault", lines.join())
      assert.include(verdict.reason, reason)
    }
  })

  it("with 78 that names an owner or a port is temporary, so the gateway is restarted", () => {
    for (const line of [
      "state dir is owned by another live gateway (pid 12)",
      "another gateway instance is already listening on ws://127.0.0.1:18789",
      "listen EADDRINUSE: address already in use 127.0.0.1:18789",
      "could not get the gateway lock"
    ]) {
      assert.strictEqual(judgeGatewayExit(78, ["boot", line])._tag, "Restart", line)
    }
  })

  it("has the problem as its reason, and not the advice after it", () => {
    assert.strictEqual(
      reasonOfOutput([
        "2026-11-23T00:21:58.871+00:00 [gateway] starting...",
        "2026-11-23T00:22:00.520+00:00 Gateway failed to start: Invalid config at /x/openclaw.json:",
        '<root>: Unrecognized key: "bogus"',
        'Run "openclaw doctor --fix" to repair, then retry.',
        "If startup is still blocked, inspect the adjacent .bak backup before restoring it manually.",
        '2026-11-23T00:22:00.522+00:00 Run "openclaw doctor --fix" to repair the config, then retry.'
      ]),
      'Gateway failed to start: Invalid config at /x/openclaw.json: <root>: Unrecognized key: "bogus"'
    )
  })

  it("has a reason of one line without colours, cut to 300 characters", () => {
    const escape = String.fromCharCode(27)
    assert.strictEqual(reasonOfOutput([`${escape}[31mError:${escape}[0m   no\tway`, ""]), "Error: no way")
    assert.strictEqual(reasonOfOutput([]), "it printed no reason")
    assert.lengthOf(reasonOfOutput(["x".repeat(2_000)]), 300)
  })
})
