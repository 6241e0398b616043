import { v } from "convex/values"
import { bounded } from "../model/bounded.ts"
import { claim as claimSessions, claimAnswer } from "../model/claim.ts"
import { contextAnswer, contexts } from "../model/context.ts"
import {
  deadLetter,
  discardDeadLetter as discard,
  listDeadLetters,
  retryDeadLetter as retry
} from "../model/deadLetters.ts"
import * as delivery from "../model/delivery.ts"
import { fenceArgs } from "../model/runs.ts"
import { serviceMutation, serviceQuery } from "../model/serviceFunctions.ts"
import { traceArgs } from "../model/traces.ts"
import { usage } from "../schema.ts"

/** Rows of a fold that the policy refused, which end skipped where the others are delivered. */
const refusedRows = v.array(v.object({ id: v.string(), reason: v.string() }))

/** What is ready: readyAt of the oldest and newest row. For runtimes, subscribed; the token and two rows are read. */
export const backlog = serviceQuery({
  args: {},
  returns: v.object({
    oldest: v.union(v.number(), v.null()),
    newest: v.union(v.number(), v.null()),
    newestId: v.union(v.string(), v.null())
  }),
  handler: async (ctx) => {
    const ready = () =>
      ctx.db.query("notifications").withIndex("by_state", (q) => q.eq("accountId", ctx.accountId).eq("state", "ready"))
    const oldest = await ready().first()
    const newest = await ready().order("desc").first()
    return { oldest: oldest?.readyAt ?? null, newest: newest?.readyAt ?? null, newestId: newest?._id ?? null }
  }
})

/**
 * Leases up to `limit` sessions and their first rows. For runtimes; about ten rows plus twelve and the fold per
 * delivery are read, whatever the history.
 */
export const claim = serviceMutation({
  args: {
    requestId: v.string(),
    runtimeId: v.string(),
    bootId: v.string(),
    limit: v.number(),
    leaseMs: v.number(),
    maxAttempts: v.number(),
    parkedAgents: v.array(v.string())
  },
  returns: claimAnswer,
  handler: (ctx, args) => claimSessions(ctx, ctx.accountId, args)
})

/**
 * What each of the kept rows is about, built on its own, or why it cannot be; `lease_lost` where `epochs` (in the order
 * of the ids) are given and another claim holds the session or the lease has ended. For runtimes; per id the thread
 * (50), the roster, the fold, the task's documents and some ten single rows are read.
 */
export const context = serviceQuery({
  args: { ids: v.array(v.string()), epochs: v.optional(v.array(v.number())) },
  returns: v.array(contextAnswer),
  handler: (ctx, { epochs, ids }) => contexts(ctx, ctx.accountId, ids, epochs)
})

/** Extends a lease, of a delivery or a beat, from now. For runtimes; three rows are read. */
export const renew = serviceMutation({
  args: { ...fenceArgs, leaseMs: v.number(), runtimeId: v.string(), bootId: v.string() },
  returns: v.object({ expiresAt: v.number(), now: v.number() }),
  handler: (ctx, args) => delivery.renew(ctx, ctx.accountId, args)
})

/**
 * Gives a delivery or beat back without spending its attempt: at once, or at nextAttemptAt after a shared failure. For
 * runtimes; about eight rows are read.
 */
export const release = serviceMutation({
  args: {
    ...fenceArgs,
    nextAttemptAt: v.optional(v.number()),
    class: v.optional(v.string()),
    error: v.optional(v.string()),
    sharedLimitMs: v.optional(v.number()),
    maxHops: v.optional(v.number()),
    ...traceArgs
  },
  returns: v.object({
    state: v.union(v.literal("ready"), v.literal("waiting"), v.literal("dead")),
    now: v.number()
  }),
  handler: (ctx, args) => delivery.release(ctx, ctx.accountId, args)
})

/**
 * Ends a delivery with its outcome, and posts the reply and tells whom it concerns in the same transaction. For
 * runtimes; the fold, the roster, the task's subscriptions and some fifteen single rows are read, whatever the history.
 */
export const complete = serviceMutation({
  args: {
    ...fenceArgs,
    outcome: v.union(v.literal("replied"), v.literal("acted"), v.literal("skipped"), v.literal("fallback")),
    reply: v.optional(v.string()),
    note: v.optional(v.string()),
    refused: v.optional(refusedRows),
    reason: v.optional(v.string()),
    truncated: v.optional(v.boolean()),
    usage: v.optional(usage),
    maxHops: v.number(),
    ...traceArgs
  },
  returns: v.object({ messageId: v.union(v.string(), v.null()), now: v.number() }),
  handler: (ctx, args) => delivery.complete(ctx, ctx.accountId, args)
})

/**
 * Stores an own failure or a silence of a delivery or beat: waiting, dead, or delivered by a fallback. For runtimes; as
 * complete.
 */
export const fail = serviceMutation({
  args: {
    ...fenceArgs,
    class: v.string(),
    error: v.string(),
    nextAttemptAt: v.optional(v.number()),
    silence: v.boolean(),
    silenceLimit: v.number(),
    refused: v.optional(refusedRows),
    rotate: v.optional(v.boolean()),
    maxHops: v.number(),
    ...traceArgs
  },
  returns: v.object({
    state: v.union(v.literal("waiting"), v.literal("dead"), v.literal("delivered")),
    now: v.number()
  }),
  handler: (ctx, args) => delivery.fail(ctx, ctx.accountId, args)
})

/**
 * The notifications that were given up, the latest first, at most 200. For operators by a runtime's token; three rows
 * and the fold of each are read.
 */
export const deadLetters = serviceQuery({
  args: { limit: v.optional(v.number()) },
  returns: v.array(deadLetter),
  handler: (ctx, { limit }) => listDeadLetters(ctx, ctx.accountId, bounded(limit, 50, 200))
})

/**
 * Makes a dead letter ready again with a new budget; `conflict` when it is none. For operators by a runtime's token; its
 * fold and six rows are read.
 */
export const retryDeadLetter = serviceMutation({
  args: { id: v.string(), reason: v.optional(v.string()) },
  returns: v.null(),
  handler: async (ctx, { id }) => {
    await retry(ctx, ctx.accountId, id)
    return null
  }
})

/** Ends a dead letter for good; `conflict` when it is none. For operators by a runtime's token; its fold is read. */
export const discardDeadLetter = serviceMutation({
  args: { id: v.string(), reason: v.optional(v.string()) },
  returns: v.null(),
  handler: async (ctx, { id, reason }) => {
    await discard(ctx, ctx.accountId, id, reason)
    return null
  }
})
