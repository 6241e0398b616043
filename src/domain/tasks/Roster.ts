import { Schema } from "effect"
import { Flags } from "../delivery/DeliveryContext.ts"

/** An agent in the control plane's roster. */
export const RosterAgent = Schema.Struct({
  id: Schema.String,
  slug: Schema.String,
  name: Schema.String,
  role: Schema.String,
  isOrchestrator: Schema.Boolean,
  /** A person has paused it: it gets no turns and no heartbeats. */
  isPaused: Schema.Boolean,
  flags: Flags,
  /** Minutes between heartbeats, or a cron expression in UTC. */
  heartbeat: Schema.Union([Schema.Finite, Schema.String]),
  model: Schema.NullOr(Schema.String)
})
export type RosterAgent = typeof RosterAgent.Type

/** The account's agents; the revision grows with every change of agents, skills or the account's settings. */
export const Roster = Schema.Struct({
  revision: Schema.Finite,
  /** Absent in the answers of earlier deployments. */
  accountName: Schema.optionalKey(Schema.String),
  agents: Schema.Array(RosterAgent)
})
export type Roster = typeof Roster.Type

/** The differences between two rosters, by agent. */
export interface RosterChange {
  readonly added: ReadonlyArray<RosterAgent>
  /** In their new state. */
  readonly changed: ReadonlyArray<RosterAgent>
  readonly removed: ReadonlyArray<RosterAgent>
}

const isSame = (left: RosterAgent, right: RosterAgent): boolean => JSON.stringify(left) === JSON.stringify(right)

/** Compares two rosters. Without an earlier one, all agents are new. */
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
