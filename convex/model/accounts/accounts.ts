import { type Infer, v } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import { flagSettings, sessionScope } from "../../tables/accounts.ts"
import type { Actor } from "../../tables/actor.ts"
import { tokenPrice } from "../../tables/usage.ts"
import { refusal } from "../access/refusal.ts"
import { undrawn } from "../budgets/spendingBook.ts"
import { checkTimeZone } from "../usage/days.ts"
import { checkPrices } from "../usage/usage.ts"
import { recordActivity } from "./activities.ts"

/** The first budget of a new account limits its spending to about $30 a day at $3 per million tokens. */
const firstBudget = { period: "day", unit: "tokens", limit: 10_000_000, ...undrawn } as const

/** The settings of an account that people and operators change. */
export const accountSettings = v.object({
  name: v.optional(v.string()),
  agentFlags: v.optional(flagSettings),
  sessionScope: v.optional(sessionScope),
  briefing: v.optional(v.union(v.string(), v.null())),
  timeZone: v.optional(v.string()),
  prices: v.optional(v.array(v.object({ model: v.string(), price: tokenPrice })))
})
export type AccountSettings = Infer<typeof accountSettings>

/** The name without spaces around it. Fails with `invalid` unless it has 1 to 100 characters. */
export const mustBeName = (name: string): string => {
  const trimmed = name.trim()
  if (trimmed === "" || trimmed.length > 100) throw refusal("invalid", "A name has 1 to 100 characters.")
  return trimmed
}

/** Adds an account with a daily budget. */
export const insertAccount = async (ctx: MutationCtx, name: string, key?: string): Promise<Id<"accounts">> => {
  const accountId = await ctx.db.insert("accounts", {
    name: mustBeName(name),
    agentFlags: {},
    sessionScope: "agent",
    briefing: null,
    timeZone: "UTC",
    prices: [],
    rosterRevision: 1,
    ...(key === undefined ? {} : { key })
  })
  await ctx.db.insert("budgets", { accountId, ...firstBudget })
  return accountId
}

/** Changes the given settings. A new session scope applies to notifications created from now on. */
export const configureAccount = async (
  ctx: MutationCtx,
  account: Doc<"accounts">,
  given: AccountSettings,
  actor: Actor
): Promise<void> => {
  if (typeof given.briefing === "string" && given.briefing.length > 20_000) {
    throw refusal("limit", "The briefing is longer than 20,000 characters. Shorten it.")
  }
  if (given.timeZone !== undefined) checkTimeZone(given.timeZone)
  if (given.prices !== undefined) checkPrices(given.prices)
  const changed = Object.keys(given)
  if (changed.length === 0) return
  await ctx.db.patch("accounts", account._id, {
    ...given,
    ...(given.name === undefined ? {} : { name: mustBeName(given.name) }),
    ...(given.agentFlags === undefined ? {} : { agentFlags: { ...account.agentFlags, ...given.agentFlags } }),
    rosterRevision: account.rosterRevision + 1
  })
  await recordActivity(ctx, {
    accountId: account._id,
    type: "account_configured",
    actor,
    summary: `changed ${changed.join(", ")}`
  })
}
