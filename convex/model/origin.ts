import type { Actor } from "./actor.ts"

/** How many turns agents may set off in a row unless a runtime says otherwise; a person's act starts again at 0. */
export const defaultMaxHops = 12

/** Who caused a change, and how far down a chain of agents' turns it is. */
export interface Origin {
  readonly actor: Actor
  /** The hops of the events it causes: 0 for a person, the run's hops + 1 for an agent. */
  readonly hops: number
  readonly maxHops: number
}

/** What a person does starts a chain of its own. */
export const personOrigin = (actor: Actor): Origin => ({ actor, hops: 0, maxHops: defaultMaxHops })
