import { type Infer, v } from "convex/values"
import { runKind } from "../../tables/runs.ts"
import { brokenCode, deliveryContext } from "../contexts/deliveryContextView.ts"
import { heartbeatContext } from "../contexts/heartbeatContext.ts"

const claimed = {
  id: v.string(),
  session: v.string(),
  epoch: v.number(),
  expiresAt: v.number(),
  attempt: v.number(),
  failures: v.number(),
  silences: v.number(),
  readyAt: v.number(),
  /** Price-weighted tokens that the run may spend before it asks for more; null without a budget. */
  allowance: v.union(v.number(), v.null())
}

/** A leased run with its context. */
export const run = v.union(
  v.object({ kind: v.literal("notification"), ...claimed, context: deliveryContext }),
  v.object({ kind: v.literal("heartbeat"), ...claimed, context: heartbeatContext }),
  v.object({ kind: runKind, ...claimed, broken: brokenCode })
)

export type Run = Infer<typeof run>

export const claimAnswer = v.object({
  runs: v.array(run),
  /** Notifications that this claim made dead letters, because their attempts were used up. */
  spent: v.array(v.string()),
  /** The number of notifications and heartbeats that this claim held for a budget. */
  heldBack: v.number(),
  hasMore: v.boolean(),
  hasMoreHeartbeats: v.boolean(),
  /** The next time at which a claim could find work only because time has passed. */
  nextDueAt: v.union(v.number(), v.null()),
  oldest: v.union(v.number(), v.null()),
  now: v.number()
})

export type ClaimAnswer = Infer<typeof claimAnswer>

export const emptyAnswer = (now: number): ClaimAnswer => ({
  runs: [],
  spent: [],
  heldBack: 0,
  hasMore: false,
  hasMoreHeartbeats: false,
  nextDueAt: null,
  oldest: null,
  now
})
