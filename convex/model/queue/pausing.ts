import { internal } from "../../_generated/api.js"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"
import { recordActivity } from "../accounts/activities.ts"
import { bumpRoster } from "../agents/roster.ts"
import { holdHeartbeat, releaseHeartbeat, resumeHeartbeat } from "../heartbeats/heartbeats.ts"
import { releaseNow } from "../runs/failedAttempts.ts"
import { notificationOf } from "./fences.ts"
import { pauseOf } from "./pauses.ts"
import { leasedSessionsOf, refreshSession } from "./sessions.ts"
import { wakeFor } from "./wakes.ts"

/**
 * The number of sessions, or of notifications with their sessions, that one transaction removes from the order of
 * claims or returns to it.
 */
const batch = 200
const maxLeases = 1_000

/** What is paused: an agent, or the account if null. */
type Paused = Doc<"agents"> | null

/** Recalls a lease: its work becomes ready again without counting the attempt, and the runtime aborts the turn. */
const recallPaused = async (ctx: MutationCtx, session: Doc<"sessions">): Promise<void> => {
  const { lease } = session
  if (lease === undefined || session.recalled !== undefined) return
  const row = await notificationOf(ctx, lease.run)
  if (row?.state === "claimed") await releaseNow(ctx, row)
  if (lease.kind === "heartbeat") await releaseHeartbeat(ctx, { ...session, lease }, undefined, {})
  await ctx.db.patch("sessions", session._id, { recalled: "paused" })
}

/** Removes the agent's due sessions from the order of claims, in batches of 200. */
export const holdSessions = async (ctx: MutationCtx, agentId: Id<"agents">): Promise<void> => {
  const agent = await ctx.db.get("agents", agentId)
  if (agent === null || (await pauseOf(ctx, agent.accountId, agentId)) === null) return
  const sessions = await ctx.db
    .query("sessions")
    .withIndex("by_agent_at", (q) => q.eq("agentId", agentId).gt("at", 0))
    .take(batch)
  for (const { _id } of sessions) await ctx.db.patch("sessions", _id, { at: undefined })
  if (sessions.length === batch) await ctx.scheduler.runAfter(0, internal.scheduled.pauses.hold, { agentId })
}

/**
 * Returns the sessions of the agent's ready notifications to the order of claims, in batches, starting after `after`.
 */
export const requeueSessions = async (ctx: MutationCtx, agentId: Id<"agents">, after: number): Promise<void> => {
  const agent = await ctx.db.get("agents", agentId)
  if (agent === null || (await pauseOf(ctx, agent.accountId, agentId)) !== null) return
  const rows = await ctx.db
    .query("notifications")
    .withIndex("by_agent", (q) => q.eq("agentId", agentId).eq("state", "ready").gt("_creationTime", after))
    .take(batch)
  for (const id of new Set(rows.flatMap(({ sessionId }) => sessionId ?? []))) await refreshSession(ctx, id)
  const last = rows.at(-1)
  if (rows.length === batch && last !== undefined) {
    await ctx.scheduler.runAfter(0, internal.scheduled.pauses.offer, { agentId, after: last._creationTime })
  }
  await wakeFor(ctx, { accountId: agent.accountId, agentId })
}

const leasedSessions = (ctx: MutationCtx, accountId: Id<"accounts">, agent: Paused) =>
  agent !== null
    ? leasedSessionsOf(ctx, agent._id)
    : ctx.db
        .query("sessions")
        .withIndex("by_runtime", (q) => q.eq("accountId", accountId).gt("leaseRuntimeId", ""))
        .take(maxLeases)

const recordPause = (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  agent: Paused,
  actor: Actor,
  is: "paused" | "resumed"
) =>
  recordActivity(ctx, {
    accountId,
    actor,
    type: `${agent === null ? "account" : "agent"}_${is}`,
    summary: `${agent === null ? "all agents are" : `agent ${agent.slug} is`} ${is}`
  })

/**
 * Pauses an agent or the account: none of its work is claimed, including heartbeats. Running turns continue, or are
 * aborted if `release` is set, without counting the attempt. Pausing again only applies `release`. Reads the leases to
 * release, and for an agent its due sessions, 200 in this transaction.
 */
export const pause = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  agent: Paused,
  { actor, release }: { readonly actor: Actor; readonly release: boolean }
): Promise<void> => {
  if ((await pauseOf(ctx, accountId, agent?._id)) === null) {
    await ctx.db.insert("pauses", { accountId, ...(agent === null ? {} : { agentId: agent._id }), by: actor })
    if (agent !== null) {
      await holdHeartbeat(ctx, agent._id)
      await holdSessions(ctx, agent._id)
      await bumpRoster(ctx, accountId)
    }
    await recordPause(ctx, accountId, agent, actor, "paused")
  }
  if (!release) return
  for (const session of await leasedSessions(ctx, accountId, agent)) await recallPaused(ctx, session)
}

/**
 * Ends a pause. Waiting work can be claimed again, an agent's in batches. Reads the pause, and for an agent its ready
 * notifications.
 */
export const resume = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  agent: Paused,
  actor: Actor
): Promise<void> => {
  const found = await pauseOf(ctx, accountId, agent?._id)
  if (found === null) return
  await ctx.db.delete("pauses", found._id)
  if (agent !== null) {
    await resumeHeartbeat(ctx, agent._id)
    await requeueSessions(ctx, agent._id, 0)
    await bumpRoster(ctx, accountId)
  }
  await recordPause(ctx, accountId, agent, actor, "resumed")
}
