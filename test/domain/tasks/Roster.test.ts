import { assert, describe, it } from "@effect/vitest"
import { rosterChange } from "../../../src/domain/tasks/Roster.ts"
import type { RosterAgent } from "../../../src/domain/tasks/Roster.ts"
import { defaultFlags } from "../delivery/sampleContext.ts"

const agent = (id: string, changes: Partial<RosterAgent> = {}): RosterAgent => ({
  id,
  slug: id,
  name: id,
  role: "",
  isOrchestrator: false,
  isPaused: false,
  flags: defaultFlags,
  heartbeat: 15,
  model: null,
  ...changes
})
const slugs = (agents: ReadonlyArray<RosterAgent>) => agents.map(({ slug }) => slug)

describe("the change of a roster", () => {
  it("names new, changed and removed agents by id", () => {
    const before = { revision: 1, agents: [agent("a"), agent("b"), agent("c", { slug: "worker" })] }
    const after = { revision: 2, agents: [agent("a"), agent("b", { heartbeat: 30 }), agent("d", { slug: "worker" })] }
    const { added, changed, removed } = rosterChange(before, after)
    assert.deepStrictEqual(
      [added, changed, removed].map((list) => list.map(({ id }) => id)),
      [["d"], ["b"], ["c"]]
    )
    assert.strictEqual(changed[0]?.heartbeat, 30)
  })

  it("adds all agents of the first roster, and none of an equal one", () => {
    const roster = { revision: 1, agents: [agent("a"), agent("b")] }
    assert.deepStrictEqual(slugs(rosterChange(null, roster).added), ["a", "b"])
    assert.deepStrictEqual(rosterChange(roster, structuredClone(roster)), { added: [], changed: [], removed: [] })
  })
})
