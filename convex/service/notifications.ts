import { v } from "convex/values"
import { serviceMutation, serviceQuery } from "../model/access/serviceFunctions.ts"
import { contextAnswer, eventView } from "../model/contexts/deliveryContextView.ts"
import { previews } from "../model/contexts/deliveryPreviews.ts"
import { bounded } from "../model/database/bounded.ts"
import {
  deadLetter,
  discardDeadLetter as discard,
  listDeadLetters,
  operator,
  retryDeadLetter as retry
} from "../model/notifications/deadLetters.ts"
import { claimRuns } from "../model/queue/claim.ts"
import { claimAnswer } from "../model/queue/claimAnswer.ts"
import { oldestReady } from "../model/queue/dueWork.ts"
import {
  leaseNews,
  lostLease,
  namedLease,
  newsOf,
  recalledLease,
  recalledLeases,
  renew as renewLeases
} from "../model/queue/leases.ts"
import { wakeCount } from "../model/queue/wakes.ts"
import { completeRun } from "../model/runs/completion.ts"
import { failRun, releaseRun } from "../model/runs/failedAttempts.ts"
import { joinRun } from "../model/runs/joins.ts"
import { fenceArgs, runArgs } from "../model/runs/runs.ts"
import { traceArgs } from "../model/runs/traces.ts"
import { spending } from "../tables/attempts.ts"
import { notificationOutcome } from "../tables/notifications.ts"
import { requestTokens, runSettings, turnState } from "../tables/runs.ts"

/** Events that the policy refused, by their index in the notification. */
const refusedEvents = v.array(v.object({ event: v.number(), reason: v.string() }))

/**
 * A count that changes only when work becomes claimable other than by the passing of time, the leases whose turns must
 * be aborted, and those with a person's message that may join the turn. For runtimes, which subscribe to it. Reads the token and one row per agent that ever had work.
 */
export const wake = serviceQuery({
  args: {},
  returns: v.object({ count: v.number(), recalled: v.array(recalledLease), news: v.array(leaseNews) }),
  handler: async (ctx) => ({
    count: await wakeCount(ctx, ctx.accountId),
    recalled: await recalledLeases(ctx, ctx.accountId),
    news: await newsOf(ctx, ctx.accountId)
  })
})

/** The time since which the oldest ready notification waits. For operators with a runtime's token. Reads two rows. */
export const backlog = serviceQuery({
  args: {},
  returns: v.object({ oldest: v.union(v.number(), v.null()) }),
  handler: async (ctx) => ({ oldest: await oldestReady(ctx, ctx.accountId, Number.MAX_SAFE_INTEGER) })
})

/**
 * Leases due work and returns it with its contexts. Rescues runs that the process names as abandoned. If the process
 * asks to recover or holds nothing, the leases of its boot that it does not name are returned to it under a new epoch.
 * For runtimes. Reads about ten rows, in a recovery one per lease held, and per run its session, notification, task,
 * thread (25 messages, and one per event) and documents: at most 2,000 read intervals and 4 MiB.
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
 * The contexts of these notifications as their next attempt would get them, or the reason why there is none. For
 * operators with a runtime's token, for dry runs of at most 100 notifications. Reads per notification what a claim
 * reads for a run.
 */
export const context = serviceQuery({
  args: { ids: v.array(v.string()) },
  returns: v.array(contextAnswer),
  handler: (ctx, { ids }) => previews(ctx, ctx.accountId, ids)
})

/**
 * Extends the named leases. Returns the lost ones, those with a person's message that may join the turn, and whether the
 * boot has a lease that was not named. For runtimes. Reads one row per lease and two more.
 */
export const renew = serviceMutation({
  args: { runtimeId: v.string(), bootId: v.string(), leaseMs: v.number(), leases: v.array(namedLease) },
  returns: v.object({
    lost: v.array(lostLease),
    news: v.array(leaseNews),
    hasUnnamed: v.boolean(),
    now: v.number()
  }),
  handler: (ctx, args) => renewLeases(ctx, ctx.accountId, args)
})

/**
 * Joins people's messages for the run's agent and task to its notification, at most 20. Returns the events that joined
 * in this attempt, without the first `known`. Fails with `invalid` for a heartbeat. For runtimes. Reads at most five
 * notifications, about three more rows, and one per message.
 */
export const join = serviceMutation({
  args: { ...runArgs, known: v.number() },
  returns: v.object({ events: v.array(eventView) }),
  handler: (ctx, args) => joinRun(ctx, ctx.accountId, args)
})

/**
 * Releases a run without counting its attempt. It can be claimed again at once, or at nextAttemptAt after a shared
 * failure. Also for heartbeats. For runtimes. Reads about eight rows.
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
 * Ends a notification's run with its outcome, posts the reply and notifies the agents and people concerned, in one
 * transaction. For runtimes. Reads the task's subscriptions, two rows per notified agent and about ten more rows,
 * however long the history is.
 */
export const complete = serviceMutation({
  args: {
    ...fenceArgs,
    outcome: notificationOutcome,
    turn: turnState,
    reply: v.optional(v.string()),
    note: v.optional(v.string()),
    refused: v.optional(refusedEvents),
    /** How many of the events that joined were in a request. */
    joined: v.optional(v.number()),
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
 * Stores a failure of the run or a silence. The run is retried, dead, or delivered with a fallback. Also for
 * heartbeats. For runtimes. Reads the same as complete.
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
    /** How many of the events that joined were in a request. */
    joined: v.optional(v.number()),
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

/** The dead letters, the latest first, at most 200. For operators with a runtime's token. Reads three rows each. */
export const deadLetters = serviceQuery({
  args: { limit: v.optional(v.number()) },
  returns: v.array(deadLetter),
  handler: (ctx, { limit }) => listDeadLetters(ctx, ctx.accountId, bounded(limit, 50, 200))
})

/**
 * Makes a dead letter ready again with a new budget of attempts. Fails with `conflict` if the notification is not a
 * dead letter. For operators with a runtime's token. Reads six rows.
 */
export const retryDeadLetter = serviceMutation({
  args: { id: v.string(), reason: v.optional(v.string()) },
  returns: v.null(),
  handler: async (ctx, { id }) => {
    await retry(ctx, ctx.accountId, operator, id)
    return null
  }
})

/**
 * Discards a dead letter. Fails with `conflict` if the notification is not a dead letter. For operators with a
 * runtime's token. Reads one row.
 */
export const discardDeadLetter = serviceMutation({
  args: { id: v.string(), reason: v.optional(v.string()) },
  returns: v.null(),
  handler: async (ctx, { id, reason }) => {
    await discard(ctx, ctx.accountId, operator, id, reason)
    return null
  }
})
