import * as Cron from "effect/Cron"
import * as Result from "effect/Result"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"

/** The heartbeats of two agents that were added together are this far apart at most, in milliseconds. */
const staggerMs = 120_000

/** The heartbeat row of an agent. Reads one row. */
export const heartbeatOf = (ctx: Pick<QueryCtx, "db">, agentId: Id<"agents">): Promise<Doc<"heartbeats"> | null> =>
  ctx.db
    .query("heartbeats")
    .withIndex("by_agent", (q) => q.eq("agentId", agentId))
    .unique()

/** The id of a heartbeat's run, the same in all its attempts. */
export const heartbeatRun = ({ agentId, dueAt }: Pick<Doc<"heartbeats">, "agentId" | "dueAt">): string =>
  `${agentId}:${dueAt}`

/**
 * The first moment after `now` at which a cron expression (five or six fields, UTC) fires, in epoch milliseconds; null
 * if it is no such expression or never fires.
 */
export const nextCronMoment = (expression: string, now: number): number | null => {
  const cron = Cron.parse(expression, "UTC")
  if (Result.isFailure(cron)) return null
  try {
    const moment = Cron.next(cron.success, now).getTime()
    return Number.isFinite(moment) ? moment : null
  } catch {
    // A day that no month has (30 February) ends the search with an exception.
    return null
  }
}

/** The heartbeat that follows the one of `dueAt` after `now`; missed ones are skipped. */
export const followingDueAt = (
  { dueAt, schedule }: Pick<Doc<"heartbeats">, "schedule" | "dueAt">,
  now: number
): number => {
  // The schedule was checked when it was configured, so a moment that cannot be found is a bug: look again in a day.
  if (typeof schedule === "string") return nextCronMoment(schedule, Math.max(dueAt, now)) ?? now + 86_400_000
  const interval = schedule * 60_000
  return dueAt + interval * Math.max(1, Math.floor((now - dueAt) / interval) + 1)
}

/** The latest heartbeat of the schedule that is due at `now`, from the one of `dueAt` on. */
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

/** A number from 0 up to 1 that is the same for the same text, so that agents' first heartbeats are spread. */
const spread = (text: string): number => {
  let hash = 2_166_136_261
  for (const char of text) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 16_777_619)
  return (hash >>> 0) / 4_294_967_296
}

/** When the agent's first heartbeat by this schedule is due; for minutes not before an interval after the last one. */
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
