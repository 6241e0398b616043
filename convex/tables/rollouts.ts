import { defineTable } from "convex/server"
import { type Infer, v } from "convex/values"
import { versions } from "./runtimes.ts"

/** What a rollout asks of the runtimes: to run these versions, or to restart. */
export const rolloutTarget = {
  kind: v.union(v.literal("upgrade"), v.literal("restart")),
  /** Null for a version that does not change. */
  runtimeVersion: v.union(v.string(), v.null()),
  openclawVersion: v.union(v.string(), v.null())
}

/**
 * `stopped`: an account of the current wave failed, and an operator decides. `done`, `rolled_back` and `cancelled` are
 * final, except that a rollout can be rolled back later.
 */
export const rolloutState = v.union(
  v.literal("running"),
  v.literal("stopped"),
  v.literal("rolling_back"),
  v.literal("cancelling"),
  v.literal("done"),
  v.literal("rolled_back"),
  v.literal("cancelled")
)

/**
 * `waiting`: nothing was asked of the account. `retrying`: it failed and is tried again. `left_out`: nothing could be
 * asked of it, or it was deleted. `skipped`: the operator took it out.
 */
export const rolloutAccountState = v.union(
  v.literal("waiting"),
  v.literal("retrying"),
  v.literal("underway"),
  v.literal("done"),
  v.literal("failed"),
  v.literal("left_out"),
  v.literal("skipped"),
  v.literal("rolling_back"),
  v.literal("rolled_back"),
  v.literal("rollback_failed")
)
export type RolloutAccountState = Infer<typeof rolloutAccountState>

/** The number of a wave's accounts in each state. */
export const waveCounts = v.object({
  waiting: v.number(),
  retrying: v.number(),
  underway: v.number(),
  done: v.number(),
  failed: v.number(),
  left_out: v.number(),
  skipped: v.number(),
  rolling_back: v.number(),
  rolled_back: v.number(),
  rollback_failed: v.number()
})

/** A runtime of an account in a rollout, as it was when the rollout first reached the account. */
export const rolloutRuntime = v.object({
  runtimeId: v.string(),
  from: versions,
  bootId: v.union(v.string(), v.null()),
  wasDegraded: v.boolean(),
  /** The last command that the rollout added; null if the runtime needed none. */
  command: v.union(v.id("runtimeCommands"), v.null()),
  /** The runtime took an earlier command of the rollout, so it may start with other versions than it last reported. */
  hasTaken: v.boolean(),
  rollback: v.optional(v.id("runtimeCommands"))
})

/** Some attempts of an account, and how many of them failed. */
export const attemptCounts = v.object({ attempts: v.number(), failed: v.number() })

export const rolloutTables = {
  /** An upgrade or restart of many accounts, one wave after another. At most one has no `endedAt`. */
  rollouts: defineTable({
    ...rolloutTarget,
    state: rolloutState,
    /** The index of the current wave. */
    wave: v.number(),
    waves: v.array(v.object({ size: v.number(), counts: waveCounts })),
    /** How long an account may take until all its runtimes are online on the target. */
    deadlineMs: v.number(),
    /** How long an account must then stay healthy. */
    observeMs: v.number(),
    /** The first wave to roll back, while and after the rollout is rolled back. */
    rollbackFrom: v.optional(v.number()),
    /** The number of the next step. A step with another number was replaced and does nothing. */
    step: v.number(),
    /** When the last step ran. */
    steppedAt: v.number(),
    /** What happened, oldest first, at most the last 100 entries. */
    log: v.array(v.object({ at: v.number(), text: v.string() })),
    endedAt: v.optional(v.number())
  }).index("by_ended", ["endedAt"]),

  /** An account in a rollout. */
  rolloutAccounts: defineTable({
    rolloutId: v.id("rollouts"),
    accountId: v.id("accounts"),
    wave: v.number(),
    /** The index in the rollout, over all waves. */
    position: v.number(),
    state: rolloutAccountState,
    /** Why it failed, also while it is tried again, or why it was left out or skipped. */
    reason: v.optional(v.string()),
    /** When its current attempt or its rollback began. */
    begunAt: v.optional(v.number()),
    /** Since when all its runtimes are online on the target. */
    arrivedAt: v.optional(v.number()),
    /** Its attempts before the rollout reached it. */
    before: v.optional(attemptCounts),
    /** At most 10. Empty while nothing was asked of them. */
    runtimes: v.array(rolloutRuntime)
  })
    .index("by_rollout", ["rolloutId", "position"])
    .index("by_state", ["rolloutId", "state", "position"])
    .index("by_account", ["accountId"])
    .index("by_rollout_account", ["rolloutId", "accountId"])
}
