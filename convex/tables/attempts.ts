import { defineTable } from "convex/server"
import { v } from "convex/values"
import { notificationOutcome } from "./notifications.ts"
import { runKind } from "./runs.ts"
import { recall } from "./sessions.ts"
import { tokenPrice, tokens } from "./usage.ts"

const times = {
  /** From the start of the attempt; absent in steps of earlier releases. */
  startMs: v.optional(v.number()),
  durationMs: v.number()
}

/** A step of an attempt: a request to the gateway, or a tool call. `error` is its failure. */
export const runStep = v.union(
  v.object({
    kind: v.literal("round"),
    round: v.number(),
    ...times,
    inputTokens: v.number(),
    outputTokens: v.number(),
    error: v.union(v.string(), v.null())
  }),
  v.object({
    kind: v.literal("tool"),
    tool: v.string(),
    ...times,
    error: v.union(v.string(), v.null())
  })
)

/**
 * The latest steps of an attempt in the order in which they ended, and the number of earlier steps that were dropped.
 */
export const timeline = { steps: v.array(runStep), stepsLeftOut: v.number() }

/** What an attempt of a run did and spent, as the runtime reports it. */
export const spending = v.object({
  ...tokens,
  /** The number of requests to the gateway that were answered. */
  rounds: v.number(),
  /** The number of requests that were not answered but may have cost something. */
  unanswered: v.number(),
  /** Input tokens of the last answered request, which is the size of the session. */
  contextTokens: v.number(),
  model: v.union(v.string(), v.null()),
  /** The price of the model; null if the runtime knows none. */
  price: v.union(tokenPrice, v.null()),
  /** The prompt was a delta of an earlier turn and not a full text. */
  isDelta: v.boolean(),
  ...timeline
})

/** What an attempt spent, as it is stored. */
export const attemptUsage = v.object({
  ...tokens,
  rounds: v.number(),
  model: v.union(v.string(), v.null()),
  /** The cost of the tokens relative to uncached input: cache read 0.1, cache write 1.25, output 5. */
  weightedTokens: v.number(),
  /** US dollars; null without a price. */
  cost: v.union(v.number(), v.null()),
  isEstimated: v.boolean()
})

/** How an attempt ended; `finished` is for heartbeats. */
export const attemptEnd = v.union(
  notificationOutcome,
  recall,
  v.literal("finished"),
  v.literal("failed"),
  v.literal("released"),
  v.literal("process_ended"),
  v.literal("lease_lost"),
  v.literal("abandoned")
)

export const attemptTables = {
  /** One row per run and epoch. For heartbeats, only those that sent a request to the gateway. */
  attempts: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    /** Absent for a heartbeat. */
    taskId: v.optional(v.id("tasks")),
    kind: runKind,
    run: v.string(),
    epoch: v.number(),
    /** Absent if the lease had ended when the attempt was recorded. */
    claim: v.optional(v.object({ at: v.number(), runtimeId: v.string() })),
    endedAt: v.number(),
    end: attemptEnd,
    reason: v.optional(v.string()),
    traceId: v.optional(v.string()),
    /** Absent if no prompt was sent, or the kind of prompt is unknown. */
    isDelta: v.optional(v.boolean()),
    ...timeline,
    /** Null if no request was sent to the gateway. */
    usage: v.union(attemptUsage, v.null())
  })
    .index("by_account", ["accountId"])
    .index("by_run", ["run", "epoch"])
    .index("by_ended", ["accountId", "endedAt"])
}
