import { type Infer, v } from "convex/values"
import type { Actor } from "../../tables/actor.ts"

/** The runtime's settings for the effects of its runs. Each call of a run passes them. */
export const runSettings = v.object({
  /** The maximum number of agents' turns in a chain. */
  maxHops: v.number(),
  /** How long agents' updates wait for quiet, and the maximum wait, in milliseconds; 0 for no wait. */
  quietTimeMs: v.number(),
  quietLimitMs: v.number()
})
export type RunSettings = Infer<typeof runSettings>

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
