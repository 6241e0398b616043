import { assert, describe, it } from "@effect/vitest"
import { budgetTables } from "../../../src/domain/usage/UsageReport.ts"

const until = Date.UTC(2026, 2, 8)
const account = { scope: "account", name: null, period: "day", unit: "tokens", limit: 1_000, until } as const

describe("the tables of budgets", () => {
  it("show the usage, its effect, and the held work with its time", () => {
    const budgets = [
      { ...account, spent: 799 },
      { ...account, spent: 800 },
      { ...account, spent: 900 },
      { scope: "agent", name: "qa", period: "lifetime", unit: "usd", limit: 5, spent: 5.5, until: null } as const
    ]
    const held = [
      { agent: "qa", task: "Fix it", reason: "100 % of it is used", until: null },
      { agent: "lead", task: "Plan it", reason: "90 % of it is used", until }
    ]
    assert.strictEqual(
      budgetTables({ budgets, held }),
      `BUDGET OF  PERIOD    USED                 SHARE  ENDS                  EFFECT
account    day       799 of 1,000 tokens  79 %   2026-03-08T00:00:00Z
account    day       800 of 1,000 tokens  80 %   2026-03-08T00:00:00Z  heartbeats and updates wait
account    day       900 of 1,000 tokens  90 %   2026-03-08T00:00:00Z  work that agents started waits
agent qa   lifetime  $5.50 of $5.00       110 %  never                 all work waits

HELD  TASK     UNTIL                 REASON
qa    Fix it   the budget is raised  100 % of it is used
lead  Plan it  2026-03-08T00:00:00Z  90 % of it is used`
    )
  })

  it("are empty without budgets", () => {
    assert.strictEqual(budgetTables({ budgets: [], held: [] }), "")
  })
})
