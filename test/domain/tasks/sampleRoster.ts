import type { Roster, RosterAgent } from "../../../src/domain/tasks/Roster.ts"
import { defaultFlags } from "../delivery/sampleContext.ts"

/** An agent whose id, slug and name are the same. */
export const agentOf = (id: string, changes: Partial<RosterAgent> = {}): RosterAgent => ({
  id,
  slug: id,
  name: id,
  role: "works",
  isOrchestrator: false,
  isPaused: false,
  flags: defaultFlags,
  heartbeat: 15,
  model: null,
  ...changes
})

export const rosterOf = (revision: number, agents: ReadonlyArray<RosterAgent>): Roster => ({ revision, agents })
