import { type Infer, v } from "convex/values"

/** Who wrote or caused something, with the name it had then, so that a removed agent is still named. */
export const actor = v.object({
  type: v.union(v.literal("person"), v.literal("agent"), v.literal("system")),
  id: v.union(v.string(), v.null()),
  name: v.string(),
  slug: v.union(v.string(), v.null())
})
export type Actor = Infer<typeof actor>

/** The control plane itself as an actor. */
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
