import { v } from "convex/values"
import { serviceMutation, serviceQuery } from "../model/access/serviceFunctions.ts"
import { contextAnswer } from "../model/contexts/deliveryContextView.ts"
import { previews } from "../model/contexts/deliveryPreviews.ts"
import { bounded } from "../model/database/bounded.ts"
import {
  deadLetter,
  discardDeadLetter as discard,
  listDeadLetters,
  operator,
  retryDeadLetter as retry
} from "../model/notifications/deadLetters.ts"
import { runSettings } from "../model/notifications/origin.ts"
import { claimRuns } from "../model/queue/claim.ts"
import { claimAnswer } from "../model/queue/claimAnswer.ts"
import { oldestReady } from "../model/queue/dueWork.ts"
import { lostLease, namedLease, recalledLease, recalledLeases, renew as renewLeases } from "../model/queue/leases.ts"
import { wakeCount } from "../model/queue/wakes.ts"
import { completeRun } from "../model/runs/completion.ts"
import { failRun, releaseRun } from "../model/runs/failedAttempts.ts"
import { fenceArgs } from "../model/runs/runs.ts"
import { traceArgs } from "../model/runs/traces.ts"
import { spending } from "../tables/attempts.ts"
import { notificationOutcome } from "../tables/notifications.ts"
import { requestTokens, turnState } from "../tables/runs.ts"

/** Events that the policy refused, by their position in the notification. */
const refusedEvents = v.array(v.object({ event: v.number(), reason: v.string() }))

/**
 * A number that changes whenever work becomes claimable other than by time, and at nothing else; and the leases whose
 * turns must be aborted. For runtimes, subscribed; the token and one row per agent that ever had work are read.
 */
export const wake = serviceQuery({
  args: {},
  returns: v.object({ count: v.number(), recalled: v.array(recalledLease) }),
  handler: async (ctx) => ({
    count: await wakeCount(ctx, ctx.accountId),
    recalled: await recalledLeases(ctx, ctx.accountId)
  })
})

/** Since when the oldest ready notification waits. For operators by a runtime's token; two rows are read. */
export const backlog = serviceQuery({
  args: {},
  returns: v.object({ oldest: v.union(v.number(), v.null()) }),
  handler: async (ctx) => ({ oldest: await oldestReady(ctx, ctx.accountId, Number.MAX_SAFE_INTEGER) })
})

/**
 * Leases due work with its contexts, and rescues the leases that the process calls abandoned. If it asks to recover, or
 * holds nothing, the leases of its boot that it does not name are offered again. For runtimes; some ten rows, in a
 * recovery one per lease held, and per run its session, notification, task, thread (25 messages, and one per event) and documents are
 * read: at most 2,000 read intervals and 4 MiB.
 */
export const claim = serviceMutation({
  args: {
    protocol: v.number(),
    runtimeId: v.string(),
    bootId: v.string(),
    number: v.number(),
    limit: v.number(),
    heartbeatLimit: v.number(),
    leaseMs: v.number(),
    maxAttempts: v.number(),
    maxTurns: v.number(),
    held: v.array(namedLease),
    abandoned: v.array(namedLease),
    recoverUnnamed: v.boolean()
  },
  returns: claimAnswer,
  handler: (ctx, args) => claimRuns(ctx, ctx.accountId, args)
})

/**
 * The contexts of these notifications as their next attempt would get them, or why there is none. For operators by a
 * runtime's token, for dry runs; per id what a claim reads for a run, at most 100.
 */
export const context = serviceQuery({
  args: { ids: v.array(v.string()) },
  returns: v.array(contextAnswer),
  handler: (ctx, { ids }) => previews(ctx, ctx.accountId, ids)
})

/**
 * Extends the named leases from now; answers which of them are lost, and whether the boot has a lease that was not named.
 * For runtimes; one row per lease and two more are read.
 */
export const renew = serviceMutation({
  args: { runtimeId: v.string(), bootId: v.string(), leaseMs: v.number(), leases: v.array(namedLease) },
  returns: v.object({ lost: v.array(lostLease), hasUnnamed: v.boolean(), now: v.number() }),
  handler: (ctx, args) => renewLeases(ctx, ctx.accountId, args)
})

/**
 * Releases a run without counting its attempt: to be claimed again at once, or at nextAttemptAt after a shared failure.
 * Serves heartbeats too. For runtimes; about eight rows are read.
 */
export const release = serviceMutation({
  args: {
    ...fenceArgs,
    nextAttemptAt: v.optional(v.number()),
    class: v.optional(v.string()),
    error: v.optional(v.string()),
    sharedLimitMs: v.optional(v.number()),
    usage: v.optional(spending),
    ...traceArgs
  },
  returns: v.object({
    state: v.union(v.literal("ready"), v.literal("dead")),
    now: v.number()
  }),
  handler: (ctx, args) => releaseRun(ctx, ctx.accountId, args)
})

/**
 * Ends a notification's run with its outcome, posts the reply and notifies whom it concerns in the same transaction.
 * For runtimes; the task's subscriptions, two rows per agent notified and some ten single rows are read, whatever the
 * history.
 */
export const complete = serviceMutation({
  args: {
    ...fenceArgs,
    outcome: notificationOutcome,
    turn: turnState,
    reply: v.optional(v.string()),
    note: v.optional(v.string()),
    refused: v.optional(refusedEvents),
    reason: v.optional(v.string()),
    truncated: v.optional(v.boolean()),
    usage: v.optional(spending),
    requestTokens: v.optional(requestTokens),
    isHistoryLong: v.optional(v.boolean()),
    settings: runSettings,
    ...traceArgs
  },
  returns: v.object({ messageId: v.union(v.string(), v.null()), now: v.number() }),
  handler: (ctx, args) => completeRun(ctx, ctx.accountId, args)
})

/**
 * Stores a failure of the run's own, or a silence: retried, dead, or delivered by a fallback. Serves heartbeats too. For
 * runtimes; as complete.
 */
export const fail = serviceMutation({
  args: {
    ...fenceArgs,
    class: v.string(),
    error: v.string(),
    nextAttemptAt: v.optional(v.number()),
    silence: v.boolean(),
    silenceLimit: v.number(),
    refused: v.optional(refusedEvents),
    rotate: v.optional(v.boolean()),
    usage: v.optional(spending),
    ...traceArgs
  },
  returns: v.object({
    state: v.union(v.literal("ready"), v.literal("dead"), v.literal("delivered")),
    now: v.number()
  }),
  handler: (ctx, args) => failRun(ctx, ctx.accountId, args)
})

/**
 * The notifications that were given up, the latest first, at most 200. For operators by a runtime's token; three rows
 * of each are read.
 */
export const deadLetters = serviceQuery({
  args: { limit: v.optional(v.number()) },
  returns: v.array(deadLetter),
  handler: (ctx, { limit }) => listDeadLetters(ctx, ctx.accountId, bounded(limit, 50, 200))
})

/**
 * Makes a dead letter ready again with a new budget; `conflict` when it is none. For operators by a runtime's token; six
 * rows are read.
 */
export const retryDeadLetter = serviceMutation({
  args: { id: v.string(), reason: v.optional(v.string()) },
  returns: v.null(),
  handler: async (ctx, { id }) => {
    await retry(ctx, ctx.accountId, operator, id)
    return null
  }
})

/** Ends a dead letter for good; `conflict` when it is none. For operators by a runtime's token; one row is read. */
export const discardDeadLetter = serviceMutation({
  args: { id: v.string(), reason: v.optional(v.string()) },
  returns: v.null(),
  handler: async (ctx, { id, reason }) => {
    await discard(ctx, ctx.accountId, operator, id, reason)
    return null
  }
})
