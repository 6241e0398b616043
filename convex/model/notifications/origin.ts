import type { Actor } from "../../tables/actor.ts"
import type { RunSettings } from "../../tables/runs.ts"

/** Who caused a change, and its position in a chain of agents' turns. */
export interface Origin {
  readonly actor: Actor
  /** The hops of the events it causes: 0 for a person, the run's hops + 1 for an agent. */
  readonly hops: number
  /** The run in which the chain began; absent if a person acted. */
  readonly chain?: string
  readonly settings: RunSettings
}

/** A person's action has no hops and no chain, and its events do not wait. */
export const personOrigin = (actor: Actor): Origin => ({
  actor,
  hops: 0,
  settings: { maxHops: 0, quietTimeMs: 0, quietLimitMs: 0 }
})
