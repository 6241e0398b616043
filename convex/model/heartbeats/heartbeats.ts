import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { Change } from "../database/change.ts"
import { type Fence, endOf } from "../queue/fences.ts"
import { pauseOf } from "../queue/pauses.ts"
import { sessionFor, type LeasedSession } from "../queue/sessions.ts"
import { wakeFor } from "../queue/wakes.ts"
import { firstDueAt, followingDueAt, heartbeatOf, heartbeatRun } from "./heartbeatSchedule.ts"

/** After this many failures and crashes a heartbeat is skipped, and the next one follows. */
export const maxHeartbeatFailures = 3

type Heartbeat = Doc<"heartbeats">

/** The counters of a heartbeat that was never claimed. */
const unclaimed = { attempts: 0, claims: 0, failures: 0, crashes: 0 }

/** The patch that schedules the row's next heartbeat for `dueAt`. */
export const rescheduledTo = (dueAt: number) => ({ ...unclaimed, dueAt, at: dueAt, spanId: undefined })

/** Patches the row. While the agent is paused, its heartbeat stays unclaimable. Reads one row more than it writes. */
const write = async (ctx: MutationCtx, heartbeat: Heartbeat, change: Change<Heartbeat>): Promise<void> => {
  const { accountId, agentId, _id } = heartbeat
  const isHeld = change.at !== undefined && (await pauseOf(ctx, accountId, agentId)) !== null
  await ctx.db.patch("heartbeats", _id, isHeld ? { ...change, at: undefined } : change)
}

/** Makes the heartbeat of a paused agent unclaimable. */
export const holdHeartbeat = async (ctx: MutationCtx, agentId: Id<"agents">): Promise<void> => {
  const found = await heartbeatOf(ctx, agentId)
  if (found?.at !== undefined) await ctx.db.patch("heartbeats", found._id, { at: undefined })
}

/** Makes the heartbeat of a resumed agent claimable when it is due, unless it is running. Reads two rows. */
export const resumeHeartbeat = async (ctx: MutationCtx, agentId: Id<"agents">): Promise<void> => {
  const found = await heartbeatOf(ctx, agentId)
  if (found === null) return
  const session = await ctx.db.get("sessions", found.sessionId)
  const isRunning = session?.lease?.run === heartbeatRun(found) && session.recalled === undefined
  if (!isRunning) await ctx.db.patch("heartbeats", found._id, { at: found.dueAt })
}

/** Creates the agent's heartbeat row, or calculates the next due time of a changed schedule. Reads three rows. */
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
  // Runtimes sleep until the next due time that they know, so wake them.
  await wakeFor(ctx, { accountId, agentId })
}

/** The agent's heartbeat, and whether it belongs to another run by now. Null if the agent was removed. */
const heartbeatIn = async (ctx: MutationCtx, session: LeasedSession) => {
  const heartbeat = await heartbeatOf(ctx, session.agentId)
  return heartbeat === null ? null : { heartbeat, isMoved: heartbeatRun(heartbeat) !== session.lease.run }
}

/** Skips to the next heartbeat. */
const skip = async (ctx: MutationCtx, heartbeat: Heartbeat, change: Change<Heartbeat>): Promise<void> =>
  write(ctx, heartbeat, { ...rescheduledTo(followingDueAt(heartbeat, Date.now())), ...change })

/** Skips the heartbeat of this run. Does nothing if the next one is scheduled already, or the agent was removed. */
export const skipHeartbeat = async (ctx: MutationCtx, agentId: Id<"agents">, run: string): Promise<void> => {
  const heartbeat = await heartbeatOf(ctx, agentId)
  if (heartbeat !== null && heartbeatRun(heartbeat) === run) await skip(ctx, heartbeat, {})
}

/** Releases a heartbeat without counting the attempt. It can be claimed again at once, or at nextAttemptAt. */
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

/** Counts a failure of the heartbeat. The last allowed failure, or one without a next attempt, skips the heartbeat. */
export const failHeartbeat = async (
  ctx: MutationCtx,
  session: LeasedSession,
  failure: Fence & { readonly nextAttemptAt?: number },
  details: Change<Heartbeat>
): Promise<"ready" | "dead"> => {
  const found = await heartbeatIn(ctx, session)
  if (found === null) return "dead"
  const { heartbeat, isMoved } = found
  // Crashes are counted consecutively, so earlier crashes become failures now.
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

/** Counts an attempt whose process ended. Too many of them skip the heartbeat. */
export const crashHeartbeat = async (ctx: MutationCtx, session: LeasedSession): Promise<void> => {
  const found = await heartbeatIn(ctx, session)
  if (found === null || found.isMoved) return
  const { heartbeat } = found
  const crashes = heartbeat.crashes + 1
  if (heartbeat.failures + crashes >= maxHeartbeatFailures) await skip(ctx, heartbeat, {})
  else await write(ctx, heartbeat, { crashes, at: heartbeat.dueAt })
}

/** Finishes a heartbeat. Returns the message that it posted, and when the next one is due. */
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
