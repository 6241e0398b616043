import { assert, describe, it } from "@effect/vitest"
import { allVariables } from "../../../src/domain/settings/Variables.ts"
import { variableTypos } from "../../../src/domain/settings/VariableTypos.ts"

describe("names in the environment that were meant to be variables", () => {
  it("are reported at an edit distance of up to two, in any case", () => {
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

  it("are reported if they begin with a prefix that only the runtime uses", () => {
    assert.lengthOf(variableTypos(["DELIVERY_SOMETHING_ENTIRELY_DIFFERENT"]), 1)
  })

  it("include files for variables that are not secrets", () => {
    assert.deepStrictEqual(variableTypos(["ACCOUNT_ID_FILE"]), [
      "ACCOUNT_ID_FILE is set, but only secrets are read from files: set ACCOUNT_ID itself"
    ])
  })

  it("do not include the variables themselves, their files, or other programs' variables", () => {
    const ours = allVariables.flatMap(([name, { kind }]) => (kind === "secret" ? [name, `${name}_FILE`] : [name]))
    const others = ["PATH", "HOME", "HOSTNAME", "LANG", "LOGNAME", "SHELL", "TERM", "PWD", "NO_COLOR", "NODE_OPTIONS"]
    const gateways = ["OPENCLAW_HOME", "OPENCLAW_NO_RESPAWN", "OPENCLAW_SKIP_CHANNELS", "OTEL_SDK_DISABLED", "CI"]
    assert.deepStrictEqual(variableTypos([...ours, ...others, ...gateways]), [])
  })
})
