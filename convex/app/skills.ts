import { v } from "convex/values"
import { isAgentSlug } from "../../src/domain/shared/SessionKey.ts"
import type { Doc } from "../_generated/dataModel.js"
import type { QueryCtx } from "../_generated/server.js"
import { ownRow } from "../model/access/ownRow.ts"
import { type Caller, managerMutation, memberQuery } from "../model/access/personFunctions.ts"
import { refusal } from "../model/access/refusal.ts"
import { activeAgents } from "../model/agents/agents.ts"
import { bumpRoster } from "../model/agents/roster.ts"
import { skillView } from "../model/agents/skills.ts"

const maxSkills = 500
const maxContentLength = 100_000

const skillOf = async (ctx: Pick<QueryCtx, "db"> & Caller, skillId: string): Promise<Doc<"skills">> => {
  const skill = await ownRow(ctx, "skills", ctx.accountId, skillId)
  if (skill === null) {
    throw refusal("not_found", "The account has no skill with this id. List its skills.")
  }
  return skill
}

/** The account's skills, sorted by slug. For members. Reads one row each. */
export const list = memberQuery({
  args: {},
  returns: v.array(v.object({ ...skillView.fields, isEnabled: v.boolean() })),
  handler: async (ctx) => {
    const skills = await ctx.db
      .query("skills")
      .withIndex("by_account", (q) => q.eq("accountId", ctx.accountId))
      .take(maxSkills)
    return skills.map(({ _id, slug, name, description, content, isEnabled }) => ({
      id: _id,
      slug,
      name,
      description,
      content,
      isEnabled
    }))
  }
})

/**
 * Creates or replaces the skill with this slug. app/agents:update assigns skills to agents. For owners and admins.
 * Reads two rows.
 */
export const upsert = managerMutation({
  args: {
    slug: v.string(),
    name: v.string(),
    description: v.string(),
    content: v.string(),
    isEnabled: v.optional(v.boolean())
  },
  returns: v.object({ skillId: v.string() }),
  handler: async (ctx, { slug, name, description, content, isEnabled = true }) => {
    if (!isAgentSlug(slug)) {
      throw refusal("invalid", "A slug has 1 to 64 of a-z, 0-9, - and _, and starts with a letter or digit.")
    }
    if (name.trim() === "" || name.length > 100) throw refusal("invalid", "A name has 1 to 100 characters.")
    if (description.length > 1_000 || content.length > maxContentLength) {
      throw refusal("limit", `A skill has at most 1000 characters of description and ${maxContentLength} of content.`)
    }
    const found = await ctx.db
      .query("skills")
      .withIndex("by_account", (q) => q.eq("accountId", ctx.accountId).eq("slug", slug))
      .unique()
    const fields = { name: name.trim(), description, content, isEnabled }
    const skillId = found?._id ?? (await ctx.db.insert("skills", { accountId: ctx.accountId, slug, ...fields }))
    if (found !== null) await ctx.db.patch("skills", found._id, fields)
    await bumpRoster(ctx, ctx.accountId)
    return { skillId }
  }
})

/** Deletes a skill and removes it from every agent. For owners and admins. Reads the roster. */
export const remove = managerMutation({
  args: { skillId: v.string() },
  returns: v.null(),
  handler: async (ctx, { skillId }) => {
    const skill = await skillOf(ctx, skillId)
    for (const agent of await activeAgents(ctx, ctx.accountId)) {
      if (!agent.skillIds.includes(skill._id)) continue
      await ctx.db.patch("agents", agent._id, { skillIds: agent.skillIds.filter((id) => id !== skill._id) })
    }
    await ctx.db.delete("skills", skill._id)
    await bumpRoster(ctx, ctx.accountId)
    return null
  }
})
