import { isOnEarlierDay } from "../../../src/domain/shared/SessionKey.ts"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { heartbeatContextOf } from "../contexts/heartbeatContext.ts"
import { rescheduledTo } from "../heartbeats/heartbeats.ts"
import { followingDueAt, heartbeatRun, latestDueAt } from "../heartbeats/heartbeatSchedule.ts"
import { type Run } from "./claimAnswer.ts"
import {
  type Claiming,
  allowanceOf,
  hasRoom,
  hasSuspect,
  leaseFields,
  permitted,
  scanSlack,
  suspectAfter
} from "./claiming.ts"
import { type LeasedSession, hasDueSession, hasLease, takeLease } from "./sessions.ts"

/** The maximum time for which a budget holds a heartbeat before it is checked again. */
const heldHeartbeatMs = 60 * 60 * 1_000

/**
 * The run of a leased heartbeat with its context. Stores the fingerprint of what the agent sees, for the heartbeat's
 * end.
 */
export const heartbeatRunOf = async (
  { budget, ctx, accountContext }: Claiming,
  session: Doc<"sessions">,
  lease: LeasedSession["lease"],
  heartbeat: Doc<"heartbeats">
): Promise<Run> => {
  const { allowance = null, epoch, expiresAt, generation } = lease
  const attempt = { session, generation, epoch, earlierAttempts: heartbeat.claims - 1 }
  const built = await heartbeatContextOf(ctx, heartbeat, attempt, await accountContext(), budget.forRun())
  const { attempts, dueAt, failures } = heartbeat
  const held = { session: session._id, epoch, expiresAt, allowance }
  const fields = { id: lease.run, ...held, attempt: attempts, failures, silences: 0 }
  if (typeof built === "string") return { kind: "heartbeat", ...fields, readyAt: dueAt, broken: built }
  await ctx.db.patch("heartbeats", heartbeat._id, { pendingFingerprint: built.fingerprint })
  return { kind: "heartbeat", ...fields, readyAt: dueAt, context: built.context }
}

/**
 * Whether the agent has a running delivery or a due notification, so that its heartbeat waits. Reads at most two rows.
 */
const isBusy = async (ctx: Pick<QueryCtx, "db">, agentId: Id<"agents">, now: number): Promise<boolean> =>
  (await hasLease(ctx, agentId, "notification")) || (await hasDueSession(ctx, agentId, now))

/**
 * Claims the heartbeat unless other work of the agent comes first. A heartbeat that was tried is replaced by a later
 * one that is due.
 */
const takeHeartbeat = async (claiming: Claiming, found: Doc<"heartbeats">): Promise<boolean> => {
  const { ctx, now } = claiming
  if (claiming.pausedAgents.has(found.agentId) || (await isBusy(ctx, found.agentId, now))) return false
  const session = await ctx.db.get("sessions", found.sessionId)
  // A changed schedule may make the next heartbeat due while the last one still runs or is being aborted.
  if (session === null || session.lease !== undefined) return false
  const isPassed = found.claims > 0 && followingDueAt(found, found.dueAt) <= now
  const dueAt = isPassed ? latestDueAt(found, now) : found.dueAt
  const { spanId: _, ...rest } = found
  const heartbeat = isPassed ? { ...rest, dueAt, attempts: 0, claims: 0, failures: 0, crashes: 0 } : found
  const isSuspect = heartbeat.crashes >= suspectAfter
  if (isSuspect && (await hasSuspect(claiming))) {
    claiming.hasMoreHeartbeats = true
    return false
  }
  const { agentId } = found
  const permission = await permitted(claiming, { agentId, taskId: undefined, urgency: "passive" })
  if ("refusedBy" in permission) {
    claiming.heldBack += 1
    const until = Math.min(permission.until ?? Infinity, now + heldHeartbeatMs)
    await ctx.db.patch("heartbeats", found._id, rescheduledTo(followingDueAt(found, until)))
    return false
  }
  claiming.takesSuspect ||= isSuspect
  const taken = { attempts: heartbeat.attempts + 1, claims: heartbeat.claims + 1 }
  const moved = isPassed ? rescheduledTo(dueAt) : {}
  await ctx.db.patch("heartbeats", found._id, { ...moved, ...taken, at: undefined })
  const lease = await takeLease(ctx, session, {
    ...leaseFields(claiming),
    run: heartbeatRun(heartbeat),
    kind: "heartbeat",
    isSuspect,
    ...allowanceOf(permission),
    runsInNextGeneration: heartbeat.lastHeartbeatAt !== undefined && isOnEarlierDay(heartbeat.lastHeartbeatAt, now)
  })
  claiming.runs.push(await heartbeatRunOf(claiming, session, lease, { ...heartbeat, ...taken }))
  return true
}

/** Claims due heartbeats, as far as the notifications left capacity. */
export const takeHeartbeats = async (claiming: Claiming): Promise<void> => {
  const { accountId, ctx, now, request } = claiming
  const due = await ctx.db
    .query("heartbeats")
    .withIndex("by_at", (q) => q.eq("accountId", accountId).gt("at", 0).lte("at", now))
    .take(request.heartbeatLimit === 0 ? 1 : request.heartbeatLimit + scanSlack)
  let count = 0
  for (const heartbeat of due) {
    if (count === request.heartbeatLimit || !hasRoom(claiming)) {
      claiming.hasMoreHeartbeats = true
      return
    }
    if (await takeHeartbeat(claiming, heartbeat)) count += 1
  }
}
