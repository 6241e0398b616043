import { type Infer, v } from "convex/values"
import type { Actor } from "../../tables/actor.ts"

/** A runtime's settings for what its runs set off; each call of a run carries them. */
export const runSettings = v.object({
  /** How many turns agents may set off in a row. */
  maxHops: v.number(),
  /** For how long agents' updates wait for quiet, and at most; in milliseconds, 0 for not at all. */
  quietTimeMs: v.number(),
  quietLimitMs: v.number()
})
export type RunSettings = Infer<typeof runSettings>

/** Who caused a change, and how far down a chain of agents' turns it is. */
export interface Origin {
  readonly actor: Actor
  /** The hops of the events it causes: 0 for a person, the run's hops + 1 for an agent. */
  readonly hops: number
  /** The run with which the chain began; none for a person's act. */
  readonly chain?: string
  readonly settings: RunSettings
}

/** What a person does starts a chain of its own, and waits for nothing. */
export const personOrigin = (actor: Actor): Origin => ({
  actor,
  hops: 0,
  settings: { maxHops: 0, quietTimeMs: 0, quietLimitMs: 0 }
})
