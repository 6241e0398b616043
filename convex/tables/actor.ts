import { type Infer, v } from "convex/values"

/** Who wrote or caused something, with their name at that time, so that a removed agent keeps its name. */
export const actor = v.object({
  type: v.union(v.literal("person"), v.literal("agent"), v.literal("system")),
  id: v.union(v.string(), v.null()),
  name: v.string(),
  slug: v.union(v.string(), v.null())
})
export type Actor = Infer<typeof actor>
