import { type Infer, v } from "convex/values"
import type { Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"

/** A skill as agents see it. */
export const skillView = v.object({
  id: v.string(),
  slug: v.string(),
  name: v.string(),
  description: v.string(),
  content: v.string()
})

/**
 * The enabled skills among these ids, without duplicates, sorted by slug. Reads one row each, until `characters` of
 * content are read.
 */
export const skillsOf = async (
  ctx: Pick<QueryCtx, "db">,
  skillIds: ReadonlyArray<Id<"skills">>,
  characters = Number.POSITIVE_INFINITY
): Promise<Array<Infer<typeof skillView>>> => {
  const views: Array<Infer<typeof skillView>> = []
  let left = characters
  for (const id of new Set(skillIds)) {
    if (left <= 0) break
    const skill = await ctx.db.get("skills", id)
    if (skill === null) continue
    const { slug, name, description, content } = skill
    left -= content.length
    if (skill.isEnabled) views.push({ id, slug, name, description, content })
  }
  return views.toSorted((left, right) => (left.slug < right.slug ? -1 : 1))
}

/** The slugs of the skills with these ids. */
export const slugsOf = (
  skills: ReadonlyArray<Infer<typeof skillView>>,
  ids: ReadonlyArray<Id<"skills">>
): Array<string> => skills.filter((skill) => ids.some((id) => id === skill.id)).map(({ slug }) => slug)
