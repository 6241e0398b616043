import { Schema } from "effect"
import { Flags } from "../delivery/DeliveryContext.ts"

/** An agent as the control plane's roster names it. */
export const RosterAgent = Schema.Struct({
  id: Schema.String,
  slug: Schema.String,
  name: Schema.String,
  role: Schema.String,
  isOrchestrator: Schema.Boolean,
  /** A person paused it: it gets no turn and no heartbeat. */
  isPaused: Schema.Boolean,
  flags: Flags,
  /** Minutes between heartbeats, or a cron expression in UTC. */
  heartbeat: Schema.Union([Schema.Finite, Schema.String]),
  model: Schema.NullOr(Schema.String)
})
export type RosterAgent = typeof RosterAgent.Type

/** The account's agents; the revision grows with every change of agents, skills or flags. */
export const Roster = Schema.Struct({ revision: Schema.Finite, agents: Schema.Array(RosterAgent) })
export type Roster = typeof Roster.Type

/** What is different in a roster from an earlier one, by agent. */
export interface RosterChange {
  readonly added: ReadonlyArray<RosterAgent>
  /** As they are now. */
  readonly changed: ReadonlyArray<RosterAgent>
  readonly removed: ReadonlyArray<RosterAgent>
}

const isSame = (left: RosterAgent, right: RosterAgent): boolean => JSON.stringify(left) === JSON.stringify(right)

/** Compares two rosters; all agents of the first one are added. */
export const rosterChange = (before: Roster | null, after: Roster): RosterChange => {
  const known = new Map((before?.agents ?? []).map((agent) => [agent.id, agent]))
  const ids = new Set(after.agents.map(({ id }) => id))
  return {
    added: after.agents.filter(({ id }) => !known.has(id)),
    changed: after.agents.filter((agent) => {
      const earlier = known.get(agent.id)
      return earlier !== undefined && !isSame(earlier, agent)
    }),
    removed: [...known.values()].filter(({ id }) => !ids.has(id))
  }
}
