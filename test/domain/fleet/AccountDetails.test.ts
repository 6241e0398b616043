import { assert, describe, it } from "@effect/vitest"
import { describeAccount } from "../../../src/domain/fleet/AccountDetails.ts"
import type { AccountDetails } from "../../../src/domain/fleet/AccountDetails.ts"

const details: AccountDetails = {
  account: {
    id: "1accounts",
    key: "acme",
    name: "Acme",
    createdAt: 0,
    isPaused: false,
    isBeingDeleted: false,
    runtimes: [
      {
        runtimeId: "r1",
        status: "degraded",
        reasons: ["agent qa: its last deliveries failed", "gateway:\nunreachable"],
        versions: { runtime: "1.0.0", openclaw: null },
        lastPulseAt: 60_000,
        failuresInARow: 3
      }
    ],
    oldestDueAt: null,
    deadLetters: 0,
    usageToday: { weightedTokens: 0, cost: 0 },
    budget: null
  },
  settings: { timeZone: "UTC", sessionScope: "agent", agentFlags: {}, policies: 0 },
  commands: [],
  agents: [],
  members: [],
  tokens: [],
  webhooks: { count: 0, disabled: 0, failing: 0 },
  budgets: [],
  held: [],
  deadLetters: [],
  activities: []
}

describe("an account in detail", () => {
  it("has a separate line for each reason of a runtime", () => {
    assert.deepStrictEqual(describeAccount(details, 90_000).split("\n").slice(-6), [
      "",
      "Runtimes",
      "RUNTIME  STATUS    VERSION  OPENCLAW  SEEN      FAIL  LAST COMMAND",
      "r1       degraded  1.0.0    -         30 s ago  3     -",
      "r1 is degraded: agent qa: its last deliveries failed",
      "r1 is degraded: gateway: unreachable"
    ])
  })
})
