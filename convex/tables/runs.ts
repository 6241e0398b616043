import { defineTable } from "convex/server"
import { type Infer, v } from "convex/values"

/** The work of a run: a notification or a heartbeat. */
export const runKind = v.union(v.literal("notification"), v.literal("heartbeat"))

/** Why a turn failed: the failure class, a redacted message, and when (epoch milliseconds). */
export const failure = v.object({ class: v.string(), message: v.string(), at: v.number() })

/** How a run's last attempt ended, so that a repeated call gets the same answer. */
export const runEnd = v.object({ run: v.string(), epoch: v.number(), kind: v.string(), answer: v.any() })

/** The state of a run's turn: answered; failed, though it may have run; or no turn at all. */
export const turnState = v.union(v.literal("answered"), v.literal("failed"), v.literal("none"))

/**
 * Input tokens of a turn's first gateway request and of its smallest one, which show how long the session's history is.
 */
export const requestTokens = v.object({ first: v.number(), least: v.number() })

/** The runtime's settings for the effects of its runs. Each call of a run passes them. */
export const runSettings = v.object({
  /** The maximum number of agents' turns in a chain. */
  maxHops: v.number(),
  /** How long agents' updates wait for quiet, and the maximum wait, in milliseconds; 0 for no wait. */
  quietTimeMs: v.number(),
  quietLimitMs: v.number()
})
export type RunSettings = Infer<typeof runSettings>

export const runTables = {
  /**
   * What runs created or changed, so that a creation happens once per run and arguments, and a redelivery can list it.
   */
  effects: defineTable({
    accountId: v.id("accounts"),
    runId: v.string(),
    tool: v.string(),
    /** SHA-256 of the canonical arguments. Absent for setters, which may repeat. */
    key: v.optional(v.string()),
    summary: v.string(),
    result: v.any(),
    epoch: v.number(),
    /** For a created task: the chain of agents' turns in which it was created. */
    chain: v.optional(v.string())
  })
    .index("by_account", ["accountId"])
    .index("by_run", ["runId"])
    .index("by_chain", ["chain"])
    .index("by_key", ["runId", "tool", "key"])
}
