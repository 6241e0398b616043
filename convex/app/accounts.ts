import { v } from "convex/values"
import { mutation, query } from "../_generated/server.js"
import { managerMutation, memberQuery, signedIn } from "../model/access/personFunctions.ts"
import { accountSettings, configureAccount, insertAccount, mustBeName } from "../model/accounts/accounts.ts"
import { recordActivity } from "../model/accounts/activities.ts"
import { personActor } from "../model/accounts/actor.ts"
import { insertMember } from "../model/accounts/members.ts"
import { accountOf } from "../model/agents/agents.ts"
import { pauseOf } from "../model/queue/pauses.ts"
import { isOnline } from "../model/runtimes/runtimes.ts"
import { flagSettings, role, sessionScope } from "../tables/accounts.ts"
import { tokenPrice } from "../tables/usage.ts"

/** Creates an account whose owner is the caller, with a daily budget. For anyone signed in. Reads nothing. */
export const create = mutation({
  args: { name: v.string() },
  returns: v.object({ accountId: v.string(), memberId: v.string() }),
  handler: async (ctx, args) => {
    const identity = await signedIn(ctx)
    const accountId = await insertAccount(ctx, args.name)
    const name = mustBeName(identity.name ?? identity.nickname ?? "Owner")
    const { tokenIdentifier } = identity
    const memberId = await insertMember(ctx, accountId, { tokenIdentifier, name, role: "owner" })
    await recordActivity(ctx, {
      accountId,
      type: "account_created",
      actor: personActor({ _id: memberId, name }),
      summary: "account created"
    })
    return { accountId, memberId }
  }
})

/** The accounts of which the caller is a member. For anyone signed in. Reads two rows per account. */
export const list = query({
  args: {},
  returns: v.array(v.object({ accountId: v.string(), name: v.string(), role })),
  handler: async (ctx) => {
    const identity = await signedIn(ctx)
    const memberships = await ctx.db
      .query("members")
      .withIndex("by_identity", (q) => q.eq("tokenIdentifier", identity.tokenIdentifier))
      .take(100)
    const accounts = []
    for (const membership of memberships) {
      const account = await ctx.db.get("accounts", membership.accountId)
      if (account !== null) accounts.push({ accountId: account._id, name: account.name, role: membership.role })
    }
    return accounts
  }
})

/** The account with its settings, and whether a runtime serves it. For members. Reads four rows. */
export const get = memberQuery({
  args: {},
  returns: v.object({
    id: v.string(),
    name: v.string(),
    agentFlags: flagSettings,
    sessionScope,
    briefing: v.union(v.string(), v.null()),
    timeZone: v.string(),
    prices: v.array(v.object({ model: v.string(), price: tokenPrice })),
    rosterRevision: v.number(),
    isOnline: v.boolean(),
    isPaused: v.boolean()
  }),
  handler: async (ctx) => {
    const account = await accountOf(ctx, ctx.accountId)
    return {
      id: account._id,
      name: account.name,
      agentFlags: account.agentFlags,
      sessionScope: account.sessionScope,
      briefing: account.briefing,
      timeZone: account.timeZone,
      prices: account.prices,
      rosterRevision: account.rosterRevision,
      isOnline: await isOnline(ctx, ctx.accountId),
      isPaused: (await pauseOf(ctx, ctx.accountId)) !== null
    }
  }
})

/**
 * Changes the given settings. A new session scope applies to notifications created from now on, a time zone or price to
 * usage from now on. For owners and admins. Reads two rows.
 */
export const configure = managerMutation({
  args: accountSettings.fields,
  returns: v.null(),
  handler: async (ctx, args): Promise<null> => {
    await configureAccount(ctx, await accountOf(ctx, ctx.accountId), args, ctx.actor)
    return null
  }
})
