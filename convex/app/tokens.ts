import { v } from "convex/values"
import { ownRow } from "../model/access/ownRow.ts"
import { managerMutation, managerQuery } from "../model/access/personFunctions.ts"
import { refusal } from "../model/access/refusal.ts"
import { provisionToken } from "../model/access/tokens.ts"
import { recordActivity } from "../model/accounts/activities.ts"
import { actor } from "../tables/actor.ts"

/**
 * Creates a service token and returns its text this one time. Earlier tokens stay valid, so that the runtime can
 * receive the new one first. For owners and admins. Reads the membership.
 */
export const provision = managerMutation({
  args: { label: v.optional(v.string()) },
  returns: v.object({ id: v.string(), serviceToken: v.string() }),
  handler: (ctx, { label }) => provisionToken(ctx, ctx.accountId, label ?? "runtime", ctx.actor)
})

/** Revokes a token. Open subscriptions with it fail at once. For owners and admins. Reads the token's row. */
export const revoke = managerMutation({
  args: { id: v.string() },
  returns: v.null(),
  handler: async (ctx, args) => {
    const token = await ownRow(ctx, "serviceTokens", ctx.accountId, args.id)
    if (token === null) {
      throw refusal("not_found", "The account has no service token with this id. List its tokens.")
    }
    if (token.revokedAt !== undefined) return null
    await ctx.db.patch("serviceTokens", token._id, { revokedAt: Date.now() })
    await recordActivity(ctx, {
      accountId: ctx.accountId,
      type: "token_revoked",
      actor: ctx.actor,
      summary: `service token "${token.label}" revoked`
    })
    return null
  }
})

/** The account's tokens without their secrets. For owners and admins. Reads one row each. */
export const list = managerQuery({
  args: {},
  returns: v.array(
    v.object({
      id: v.string(),
      label: v.string(),
      createdBy: actor,
      createdAt: v.number(),
      revokedAt: v.union(v.number(), v.null())
    })
  ),
  handler: async (ctx) => {
    const tokens = await ctx.db
      .query("serviceTokens")
      .withIndex("by_account", (q) => q.eq("accountId", ctx.accountId))
      .order("desc")
      .take(200)
    return tokens.map((token) => ({
      id: token._id,
      label: token.label,
      createdBy: token.createdBy,
      createdAt: token._creationTime,
      revokedAt: token.revokedAt ?? null
    }))
  }
})
