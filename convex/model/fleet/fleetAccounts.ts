import { type Infer, v } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { budgetUnit } from "../../tables/budgets.ts"
import { runtimeStatus, versions } from "../../tables/runtimes.ts"
import { refusal } from "../access/refusal.ts"
import { maxAgents } from "../agents/agents.ts"
import { amountOf } from "../budgets/spendingBook.ts"
import { lengthOf, readWithin } from "../database/readWithin.ts"
import { oldestReady } from "../queue/dueWork.ts"
import { pauseOf } from "../queue/pauses.ts"
import { offlineRuntimes, runningRuntimes } from "../runtimes/runtimes.ts"
import { dayIn } from "../usage/days.ts"
import { addUsage, noUsage } from "../usage/usage.ts"

type Reading = Pick<QueryCtx, "db">

/** The number of dead letters up to which they are counted. */
export const maxDeadLetters = 100
/** The number of their characters after which the count ends early. */
const maxDeadLetterLength = 4_000_000
/** The maximum number of runtimes that a list shows of an account. */
const maxRuntimes = 10
/** A long row counts as another row for each of these characters. */
const rowLength = 4_000
/** From this number of failed deliveries in a row on, an account counts as failing, as in the runtime's health. */
const failsAfter = 3

/** What operators list accounts by. */
export const fleetFilter = v.object({
  only: v.optional(v.union(v.literal("failing"), v.literal("offline"), v.literal("paused"), v.literal("dead-letters"))),
  /** A part of the name or the key, in any case. */
  name: v.optional(v.string()),
  /** A version that one of the runtimes has. */
  runtimeVersion: v.optional(v.string()),
  openclawVersion: v.optional(v.string())
})
export type FleetFilter = Infer<typeof fleetFilter>

/** An account with its runtimes and the figures by which an operator finds those that need attention. */
export const fleetAccount = v.object({
  id: v.string(),
  key: v.union(v.string(), v.null()),
  name: v.string(),
  createdAt: v.number(),
  isPaused: v.boolean(),
  isBeingDeleted: v.boolean(),
  /** Those that are not offline, otherwise the offline ones that were seen last; at most ten. */
  runtimes: v.array(
    v.object({
      runtimeId: v.string(),
      status: runtimeStatus,
      reasons: v.array(v.string()),
      versions,
      lastPulseAt: v.number(),
      /** Its failed deliveries since the last one that succeeded, as it last reported; null if it did not. */
      failuresInARow: v.union(v.number(), v.null())
    })
  ),
  /** Since when the oldest due notification waits. */
  oldestDueAt: v.union(v.number(), v.null()),
  /** At most 100, which means 100 or more. */
  deadLetters: v.number(),
  /** Today in the account's time zone. */
  usageToday: v.object({ weightedTokens: v.number(), cost: v.number() }),
  /** The account's daily budget, with what was spent of it in its unit. */
  budget: v.union(v.object({ unit: budgetUnit, limit: v.number(), spent: v.number() }), v.null())
})
export type FleetAccount = Infer<typeof fleetAccount>

/** The account with this id. Fails with `not_found` if there is none. */
export const fleetAccountOf = async (ctx: Reading, accountId: string): Promise<Doc<"accounts">> => {
  const id = ctx.db.normalizeId("accounts", accountId)
  const account = id === null ? null : await ctx.db.get("accounts", id)
  if (account === null) throw refusal("not_found", "There is no account with this id. `fleet list` lists the accounts.")
  return account
}

/** The number of failures in a row in a runtime's health, which is JSON if the runtime is of a known version. */
const failuresIn = (health: string | null): number | null => {
  try {
    const count: unknown = JSON.parse(health ?? "null")?.delivery?.consecutiveFailures
    return typeof count === "number" ? count : null
  } catch {
    return null
  }
}

/** Reads one range, or six if the account has more than ten runtimes. */
const runtimesOf = async (ctx: Reading, accountId: Id<"accounts">): Promise<Array<Doc<"runtimes">>> => {
  const all = await ctx.db
    .query("runtimes")
    .withIndex("by_account", (q) => q.eq("accountId", accountId))
    .take(maxRuntimes + 1)
  const isComplete = all.length <= maxRuntimes
  const running = isComplete ? all.filter(({ status }) => status !== "offline") : await runningRuntimes(ctx, accountId)
  if (running.length > 0) return running.slice(0, maxRuntimes)
  return isComplete ? all.toReversed() : await offlineRuntimes(ctx, accountId, Infinity, maxRuntimes)
}

/** The usage of all agents today. Reads one range: a row per agent that worked today. */
const usageTodayOf = async (ctx: Reading, { _id, timeZone }: Doc<"accounts">, now: number) => {
  const rows = await ctx.db
    .query("usageDays")
    .withIndex("by_account", (q) => q.eq("accountId", _id).eq("day", dayIn(timeZone, now)))
    .take(maxAgents)
  return { sum: rows.reduce((sum, { today }) => addUsage(sum, today), noUsage), rows }
}

/** The budget of the account for a day; undefined if there is none. Reads one range of at most three rows. */
const dailyBudgetOf = async (ctx: Reading, accountId: Id<"accounts">): Promise<Doc<"budgets"> | undefined> => {
  const budgets = await ctx.db
    .query("budgets")
    .withIndex("by_scope", (q) => q.eq("accountId", accountId).eq("agentId", undefined).eq("taskId", undefined))
    .take(3)
  return budgets.find(({ period }) => period === "day")
}

/** The account as a list shows it, and the number of rows that it took. Reads six ranges, with at most 300 rows. */
export const summaryOf = async (
  ctx: Reading,
  account: Doc<"accounts">,
  now: number
): Promise<{ readonly view: FleetAccount; readonly rows: number }> => {
  const { _creationTime, _id, deletion, key = null, name } = account
  const runtimes = await runtimesOf(ctx, _id)
  const dead = await readWithin(
    ctx.db.query("notifications").withIndex("by_ended", (q) => q.eq("accountId", _id).eq("state", "dead")),
    maxDeadLetters,
    maxDeadLetterLength,
    lengthOf
  )
  const usage = await usageTodayOf(ctx, account, now)
  const budget = await dailyBudgetOf(ctx, _id)
  const view: FleetAccount = {
    id: _id,
    key,
    name,
    createdAt: _creationTime,
    isPaused: (await pauseOf(ctx, _id)) !== null,
    isBeingDeleted: deletion !== undefined,
    runtimes: runtimes.map(({ health, lastPulseAt, reasons, runtimeId, status, versions }) => ({
      runtimeId,
      status,
      reasons,
      versions,
      lastPulseAt,
      failuresInARow: failuresIn(health)
    })),
    oldestDueAt: await oldestReady(ctx, _id, now),
    deadLetters: dead.length,
    usageToday: { weightedTokens: usage.sum.weightedTokens, cost: usage.sum.cost },
    budget:
      budget === undefined ? null : { unit: budget.unit, limit: budget.limit, spent: amountOf(budget.unit, usage.sum) }
  }
  const rows = [...runtimes, ...dead, ...usage.rows]
  return { view, rows: rows.reduce((sum, row) => sum + 1 + Math.floor(lengthOf(row) / rowLength), 0) }
}

const isNamed = ({ key = "", name }: Doc<"accounts">, part: string): boolean =>
  [key, name].some((text) => text.toLowerCase().includes(part.trim().toLowerCase()))

const isWanted = ({ deadLetters, isPaused, runtimes }: FleetAccount, filter: FleetFilter): boolean => {
  const isOn = (of: "runtime" | "openclaw", version: string | undefined) =>
    version === undefined || runtimes.some(({ versions }) => versions[of] === version)
  if (!isOn("runtime", filter.runtimeVersion) || !isOn("openclaw", filter.openclawVersion)) return false
  switch (filter.only) {
    case "failing":
      return runtimes.some(({ failuresInARow, status }) => status === "degraded" || (failuresInARow ?? 0) >= failsAfter)
    case "offline":
      return runtimes.every(({ status }) => status === "offline")
    case "paused":
      return isPaused
    case "dead-letters":
      return deadLetters > 0
    default:
      return true
  }
}

/** The number of accounts that one page reads at most. */
export const pageSize = 50
/** The number of rows after which it ends early. */
const maxRows = 1_500

/** Accounts in the order of their creation. `next` continues after the page; null after the last account. */
export const fleetPage = v.object({ accounts: v.array(fleetAccount), next: v.union(v.number(), v.null()) })

/**
 * The first `limit` accounts that pass the filter, among the next 50 after `after`. A page ends early after 1,500 rows,
 * so that accounts with many dead letters stay within the limits of a transaction. Reads one range, and six for each
 * account with a wanted name.
 */
export const listAccounts = async (
  ctx: Reading,
  { after, limit }: { readonly after: number; readonly limit: number },
  filter: FleetFilter
): Promise<Infer<typeof fleetPage>> => {
  const now = Date.now()
  const accounts = await ctx.db
    .query("accounts")
    .withIndex("by_creation_time", (q) => q.gt("_creationTime", after))
    .take(pageSize)
  const found: Array<FleetAccount> = []
  let read = 0
  for (const account of accounts) {
    if (filter.name !== undefined && !isNamed(account, filter.name)) continue
    const { rows, view } = await summaryOf(ctx, account, now)
    if (isWanted(view, filter)) found.push(view)
    read += rows
    if ((read >= maxRows || found.length >= limit) && account !== accounts.at(-1))
      return { accounts: found, next: account._creationTime }
  }
  return { accounts: found, next: accounts.length === pageSize ? (accounts.at(-1)?._creationTime ?? null) : null }
}

export const namedAccount = v.object({ id: v.string(), key: v.union(v.string(), v.null()), name: v.string() })

/** The number of accounts that one search reads, and that it returns at most. */
const searchSize = 200
const maxFound = 20

const namedView = ({ _id, key, name }: Doc<"accounts">): Infer<typeof namedAccount> => ({
  id: _id,
  key: key ?? null,
  name
})

/**
 * The account with this id or key; otherwise those among the next 200 after `after` whose id or name begins with the
 * text. Reads these accounts.
 */
export const namedAccounts = async (
  ctx: Reading,
  text: string,
  after: number
): Promise<{ accounts: Array<Infer<typeof namedAccount>>; next: number | null }> => {
  const id = ctx.db.normalizeId("accounts", text)
  const exact =
    (id === null ? null : await ctx.db.get("accounts", id)) ??
    (await ctx.db
      .query("accounts")
      .withIndex("by_key", (q) => q.eq("key", text))
      .unique())
  if (exact !== null) return { accounts: [namedView(exact)], next: null }
  const accounts = await ctx.db
    .query("accounts")
    .withIndex("by_creation_time", (q) => q.gt("_creationTime", after))
    .take(searchSize)
  const isMeant = ({ _id, name }: Doc<"accounts">) =>
    _id.startsWith(text) || name.toLowerCase().startsWith(text.toLowerCase())
  return {
    accounts: accounts
      .filter(isMeant)
      .toSorted((left, right) => Number(right.name === text) - Number(left.name === text))
      .slice(0, maxFound)
      .map(namedView),
    next: accounts.length === searchSize ? (accounts.at(-1)?._creationTime ?? null) : null
  }
}
