import { describe, expect, it } from "vitest"
import { formatServiceToken, parseServiceToken, serviceTokenProblem } from "../../../src/domain/shared/ServiceToken.ts"

const secret = "0123456789abcdef".repeat(4)

describe("a service token", () => {
  it("is read back into account and secret, also if the account contains underscores", () => {
    for (const accountId of ["k57abc", "a_b_c"]) {
      const token = formatServiceToken({ accountId, secret })
      expect(parseServiceToken(token)).toEqual({ accountId, secret })
      expect(serviceTokenProblem(token)).toBeNull()
    }
  })

  it.each([
    ["", "is empty"],
    [` mc_service_a_${secret}`, "contains white space"],
    [`mc_service_a_${secret}\n`, "contains white space"],
    [`mc_service_a.b_${secret}`, "has an account that is not an id"],
    [`"mc_service_a_${secret}`, "contains a quotation mark"],
    ["sk-123", "does not start with mc_service_"],
    [`mc_service_${secret}`, "has no account: the form is mc_service_{accountId}_{64 hex}"],
    ["mc_service_a_123", "does not end with 64 lower-case hexadecimal digits"],
    [`mc_service_a_${secret.toUpperCase()}`, "does not end with 64 lower-case hexadecimal digits"],
    [`mc_service_a b_${secret}`, "contains white space"]
  ])("says of %j what is wrong without repeating it", (text, problem) => {
    expect(parseServiceToken(text)).toBeNull()
    expect(serviceTokenProblem(text)).toBe(problem)
  })
})
