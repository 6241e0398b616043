import { v } from "convex/values"
import { internal } from "../_generated/api.js"
import { ownRow } from "../model/access/ownRow.ts"
import { managerMutation, memberQuery } from "../model/access/personFunctions.ts"
import { refusal } from "../model/access/refusal.ts"
import { recordActivity } from "../model/accounts/activities.ts"
import { memberOf, putMember } from "../model/accounts/members.ts"
import { endSubscriptions } from "../model/tasks/subscriptions.ts"
import { role } from "../tables/accounts.ts"

/** The account's members. For members. Reads one row each. */
export const list = memberQuery({
  args: {},
  returns: v.array(v.object({ id: v.string(), name: v.string(), role })),
  handler: async (ctx) => {
    const members = await ctx.db
      .query("members")
      .withIndex("by_account", (q) => q.eq("accountId", ctx.accountId))
      .take(1_000)
    return members.map((member) => ({ id: member._id, name: member.name, role: member.role }))
  }
})

/**
 * Adds the person with this identity, or changes their name and role. Only an owner can add or change owners. For
 * owners and admins. Reads two rows.
 */
export const add = managerMutation({
  args: { tokenIdentifier: v.string(), name: v.string(), role },
  returns: v.object({ memberId: v.string() }),
  handler: async (ctx, args) => {
    const found = await memberOf(ctx, ctx.accountId, args.tokenIdentifier)
    if ((args.role === "owner" || found?.role === "owner") && ctx.member.role !== "owner") {
      throw refusal("forbidden", "Only an owner can add or change owners. Ask an owner.")
    }
    if (found?._id === ctx.member._id && args.role !== found.role) {
      throw refusal("invalid", "You cannot change your own role. Ask another owner.")
    }
    return { memberId: await putMember(ctx, ctx.accountId, args, ctx.actor) }
  }
})

/**
 * Removes a member and deletes their subscriptions, 200 in this transaction and the rest in scheduled batches. For
 * owners and admins. Reads the member's row and those subscriptions.
 */
export const remove = managerMutation({
  args: { memberId: v.string() },
  returns: v.null(),
  handler: async (ctx, args): Promise<null> => {
    const member = await ownRow(ctx, "members", ctx.accountId, args.memberId)
    if (member === null) {
      throw refusal("not_found", "The account has no member with this id. List its members.")
    }
    if (member._id === ctx.member._id) throw refusal("invalid", "You cannot remove yourself. Ask another owner.")
    if (member.role === "owner" && ctx.member.role !== "owner") {
      throw refusal("forbidden", "Only an owner can remove owners. Ask an owner.")
    }
    await ctx.db.delete("members", member._id)
    if (await endSubscriptions(ctx, { memberId: member._id })) {
      await ctx.scheduler.runAfter(0, internal.scheduled.removals.member, { memberId: member._id })
    }
    await recordActivity(ctx, {
      accountId: ctx.accountId,
      type: "member_removed",
      actor: ctx.actor,
      summary: `${member.name} is no longer a member`
    })
    return null
  }
})
