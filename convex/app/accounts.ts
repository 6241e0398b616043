import { v } from "convex/values"
import { mutation, query } from "../_generated/server.js"
import { managerMutation, memberQuery, signedIn } from "../model/access/personFunctions.ts"
import { refusal } from "../model/access/refusal.ts"
import { recordActivity } from "../model/accounts/activities.ts"
import { personActor } from "../model/accounts/actor.ts"
import { accountOf, nameKey } from "../model/agents/agents.ts"
import { undrawn } from "../model/budgets/spendingBook.ts"
import { pauseOf } from "../model/queue/pauses.ts"
import { isOnline } from "../model/runtimes/runtimes.ts"
import { checkTimeZone } from "../model/usage/days.ts"
import { checkPrices } from "../model/usage/usage.ts"
import { flagSettings, role } from "../tables/accounts.ts"
import { tokenPrice } from "../tables/usage.ts"

const sessionScope = v.union(v.literal("agent"), v.literal("task"))
const prices = v.array(v.object({ model: v.string(), price: tokenPrice }))

/** The first budget of a new account limits its spending to about $30 a day at $3 per million tokens. */
const firstBudget = { period: "day", unit: "tokens", limit: 10_000_000, ...undrawn } as const

const mustBeName = (name: string): string => {
  const trimmed = name.trim()
  if (trimmed === "" || trimmed.length > 100) throw refusal("invalid", "A name has 1 to 100 characters.")
  return trimmed
}

/** Creates an account whose owner is the caller, with a daily budget. For anyone signed in. Reads nothing. */
export const create = mutation({
  args: { name: v.string() },
  returns: v.object({ accountId: v.string(), memberId: v.string() }),
  handler: async (ctx, args) => {
    const identity = await signedIn(ctx)
    const accountId = await ctx.db.insert("accounts", {
      name: mustBeName(args.name),
      agentFlags: {},
      sessionScope: "agent",
      briefing: null,
      timeZone: "UTC",
      prices: [],
      rosterRevision: 1
    })
    const name = mustBeName(identity.name ?? identity.nickname ?? "Owner")
    const memberId = await ctx.db.insert("members", {
      accountId,
      tokenIdentifier: identity.tokenIdentifier,
      name,
      nameKey: nameKey(name),
      role: "owner"
    })
    await ctx.db.insert("budgets", { accountId, ...firstBudget })
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
    prices,
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
  args: {
    name: v.optional(v.string()),
    agentFlags: v.optional(flagSettings),
    sessionScope: v.optional(sessionScope),
    briefing: v.optional(v.union(v.string(), v.null())),
    timeZone: v.optional(v.string()),
    prices: v.optional(prices)
  },
  returns: v.null(),
  handler: async (ctx, args) => {
    const account = await accountOf(ctx, ctx.accountId)
    if (typeof args.briefing === "string" && args.briefing.length > 20_000) {
      throw refusal("limit", "The briefing is longer than 20,000 characters. Shorten it.")
    }
    if (args.timeZone !== undefined) checkTimeZone(args.timeZone)
    if (args.prices !== undefined) checkPrices(args.prices)
    const changed = Object.keys(args)
    if (changed.length === 0) return null
    await ctx.db.patch("accounts", account._id, {
      ...(args.name === undefined ? {} : { name: mustBeName(args.name) }),
      ...(args.agentFlags === undefined ? {} : { agentFlags: { ...account.agentFlags, ...args.agentFlags } }),
      ...(args.sessionScope === undefined ? {} : { sessionScope: args.sessionScope }),
      ...(args.briefing === undefined ? {} : { briefing: args.briefing }),
      ...(args.timeZone === undefined ? {} : { timeZone: args.timeZone }),
      ...(args.prices === undefined ? {} : { prices: args.prices }),
      rosterRevision: account.rosterRevision + 1
    })
    await recordActivity(ctx, {
      accountId: account._id,
      type: "account_configured",
      actor: ctx.actor,
      summary: `changed ${changed.join(", ")}`
    })
    return null
  }
})
