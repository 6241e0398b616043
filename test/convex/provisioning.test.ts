import type { FunctionArgs } from "convex/server"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { api, internal } from "../../convex/_generated/api.js"
import { codeOf, emptyPlane, refusalOf, seededPlane } from "./controlPlane.ts"
import { rowCounts } from "./everyTable.ts"

const { apply, dryRun } = internal.operator.provisioning
type File = FunctionArgs<typeof apply>["file"]

const file: File = {
  key: "acme",
  name: "Acme",
  timeZone: "Europe/Berlin",
  agentFlags: { canCreateTasks: true },
  members: [{ tokenIdentifier: "https://convex.test|ana", name: "Ana", role: "owner" }],
  agents: [
    { slug: "lead", name: "Squad Lead", role: "Lead", isOrchestrator: true, heartbeat: "0 * * * *" },
    { slug: "engineer", name: "Engineer", model: "anthropic/claude", flags: { canMarkDone: false }, soul: "Careful." }
  ],
  budgets: [
    { period: "day", unit: "usd", limit: 30 },
    { agent: "engineer", period: "month", unit: "usd", limit: 100 }
  ],
  policies: [
    { tool: "task_delete", effect: "ask" },
    { tool: "task_status", effect: "deny", agent: "engineer", when: "status=done" }
  ],
  serviceToken: { label: "runtime" }
}

// Without them the scheduled deletion of an account may end before the next call.
beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout"] }))
afterEach(() => void vi.useRealTimers())

describe("the provisioning of an account", () => {
  it("creates what the file describes, and a token that a runtime can use", async () => {
    const t = emptyPlane()
    const { accountId, changes, serviceToken } = await t.mutation(apply, { file })
    expect(changes).toEqual([
      'create the account "Acme" with the key acme',
      'change the account: timeZone "UTC" -> "Europe/Berlin", agentFlags {} -> {"canCreateTasks":true}',
      'add the member "Ana" as owner',
      "add the agent lead",
      "add the agent engineer",
      "set the day budget of the account to 30 usd",
      "set the month budget of engineer to 100 usd",
      "set the policy task_delete: ask",
      "set the policy task_status: deny for engineer",
      'create the service token "runtime"'
    ])
    const roster = await t.query(api.service.agents.list, { accountId, serviceToken: serviceToken ?? "" })
    expect(roster.agents.map(({ slug }) => slug)).toEqual(["lead", "engineer"])
    const ana = t.withIdentity({ tokenIdentifier: "https://convex.test|ana", subject: "ana", name: "Ana" })
    expect(await ana.query(api.app.budgets.list, { accountId })).toHaveLength(2)
    expect(await ana.query(api.app.policies.list, { accountId })).toHaveLength(2)
    const activities = await ana.query(api.app.activities.list, { accountId })
    expect(activities.length).toBeGreaterThanOrEqual(changes.length - 1)
    expect(new Set(activities.map(({ actor }) => actor.name))).toEqual(new Set(["Operator"]))
  })

  it("changes nothing the second time, and later only what differs", async () => {
    const t = emptyPlane()
    const { accountId } = await t.mutation(apply, { file })
    const before = await rowCounts(t)
    expect(await t.mutation(apply, { file })).toEqual({ accountId, changes: [], serviceToken: null })
    expect(await rowCounts(t)).toEqual(before)
    const [lead, engineer] = file.agents ?? []
    const changed: File = {
      ...file,
      name: "Acme Inc.",
      members: [{ tokenIdentifier: "https://convex.test|ana", name: "Ana B.", role: "owner" }],
      agents: [lead!, { ...engineer!, model: null, soul: "Bold." }],
      budgets: [{ period: "day", unit: "usd", limit: 40 }],
      policies: [{ tool: "task_delete", effect: "deny" }],
      serviceToken: { label: "second" }
    }
    const { changes, serviceToken } = await t.mutation(apply, { file: changed })
    expect(changes).toEqual([
      'change the account: name "Acme" -> "Acme Inc."',
      'change the member "Ana B.": name "Ana" -> "Ana B."',
      'change the agent engineer: model "anthropic/claude" -> null, soul "Careful." -> "Bold."',
      "set the day budget of the account to 40 usd",
      "set the policy task_delete: deny",
      'create the service token "second"'
    ])
    expect(serviceToken).toMatch(/^mc_service_/)
    expect((await t.mutation(apply, { file: changed })).changes).toEqual([])
  })

  it("writes nothing in a dry run, which lists the changes and fails as the provisioning would", async () => {
    const t = emptyPlane()
    const plan = await t.mutation(dryRun, { file })
    expect(plan.createsToken).toBe(true)
    expect(await rowCounts(t)).toEqual({})
    expect((await t.mutation(apply, { file })).changes).toEqual(plan.changes)
    expect(await t.mutation(dryRun, { file })).toEqual({ changes: [], createsToken: false })
    const wrong = (more: Partial<File>) => codeOf(t.mutation(dryRun, { file: { ...file, ...more } }))
    expect(await wrong({ key: "Not a key" })).toBe("invalid")
    expect(await wrong({ timeZone: "Berlin" })).toBe("invalid")
    expect(await wrong({ agents: [{ slug: "x", name: "X", heartbeat: "sometimes" }] })).toBe("invalid")
    expect(await wrong({ budgets: [{ agent: "ghost", period: "day", unit: "usd", limit: 1 }] })).toBe("not_found")
    expect(await wrong({ policies: [{ tool: "task_delete", effect: "ask", agent: "ghost" }] })).toBe("not_found")
    expect(await wrong({ members: Array.from({ length: 101 }, () => file.members![0]!) })).toBe("limit")
    const noOwner = { key: "other", members: [{ ...file.members![0]!, role: "admin" as const }] }
    expect(await wrong(noOwner)).toBe("invalid")
    expect(await rowCounts(t)).toMatchObject({ accounts: 1 })
  })

  it("names the entry that it refuses, and refuses two entries about the same", async () => {
    const t = emptyPlane()
    const refusalFor = (more: Partial<File>) => refusalOf(t.mutation(dryRun, { file: { ...file, ...more } }))
    const budget = { period: "day", unit: "usd", limit: 1 } as const
    const refusals = await Promise.all([
      refusalFor({
        agents: [
          { slug: "x", name: "X" },
          { slug: "Y", name: "Y" }
        ]
      }),
      refusalFor({ budgets: [budget, { ...budget, agent: "ghost" }] }),
      refusalFor({ policies: [{ tool: "task_delete", effect: "ask", when: "blue" }] })
    ])
    const { members = [] } = file
    const same = await Promise.all([
      refusalFor({ members: [...members, { ...members[0]!, role: "admin" }] }),
      refusalFor({
        agents: [
          { slug: "x", name: "X" },
          { slug: "x", name: "Y" }
        ]
      }),
      refusalFor({ budgets: [budget, { ...budget, unit: "tokens" }] }),
      refusalFor({
        policies: [
          { tool: "task_delete", effect: "ask" },
          { tool: "task_delete", effect: "deny" }
        ]
      })
    ])
    const starts = (refusal: object | null) => /^\S+/.exec((refusal as { message: string }).message)?.[0]
    expect(refusals.map(starts)).toEqual(["agents[1]:", "budgets[1]:", "policies[0]:"])
    expect(same).toEqual(
      ["members", "agents", "budgets", "policies"].map((list) => ({
        code: "invalid",
        message: `${list}[1] is about the same as ${list}[0]. Remove one of them.`
      }))
    )
  })

  it("gives the key to an account that people created, and to no other", async () => {
    const plane = await seededPlane()
    const { accountId, t } = plane
    const adopted = { key: "acme", name: "Acme", accountId }
    const { changes } = await t.mutation(apply, { file: adopted })
    expect(changes).toEqual(['give the account "Acme" the key acme'])
    expect((await t.mutation(apply, { file: { key: "acme", name: "Acme" } })).changes).toEqual([])
    expect(await codeOf(t.mutation(apply, { file: { ...adopted, key: "other" } }))).toBe("conflict")
    const other = await plane.secondAccount()
    expect(await codeOf(t.mutation(apply, { file: { ...adopted, accountId: other.accountId } }))).toBe("conflict")
  })

  it("refuses an account that is being deleted", async () => {
    const plane = await seededPlane()
    const { accountId, t } = plane
    await t.mutation(apply, { file: { key: "acme", name: "Acme", accountId } })
    await plane.pulse("r1", "b1", { status: "offline" })
    await t.mutation(internal.operator.accounts.remove, { accountId, name: "Acme" })
    expect(await codeOf(t.mutation(apply, { file }))).toBe("conflict")
  })

  it("of a hundred agents stays within a transaction's limits", async () => {
    const plane = await seededPlane()
    const agents = Array.from({ length: 100 }, (_, count) => ({ slug: `agent${count}`, name: `Agent ${count}` }))
    await plane.t.mutation(apply, { file: { key: "acme", name: "Acme", accountId: plane.accountId, agents } })
    expect(plane.usage().readIntervals).toBeLessThan(2_500)
    expect(plane.usage().documentsRead).toBeLessThan(10_000)
  })
})
