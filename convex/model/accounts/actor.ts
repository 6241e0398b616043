import type { Actor } from "../../tables/actor.ts"

/** The control plane as an actor. */
export const systemActor: Actor = { type: "system", id: null, name: "Mission Control", slug: null }

/** An agent as an actor. */
export const agentActor = (agent: { readonly _id: string; readonly name: string; readonly slug: string }): Actor => ({
  type: "agent",
  id: agent._id,
  name: agent.name,
  slug: agent.slug
})

/** A member of the account as an actor. */
export const personActor = (member: { readonly _id: string; readonly name: string }): Actor => ({
  type: "person",
  id: member._id,
  name: member.name,
  slug: null
})
