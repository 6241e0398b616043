import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import {
  conditionProblem,
  judgeCall,
  policedTools,
  policyEffects,
  type PolicedCall,
  type ToolPolicy
} from "../../../src/domain/shared/ToolPolicy.ts"
import { allTools } from "../../../src/services/tools/AllTools.ts"

/** Few values, so that policies often apply to the call and to each other's calls. */
const Policies = Schema.Array(
  Schema.Struct({
    tool: Schema.Literals(["task_update", "task_delete"]),
    effect: Schema.Literals(policyEffects),
    whom: Schema.Literals(["agent", "other agent", "role", "other role", "account"]),
    when: Schema.NullOr(Schema.Literals(["status=done", "priority=1", "assignee=outside"]))
  })
)
const Call = Schema.Struct({
  tool: Schema.Literals(["task_update", "task_delete"]),
  status: Schema.Literals(["done", "review"]),
  priority: Schema.Literals([1, 2]),
  hasOutsideAssignee: Schema.Boolean
})

const scopes = {
  agent: { agentId: "a1" },
  "other agent": { agentId: "a2" },
  role: { role: "Engineer" },
  "other role": { role: "Writer" },
  account: {}
}
const toPolicy = ({ effect, tool, when, whom }: (typeof Policies.Type)[number]): ToolPolicy => ({
  tool,
  effect,
  ...scopes[whom],
  ...(when === null ? {} : { when })
})
const toCall = (call: typeof Call.Type): PolicedCall => ({ ...call, agentId: "a1", role: " engineer" })

/** The rule written a second time, level by level. */
const expected = (policies: ReadonlyArray<ToolPolicy>, call: PolicedCall) => {
  const met: Readonly<Record<string, boolean>> = {
    "status=done": call.status === "done",
    "priority=1": call.priority === 1,
    "assignee=outside": call.hasOutsideAssignee === true
  }
  const ofTool = policies.filter(({ tool }) => tool === call.tool)
  const levels = [
    ofTool.filter(({ agentId }) => agentId === "a1"),
    ofTool.filter(({ role }) => role === "Engineer"),
    ofTool.filter(({ agentId, role }) => agentId === undefined && role === undefined)
  ].flatMap((level) => [
    level.filter(({ when }) => when !== undefined && met[when] === true),
    level.filter(({ when }) => when === undefined)
  ])
  const deciding = levels.find((level) => level.length > 0) ?? []
  const effects = deciding.map(({ effect }) => effect)
  return effects.includes("deny") ? "deny" : effects.includes("ask") ? "ask" : "allow"
}

describe("the policy that decides about a call", () => {
  it.prop(
    "is the most specific one, and the strictest of equally specific ones",
    { policies: Policies, call: Call },
    ({ call, policies }) => {
      const all = policies.map(toPolicy)
      assert.strictEqual(judgeCall(all, toCall(call)).effect, expected(all, toCall(call)))
    }
  )

  it.prop("does not depend on the order of the policies", { policies: Policies, call: Call }, ({ call, policies }) => {
    const all = policies.map(toPolicy)
    const { effect } = judgeCall(all, toCall(call))
    assert.strictEqual(judgeCall(all.toReversed(), toCall(call)).effect, effect)
  })

  it.prop(
    "is never one of another agent, another role or another tool",
    { policies: Policies, call: Call },
    ({ call, policies }) => {
      const { policy } = judgeCall(policies.map(toPolicy), toCall(call))
      if (policy === null) return
      assert.strictEqual(policy.tool, call.tool)
      assert.notStrictEqual(policy.agentId, "a2")
      assert.notStrictEqual(policy.role, "Writer")
    }
  )

  it("is none without policies: the call is allowed", () => {
    assert.deepStrictEqual(judgeCall([], { tool: "task_delete", agentId: "a1", role: "" }), {
      effect: "allow",
      policy: null
    })
  })

  it("lets an agent do what its role and the account may not", () => {
    const policies: ReadonlyArray<ToolPolicy> = [
      { tool: "task_delete", effect: "deny" },
      { tool: "task_delete", effect: "ask", role: "lead" },
      { tool: "task_delete", effect: "allow", agentId: "a1" }
    ]
    const effectFor = (agentId: string, role: string) =>
      judgeCall(policies, { tool: "task_delete", agentId, role }).effect
    assert.deepStrictEqual(
      [effectFor("a1", "Lead"), effectFor("a2", "Lead"), effectFor("a2", "QA")],
      ["allow", "ask", "deny"]
    )
  })
})

describe("the tools that policies restrict", () => {
  it("are those that change data", () => {
    const changing = allTools.filter(({ isEffect }) => isEffect).map(({ name }) => name)
    assert.deepStrictEqual(policedTools.toSorted(), changing.toSorted())
  })
})

describe("a condition", () => {
  it("is refused if no call of the tool could meet it", () => {
    assert.isNull(conditionProblem("task_status", "status=done"))
    assert.isNull(conditionProblem("task_create", "priority=1"))
    assert.isNull(conditionProblem("task_assign", "assignee=outside"))
    assert.match(conditionProblem("task_delete", "status=done") ?? "", /task_delete has no argument status/)
    for (const when of ["status=finished", "priority=6", "toString=1", "done", ""]) {
      assert.match(conditionProblem("task_update", when) ?? "", /There is no such condition/)
    }
  })
})
