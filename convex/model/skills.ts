import { type Infer, v } from "convex/values"
import type { Id } from "../_generated/dataModel.js"
import type { QueryCtx } from "../_generated/server.js"

/** A skill as agents get it. */
export const skillView = v.object({
  id: v.string(),
  slug: v.string(),
  name: v.string(),
  description: v.string(),
  content: v.string()
})

/** The enabled ones of these skills, each once, by slug. Reads one row each. */
export const skillsOf = async (
  ctx: Pick<QueryCtx, "db">,
  skillIds: ReadonlyArray<Id<"skills">>
): Promise<Array<Infer<typeof skillView>>> => {
  const views: Array<Infer<typeof skillView>> = []
  for (const id of new Set(skillIds)) {
    const skill = await ctx.db.get("skills", id)
    if (skill === null || !skill.isEnabled) continue
    const { slug, name, description, content } = skill
    views.push({ id, slug, name, description, content })
  }
  return views.toSorted((left, right) => (left.slug < right.slug ? -1 : 1))
}
