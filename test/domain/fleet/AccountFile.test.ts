import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { readAccountFile } from "../../../src/domain/fleet/AccountFile.ts"

const problemsOf = (value: unknown): ReadonlyArray<string> =>
  Result.match(readAccountFile(value), { onFailure: (problems) => problems, onSuccess: () => [] })

describe("an account's file", () => {
  it("needs only a key and a name", () => {
    assert.deepStrictEqual(
      readAccountFile({ key: "acme", name: "Acme" }),
      Result.succeed({ key: "acme", name: "Acme" })
    )
  })

  it("is refused with each problem, its field and the fix", () => {
    const value = {
      key: "",
      timezone: "UTC",
      members: [{ tokenIdentifier: "https://login.example.com|pat", name: "Pat", role: "boss" }],
      agents: [
        { slug: "engineer", name: "Engineer", flags: { canFly: true } },
        { slug: "qa", name: "QA", heartbeat: true, isOrchestrator: 1 }
      ],
      budgets: [{ period: "day", unit: "usd" }],
      policies: {},
      serviceToken: "runtime"
    }
    assert.sameMembers(
      [...problemsOf(value)],
      [
        "key must be a text that is not empty",
        "name is missing: add it",
        "timezone is not a field here: remove it, or correct its name",
        'members[0].role must be "owner", "admin" or "member"',
        "agents[0].flags.canFly is not a field here: remove it, or correct its name",
        "agents[1].heartbeat must be a number or a text",
        "agents[1].isOrchestrator must be true or false",
        "budgets[0].limit is missing: add it",
        "policies must be a list",
        "serviceToken must be an object"
      ]
    )
    assert.lengthOf(problemsOf([]), 1)
  })
})
