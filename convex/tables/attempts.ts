import { defineTable } from "convex/server"
import { v } from "convex/values"
import { notificationOutcome } from "./notifications.ts"
import { runKind } from "./runs.ts"
import { recall } from "./sessions.ts"
import { tokenPrice, tokens } from "./usage.ts"

/** What an attempt did: a request to the gateway, or a tool call; `error` says how it failed. */
export const runStep = v.union(
  v.object({
    kind: v.literal("round"),
    round: v.number(),
    durationMs: v.number(),
    inputTokens: v.number(),
    outputTokens: v.number(),
    error: v.union(v.string(), v.null())
  }),
  v.object({
    kind: v.literal("tool"),
    tool: v.string(),
    durationMs: v.number(),
    error: v.union(v.string(), v.null())
  })
)

/** The latest steps of an attempt in the order in which they ended, and how many came before them. */
export const timeline = { steps: v.array(runStep), stepsLeftOut: v.number() }

/** What an attempt of a run did and spent, as its runtime reports it. */
export const spending = v.object({
  ...tokens,
  /** Requests to the gateway that were answered. */
  rounds: v.number(),
  /** Requests that were not answered and may have cost something. */
  unanswered: v.number(),
  /** Input tokens of the last request that was answered: the size of the session. */
  contextTokens: v.number(),
  model: v.union(v.string(), v.null()),
  /** Of the model; null if the runtime knows none. */
  price: v.union(tokenPrice, v.null()),
  /** Its prompt built on an earlier turn's and was no full text. */
  isDelta: v.boolean(),
  ...timeline
})

/** What an attempt spent, as it is recorded. */
export const attemptUsage = v.object({
  ...tokens,
  rounds: v.number(),
  model: v.union(v.string(), v.null()),
  /** What the tokens cost relative to uncached input: cache read 0.1, cache write 1.25, output 5. */
  weightedTokens: v.number(),
  /** US dollars; null without a price. */
  cost: v.union(v.number(), v.null()),
  isEstimated: v.boolean()
})

/** How an attempt ended; `finished` is a heartbeat. */
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
  /** One per run and epoch, however it ended; of heartbeats only those that sent a request to the gateway. */
  attempts: defineTable({
    accountId: v.id("accounts"),
    agentId: v.id("agents"),
    /** A heartbeat has none. */
    taskId: v.optional(v.id("tasks")),
    kind: runKind,
    run: v.string(),
    epoch: v.number(),
    /** Absent if its lease was gone when it was recorded. */
    claim: v.optional(v.object({ at: v.number(), runtimeId: v.string() })),
    endedAt: v.number(),
    end: attemptEnd,
    reason: v.optional(v.string()),
    traceId: v.optional(v.string()),
    /** Absent if no prompt was sent, or it is not known which. */
    isDelta: v.optional(v.boolean()),
    ...timeline,
    /** Null without a request to the gateway. */
    usage: v.union(attemptUsage, v.null())
  }).index("by_run", ["run", "epoch"])
}
