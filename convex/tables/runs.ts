import { defineTable } from "convex/server"
import { v } from "convex/values"

/** What a run is for: a notification or a heartbeat. */
export const runKind = v.union(v.literal("notification"), v.literal("heartbeat"))

/** Why a turn failed: the class of design, a redacted text, and when (epoch milliseconds). */
export const failure = v.object({ class: v.string(), message: v.string(), at: v.number() })

/** How a run's last attempt ended, so that a repeated call answers as the first time. */
export const runEnd = v.object({ run: v.string(), epoch: v.number(), kind: v.string(), answer: v.any() })

/** What became of a run's turn: it was answered, it failed and may have run all the same, or there was none. */
export const turnState = v.union(v.literal("answered"), v.literal("failed"), v.literal("none"))

/** Input tokens of a turn's first gateway request and of its smallest: how long the session's history is. */
export const requestTokens = v.object({ first: v.number(), least: v.number() })

export const runTables = {
  /** What runs did, so that a creation happens once per run and arguments, and a redelivery lists it. */
  effects: defineTable({
    accountId: v.id("accounts"),
    runId: v.string(),
    tool: v.string(),
    /** SHA-256 of the canonical arguments; absent on setters, which may repeat. */
    key: v.optional(v.string()),
    summary: v.string(),
    result: v.any(),
    epoch: v.number(),
    /** Of a created task: the chain of agents' turns in which it was created. */
    chain: v.optional(v.string())
  })
    .index("by_run", ["runId"])
    .index("by_chain", ["chain"])
    .index("by_key", ["runId", "tool", "key"])
}
