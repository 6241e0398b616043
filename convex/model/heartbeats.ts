import type { Doc } from "../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../_generated/server.js"
import type { LeasedSession } from "./sessions.ts"

/** After so many own failures a beat is given up. */
export const maxBeatFailures = 3

/** The heartbeat row of an agent. Reads one row. */
export const beatOf = (ctx: Pick<QueryCtx, "db">, agentId: Doc<"agents">["_id"]): Promise<Doc<"heartbeats"> | null> =>
  ctx.db
    .query("heartbeats")
    .withIndex("by_agent", (q) => q.eq("agentId", agentId))
    .unique()

/** The beat's identity, the same in all its attempts. */
export const heartbeatId = (beat: Pick<Doc<"heartbeats">, "agentId" | "dueAt">): string =>
  `${beat.agentId}:${beat.dueAt}`

/** The beat that follows this one after `now`; missed ones are not made up for. */
export const followingDueAt = (
  beat: Pick<Doc<"heartbeats">, "schedule" | "dueAt" | "followingAt">,
  now: number
): number => {
  if (typeof beat.schedule === "string") return beat.followingAt ?? now + 60_000
  const interval = beat.schedule * 60_000
  return beat.dueAt + interval * Math.max(1, Math.floor((now - beat.dueAt) / interval) + 1)
}

/** Moves on to the next beat, with a new identity and no attempts. */
export const advanceBeat = async (ctx: MutationCtx, beat: Doc<"heartbeats">, now: number): Promise<number> => {
  const dueAt = followingDueAt(beat, now)
  await ctx.db.patch("heartbeats", beat._id, {
    dueAt,
    followingAt: undefined,
    notBefore: undefined,
    requestId: undefined,
    attempts: 0,
    tries: 0,
    failures: 0,
    crashes: 0,
    spanId: undefined
  })
  return dueAt
}

/** Gives a beat back: due as before, with the same identity, not before the time given. */
export const releaseBeat = async (
  ctx: MutationCtx,
  session: LeasedSession,
  notBefore: number | undefined,
  told: Partial<Pick<Doc<"heartbeats">, "error" | "traceId" | "spanId">>
): Promise<void> => {
  const beat = await beatOf(ctx, session.agentId)
  if (beat === null || heartbeatId(beat) !== session.lease.holder) return
  await ctx.db.patch("heartbeats", beat._id, {
    notBefore,
    requestId: undefined,
    attempts: Math.max(0, beat.attempts - 1),
    ...told
  })
}

/** Counts an own failure of a beat; the last one, or one without a next attempt, gives the beat up. */
export const failBeat = async (
  ctx: MutationCtx,
  session: LeasedSession,
  nextAttemptAt: number | undefined,
  told: Partial<Pick<Doc<"heartbeats">, "error" | "traceId" | "spanId">>
): Promise<"waiting" | "dead"> => {
  const beat = await beatOf(ctx, session.agentId)
  if (beat === null || heartbeatId(beat) !== session.lease.holder) return "dead"
  const failures = beat.failures + 1
  await ctx.db.patch("heartbeats", beat._id, {
    failures,
    crashes: 0,
    notBefore: nextAttemptAt,
    requestId: undefined,
    ...told
  })
  if (nextAttemptAt !== undefined && failures < maxBeatFailures) return "waiting"
  await advanceBeat(ctx, { ...beat, failures }, Date.now())
  return "dead"
}
