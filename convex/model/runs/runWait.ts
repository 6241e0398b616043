import { type Infer, v } from "convex/values"
import type { Doc } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { type Pauses, pausesOf } from "../queue/pauses.ts"

/** Why a waiting run is not claimed now. */
export const runWait = v.object({
  reason: v.union(
    v.literal("budget"),
    v.literal("paused"),
    /** An earlier attempt failed. */
    v.literal("retry"),
    /** An update by an agent waits until the thread is quiet. */
    v.literal("quiet"),
    /** Another turn of the agent is running. */
    v.literal("session")
  ),
  /** The budget's reason, or the class of the failure; otherwise null. */
  detail: v.union(v.string(), v.null()),
  /** Epoch milliseconds; null if the end is not known. */
  until: v.union(v.number(), v.null())
})
type RunWait = Infer<typeof runWait>

/** Tells why waiting notifications of an account wait; null for one that can be claimed. Reads one row per notification. */
export const waitsOf = async (ctx: Pick<QueryCtx, "db">, accountId: Doc<"accounts">["_id"]) => {
  const pauses = await pausesOf(ctx, accountId)
  return (row: Doc<"notifications">): Promise<RunWait | null> => waitOf(ctx, row, pauses, Date.now())
}

const waitOf = async (
  ctx: Pick<QueryCtx, "db">,
  { agentId, claims, error, held, retryAt, sessionId, state }: Doc<"notifications">,
  { agentIds, isAccountPaused }: Pauses,
  now: number
): Promise<RunWait | null> => {
  if (state !== "ready") return null
  if (isAccountPaused || (agentId !== undefined && agentIds.has(agentId))) {
    return { reason: "paused", detail: null, until: null }
  }
  if (held !== undefined) return { reason: "budget", detail: held.reason, until: held.until }
  if (retryAt !== undefined && retryAt > now) {
    return claims === 0
      ? { reason: "quiet", detail: null, until: retryAt }
      : { reason: "retry", detail: error?.class ?? null, until: retryAt }
  }
  const session = sessionId === undefined ? null : await ctx.db.get("sessions", sessionId)
  return session?.lease === undefined ? null : { reason: "session", detail: null, until: null }
}
