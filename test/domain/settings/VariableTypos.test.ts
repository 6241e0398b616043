import { assert, describe, it } from "@effect/vitest"
import { allVariables } from "../../../src/domain/settings/Variables.ts"
import { variableTypos } from "../../../src/domain/settings/VariableTypos.ts"

describe("names of the environment that were meant to be variables", () => {
  it("are pointed out when they are two steps or less away, whatever their case", () => {
    const cases: ReadonlyArray<readonly [string, string]> = [
      ["ACOUNT_ID", "ACCOUNT_ID"],
      ["CONVEXURL", "CONVEX_URL"],
      ["SERVICE_TOKENS", "SERVICE_TOKEN"],
      ["SERVICE_TOKEN_FIEL", "SERVICE_TOKEN_FILE"],
      ["log_level", "LOG_LEVEL"],
      ["OPENCLAW_GATEWAY_ULR", "OPENCLAW_GATEWAY_URL"],
      ["DELIVERY_LEASE", "DELIVERY_LEASE_MS"]
    ]
    for (const [name, meant] of cases) {
      assert.deepStrictEqual(variableTypos([name]), [
        `${name} is set, but no such variable is read: did you mean ${meant}?`
      ])
    }
  })

  it("are pointed out when they begin as only ours do", () => {
    assert.lengthOf(variableTypos(["DELIVERY_SOMETHING_ENTIRELY_DIFFERENT"]), 1)
  })

  it("are files of what is no secret", () => {
    assert.deepStrictEqual(variableTypos(["ACCOUNT_ID_FILE"]), [
      "ACCOUNT_ID_FILE is set, but only secrets are read from files: set ACCOUNT_ID itself"
    ])
  })

  it("are none of the variables themselves, of their files, or of anything else that runs on a machine", () => {
    const ours = allVariables.flatMap(([name, { kind }]) => (kind === "secret" ? [name, `${name}_FILE`] : [name]))
    const others = ["PATH", "HOME", "HOSTNAME", "LANG", "LOGNAME", "SHELL", "TERM", "PWD", "NO_COLOR", "NODE_OPTIONS"]
    const gateways = ["OPENCLAW_HOME", "OPENCLAW_NO_RESPAWN", "OPENCLAW_SKIP_CHANNELS", "OTEL_SDK_DISABLED", "CI"]
    assert.deepStrictEqual(variableTypos([...ours, ...others, ...gateways]), [])
  })
})
