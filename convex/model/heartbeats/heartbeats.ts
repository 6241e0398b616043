import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { Change } from "../database/change.ts"
import { type Fence, endOf } from "../queue/fences.ts"
import { pauseOf } from "../queue/pauses.ts"
import { sessionFor, type LeasedSession } from "../queue/sessions.ts"
import { wakeFor } from "../queue/wakes.ts"
import { firstDueAt, followingDueAt, heartbeatOf, heartbeatRun } from "./heartbeatSchedule.ts"

/** After so many own failures and crashes a heartbeat is given up for the following one. */
export const maxHeartbeatFailures = 3

type Heartbeat = Doc<"heartbeats">

/** A heartbeat that was never tried. */
const unclaimed = { attempts: 0, claims: 0, failures: 0, crashes: 0 }

/** The change of the row to the heartbeat of that moment. */
export const rescheduledTo = (dueAt: number) => ({ ...unclaimed, dueAt, at: dueAt, spanId: undefined })

/** Writes the row; while the agent is paused its heartbeat cannot be claimed. Reads one row more than it writes. */
const write = async (ctx: MutationCtx, heartbeat: Heartbeat, change: Change<Heartbeat>): Promise<void> => {
  const { accountId, agentId, _id } = heartbeat
  const isHeld = change.at !== undefined && (await pauseOf(ctx, accountId, agentId)) !== null
  await ctx.db.patch("heartbeats", _id, isHeld ? { ...change, at: undefined } : change)
}

/** Keeps a heartbeat of a paused agent from being claimed. */
export const holdHeartbeat = async (ctx: MutationCtx, agentId: Id<"agents">): Promise<void> => {
  const found = await heartbeatOf(ctx, agentId)
  if (found?.at !== undefined) await ctx.db.patch("heartbeats", found._id, { at: undefined })
}

/** Lets the heartbeat of an agent that is resumed be claimed when it is due, unless it runs. Reads two rows. */
export const resumeHeartbeat = async (ctx: MutationCtx, agentId: Id<"agents">): Promise<void> => {
  const found = await heartbeatOf(ctx, agentId)
  if (found === null) return
  const session = await ctx.db.get("sessions", found.sessionId)
  const isRunning = session?.lease?.run === heartbeatRun(found) && session.recalled === undefined
  if (!isRunning) await ctx.db.patch("heartbeats", found._id, { at: found.dueAt })
}

/** Gives the agent its heartbeat row, or calculates its next moment by a changed schedule. Reads three rows. */
export const scheduleHeartbeat = async (ctx: MutationCtx, agentId: Id<"agents">): Promise<void> => {
  const agent = await ctx.db.get("agents", agentId)
  if (agent === null || agent.removedAt !== undefined) return
  const now = Date.now()
  const found = await heartbeatOf(ctx, agentId)
  if (found?.schedule === agent.heartbeat) return
  const { accountId, heartbeat: schedule } = agent
  const dueAt = firstDueAt(agentId, schedule, found?.lastHeartbeatAt, now)
  if (found === null) {
    const session = await sessionFor(ctx, agent, { kind: "heartbeat" })
    const made = { accountId, agentId, sessionId: session._id, schedule, status: "online" }
    await ctx.db.insert("heartbeats", { ...made, ...unclaimed, dueAt, at: dueAt })
  } else {
    await write(ctx, found, { schedule, ...rescheduledTo(dueAt) })
  }
  // Runtimes sleep until the next moment that they know of: let them look for this one.
  await wakeFor(ctx, { accountId, agentId })
}

/** The agent's heartbeat, and whether it is still that of the run; null if the agent was removed in the meantime. */
const heartbeatIn = async (ctx: MutationCtx, session: LeasedSession) => {
  const heartbeat = await heartbeatOf(ctx, session.agentId)
  return heartbeat === null ? null : { heartbeat, isMoved: heartbeatRun(heartbeat) !== session.lease.run }
}

/** Gives the heartbeat up for the following one. */
const skip = async (ctx: MutationCtx, heartbeat: Heartbeat, change: Change<Heartbeat>): Promise<void> =>
  write(ctx, heartbeat, { ...rescheduledTo(followingDueAt(heartbeat, Date.now())), ...change })

/** Gives the heartbeat of this run up for the following one; nothing if it has moved on, or its agent was removed. */
export const skipHeartbeat = async (ctx: MutationCtx, agentId: Id<"agents">, run: string): Promise<void> => {
  const heartbeat = await heartbeatOf(ctx, agentId)
  if (heartbeat !== null && heartbeatRun(heartbeat) === run) await skip(ctx, heartbeat, {})
}

/** Releases a heartbeat without counting the attempt, to be claimed again at once or at nextAttemptAt. */
export const releaseHeartbeat = async (
  ctx: MutationCtx,
  session: LeasedSession,
  nextAttemptAt: number | undefined,
  change: Change<Heartbeat>
): Promise<void> => {
  const found = await heartbeatIn(ctx, session)
  if (found === null) return
  const { heartbeat, isMoved } = found
  const released = { at: nextAttemptAt ?? heartbeat.dueAt, attempts: Math.max(0, heartbeat.attempts - 1) }
  await write(ctx, heartbeat, isMoved ? change : { ...released, ...change })
}

/** Counts an own failure; the last one, or one without a next attempt, gives the heartbeat up. */
export const failHeartbeat = async (
  ctx: MutationCtx,
  session: LeasedSession,
  failure: Fence & { readonly nextAttemptAt?: number },
  details: Change<Heartbeat>
): Promise<"ready" | "dead"> => {
  const found = await heartbeatIn(ctx, session)
  if (found === null) return "dead"
  const { heartbeat, isMoved } = found
  // Earlier crashes count as failures from now on, since crashes are counted in a row.
  const failures = heartbeat.failures + heartbeat.crashes + 1
  const isLast = isMoved || failure.nextAttemptAt === undefined || failures >= maxHeartbeatFailures
  const state = isLast ? "dead" : "ready"
  const change = { ...details, ...endOf(failure, "fail", { state }) }
  if (isMoved) await ctx.db.patch("heartbeats", heartbeat._id, change)
  else if (isLast) await skip(ctx, heartbeat, change)
  else {
    await write(ctx, heartbeat, { ...change, failures, crashes: 0, at: failure.nextAttemptAt })
  }
  return state
}

/** Counts an attempt that ended with its process; too many of them give the heartbeat up. */
export const crashHeartbeat = async (ctx: MutationCtx, session: LeasedSession): Promise<void> => {
  const found = await heartbeatIn(ctx, session)
  if (found === null || found.isMoved) return
  const { heartbeat } = found
  const crashes = heartbeat.crashes + 1
  if (heartbeat.failures + crashes >= maxHeartbeatFailures) await skip(ctx, heartbeat, {})
  else await write(ctx, heartbeat, { crashes, at: heartbeat.dueAt })
}

/** Ends a heartbeat well; answers the message it posted and when the next one is due. */
export const finishHeartbeat = async (
  ctx: MutationCtx,
  session: LeasedSession,
  fence: Fence,
  messageId: Id<"messages"> | null,
  change: Change<Heartbeat>
): Promise<{ dueAt: number; messageId: string | null }> => {
  const now = Date.now()
  const found = await heartbeatIn(ctx, session)
  if (found === null) return { dueAt: now, messageId }
  const { heartbeat, isMoved } = found
  const answer = { dueAt: isMoved ? heartbeat.dueAt : followingDueAt(heartbeat, now), messageId }
  await write(ctx, heartbeat, {
    fingerprint: heartbeat.pendingFingerprint,
    pendingFingerprint: undefined,
    error: undefined,
    ...change,
    ...(isMoved ? {} : rescheduledTo(answer.dueAt)),
    ...endOf(fence, "heartbeat", answer)
  })
  return answer
}
