import * as Cron from "effect/Cron"
import * as Result from "effect/Result"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"

/** The maximum distance between the first heartbeats of agents that were added together, in milliseconds. */
const staggerMs = 120_000

/** The heartbeat row of an agent. Reads one row. */
export const heartbeatOf = (ctx: Pick<QueryCtx, "db">, agentId: Id<"agents">): Promise<Doc<"heartbeats"> | null> =>
  ctx.db
    .query("heartbeats")
    .withIndex("by_agent", (q) => q.eq("agentId", agentId))
    .unique()

/** The id of a heartbeat's run, which is the same in all its attempts. */
export const heartbeatRun = ({ agentId, dueAt }: Pick<Doc<"heartbeats">, "agentId" | "dueAt">): string =>
  `${agentId}:${dueAt}`

/**
 * The first time after `now` at which a cron expression (five or six fields, UTC) fires, in epoch milliseconds. Null if
 * the expression is invalid or never fires.
 */
export const nextCronMoment = (expression: string, now: number): number | null => {
  const cron = Cron.parse(expression, "UTC")
  if (Result.isFailure(cron)) return null
  try {
    const moment = Cron.next(cron.success, now).getTime()
    return Number.isFinite(moment) ? moment : null
  } catch {
    // A day that no month has (30 February) makes the search throw.
    return null
  }
}

/** The due time of the next heartbeat after `now`. Skips missed ones. */
export const followingDueAt = (
  { dueAt, schedule }: Pick<Doc<"heartbeats">, "schedule" | "dueAt">,
  now: number
): number => {
  // The schedule was checked when it was configured, so a failure here is a bug. Tries again in a day.
  if (typeof schedule === "string") return nextCronMoment(schedule, Math.max(dueAt, now)) ?? now + 86_400_000
  const interval = schedule * 60_000
  return dueAt + interval * Math.max(1, Math.floor((now - dueAt) / interval) + 1)
}

/** The due time of the latest heartbeat that is due at `now`, counted from `dueAt`. */
export const latestDueAt = (
  { dueAt, schedule }: Pick<Doc<"heartbeats">, "schedule" | "dueAt">,
  now: number
): number => {
  if (typeof schedule === "number") {
    const interval = schedule * 60_000
    return dueAt + Math.floor((now - dueAt) / interval) * interval
  }
  const cron = Cron.parse(schedule, "UTC")
  if (Result.isFailure(cron)) return dueAt
  const latest = Cron.prev(cron.success, now + 1).getTime()
  return Math.max(dueAt, latest)
}

/** A number from 0 to 1 derived from the text, which spreads agents' first heartbeats. */
const spread = (text: string): number => {
  let hash = 2_166_136_261
  for (const char of text) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 16_777_619)
  return (hash >>> 0) / 4_294_967_296
}

/**
 * When the agent's first heartbeat of this schedule is due. With an interval, not earlier than one interval after the
 * last heartbeat.
 */
export const firstDueAt = (
  agentId: Id<"agents">,
  schedule: number | string,
  lastHeartbeatAt: number | undefined,
  now: number
): number => {
  if (typeof schedule === "string") return followingDueAt({ dueAt: now, schedule }, now)
  const interval = schedule * 60_000
  const staggered = now + Math.floor(Math.min(0.4 * interval, staggerMs) * spread(agentId))
  return lastHeartbeatAt === undefined ? staggered : Math.max(staggered, lastHeartbeatAt + interval)
}
