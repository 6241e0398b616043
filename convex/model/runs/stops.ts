import { internal } from "../../_generated/api.js"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"
import { refusal } from "../access/refusal.ts"
import { recordActivity } from "../accounts/activities.ts"
import { withdrawApprovals } from "../approvals/approvalEnds.ts"
import { cut } from "../database/cut.ts"
import { skipHeartbeat } from "../heartbeats/heartbeats.ts"
import { heartbeatOf, heartbeatRun } from "../heartbeats/heartbeatSchedule.ts"
import { requeue } from "../notifications/deadLetters.ts"
import { notWaiting } from "../notifications/events.ts"
import { type Origin, personOrigin } from "../notifications/origin.ts"
import { endQuestions } from "../notifications/questions.ts"
import { notificationOf } from "../queue/fences.ts"
import { type LeasedSession, leasedSessionsOf, refreshSession, withStoppedRun } from "../queue/sessions.ts"
import { postMessage } from "../threads/messages.ts"
import { effectsOf } from "./effects.ts"

/** The number of notifications that one transaction ends. */
const batch = 30
/** More running notifications than a task can have, which is a few of each agent. */
const maxRunning = 500
const maxReasonLength = 500
const effectsShown = 20

/** Who stops runs, and why. The reason may be empty. */
export interface Stop {
  readonly actor: Actor
  readonly reason: string
}

/** The agent or the task whose runs are stopped. */
export type Target = { readonly agentId: Id<"agents"> } | { readonly taskId: Id<"tasks"> }

type Notification = Doc<"notifications">

/** Recalls a lease: calls under its epoch are refused. It keeps the session until its process has aborted the turn. */
const recallStopped = (ctx: MutationCtx, session: LeasedSession): Promise<void> =>
  ctx.db.patch("sessions", session._id, {
    recalled: "stopped",
    stoppedRuns: withStoppedRun(session.stoppedRuns, session.lease.run)
  })

const agentNameOf = async (ctx: MutationCtx, agentId: Id<"agents"> | undefined): Promise<string> =>
  (agentId === undefined ? null : await ctx.db.get("agents", agentId))?.name ?? "an agent"

/** Posts a note in the thread with who stopped a turn that had begun, and what it had already done. */
const postNote = async (ctx: MutationCtx, row: Notification, { actor, reason }: Stop, origin: Origin) => {
  const task = await ctx.db.get("tasks", row.taskId)
  if (task === null) return
  const effects = await effectsOf(ctx, row._id)
  const shown = effects.slice(-effectsShown).map(({ summary, tool }) => `- ${tool}: ${summary}`)
  const left = effects.length - shown.length
  const content = [
    `${actor.name} stopped the turn of ${await agentNameOf(ctx, row.agentId)}${reason === "" ? "." : `: ${reason}`}`,
    ...(shown.length === 0
      ? ["It had changed nothing here."]
      : [
          "It had already made these changes, which stay:",
          ...(left > 0 ? [`- ${left} earlier changes`] : []),
          ...shown
        ])
  ].join("\n")
  await postMessage(ctx, task, { content, kind: "note", run: { runId: row._id } }, origin)
}

const reasonOf = ({ actor, reason }: Stop): string =>
  cut(`stopped by ${actor.name}${reason === "" ? "" : `: ${reason}`}`, maxReasonLength)

/** Ends a ready notification, or a claimed one whose lease is recalled. */
const endNotification = async (ctx: MutationCtx, row: Notification, stop: Stop, origin: Origin): Promise<void> => {
  await ctx.db.patch("notifications", row._id, {
    state: "delivered",
    outcome: "stopped",
    outcomeReason: reasonOf(stop),
    endedAt: Date.now(),
    ...notWaiting,
    crashes: 0
  })
  const session = row.sessionId === undefined ? null : await ctx.db.get("sessions", row.sessionId)
  if (session !== null && row.state === "ready") {
    // The gateway's history contains an earlier aborted attempt just like one that is aborted now.
    if (row.claims > 0) {
      await ctx.db.patch("sessions", session._id, { stoppedRuns: withStoppedRun(session.stoppedRuns, row._id) })
    }
    await refreshSession(ctx, session._id)
  }
  if (row.claims > 0) await postNote(ctx, row, stop, origin)
}

const rowsOf = (ctx: MutationCtx, target: Target, state: "claimed" | "ready", until: number, count: number) =>
  ("agentId" in target
    ? ctx.db
        .query("notifications")
        .withIndex("by_agent", (q) => q.eq("agentId", target.agentId).eq("state", state).lte("_creationTime", until))
    : ctx.db
        .query("notifications")
        .withIndex("by_task", (q) => q.eq("taskId", target.taskId).eq("state", state).lte("_creationTime", until))
  ).take(count)

/**
 * Recalls every lease of the target, so that from this commit on none of its turns can write. Returns the number of
 * heartbeats among them.
 */
const recallAll = async (ctx: MutationCtx, target: Target, exceptRun: string | undefined): Promise<number> => {
  const leased =
    "agentId" in target
      ? await leasedSessionsOf(ctx, target.agentId)
      : await Promise.all(
          (await rowsOf(ctx, target, "claimed", Infinity, maxRunning)).map(({ sessionId }) =>
            sessionId === undefined ? null : ctx.db.get("sessions", sessionId)
          )
        )
  let heartbeats = 0
  for (const session of leased) {
    if (session?.lease === undefined || session.recalled !== undefined || session.lease.run === exceptRun) continue
    const { lease } = session
    await recallStopped(ctx, { ...session, lease })
    if (lease.kind === "heartbeat") {
      await skipHeartbeat(ctx, session.agentId, lease.run)
      heartbeats += 1
    }
  }
  return heartbeats
}

/** Ends a batch of the target's notifications created up to `until`. Returns their number. */
const endBatch = async (
  ctx: MutationCtx,
  target: Target,
  stop: Stop,
  {
    exceptRun,
    origin,
    until
  }: { readonly exceptRun: string | undefined; readonly origin: Origin; readonly until: number }
): Promise<number> => {
  // The run whose approved call archives the task may be waiting for a retry.
  const others = async (state: "claimed" | "ready", count: number) => {
    const found = await rowsOf(ctx, target, state, until, count + 1)
    return found.filter(({ _id }) => _id !== exceptRun).slice(0, count)
  }
  const claimed = await others("claimed", batch)
  const rows = [...claimed, ...(claimed.length === batch ? [] : await others("ready", batch - claimed.length))]
  for (const row of rows) await endNotification(ctx, row, stop, origin)
  return rows.length
}

/**
 * Stops every run of an agent or a task, running, ready or waiting for a retry, except for `exceptRun`. Recalls all
 * leases and withdraws all open requests for approval in this transaction. Ends the first 30 notifications here and the others in scheduled batches; none of them is
 * claimed in between. Returns the number of runs that ended here. Reads the leases, those notifications and their
 * effects.
 */
export const stopAll = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  target: Target,
  stop: Stop,
  exceptRun?: string,
  origin: Origin = personOrigin(stop.actor)
): Promise<number> => {
  const heartbeats = await recallAll(ctx, target, exceptRun)
  await endQuestions(ctx, target, reasonOf(stop))
  await withdrawApprovals(ctx, target, stop)
  const ended = await endBatch(ctx, target, stop, { exceptRun, origin, until: Infinity })
  if (ended === batch) {
    const { actor, reason } = stop
    const id = await ctx.db.insert("stops", {
      accountId,
      ...target,
      actor,
      reason,
      ...(exceptRun === undefined ? {} : { exceptRun })
    })
    await ctx.scheduler.runAfter(0, internal.scheduled.stops.continueStop, { id })
  }
  if (ended + heartbeats > 0) {
    const scope = "agentId" in target ? `of ${await agentNameOf(ctx, target.agentId)}` : "of the task"
    await recordActivity(ctx, {
      accountId,
      type: "runs_stopped",
      actor: stop.actor,
      ...("taskId" in target ? { taskId: target.taskId } : {}),
      summary: `stopped the runs ${scope}${stop.reason === "" ? "" : `: ${cut(stop.reason, 300)}`}`
    })
  }
  return ended + heartbeats
}

/** Ends the next batch of a stop. The last batch deletes the stop's row. */
export const continueStop = async (ctx: MutationCtx, id: Id<"stops">): Promise<void> => {
  const found = await ctx.db.get("stops", id)
  if (found === null) return
  const { _creationTime: until, actor, agentId, exceptRun, reason, taskId } = found
  const target = agentId !== undefined ? { agentId } : taskId !== undefined ? { taskId } : null
  const options = { exceptRun, origin: personOrigin(actor), until }
  const ended = target === null ? 0 : await endBatch(ctx, target, { actor, reason }, options)
  if (ended === batch) await ctx.scheduler.runAfter(0, internal.scheduled.stops.continueStop, { id })
  else await ctx.db.delete("stops", id)
}

/**
 * The agent's notification or heartbeat of this run. Fails with `not_found` if the account has none. Reads two rows.
 */
const workOf = async (ctx: MutationCtx, accountId: Id<"accounts">, run: string) => {
  const row = await notificationOf(ctx, run)
  if (row !== null && row.accountId === accountId && row.agentId !== undefined) return { row }
  const agentId = ctx.db.normalizeId("agents", run.split(":")[0] ?? "")
  const heartbeat = agentId === null ? null : await heartbeatOf(ctx, agentId)
  if (heartbeat === null || heartbeat.accountId !== accountId) {
    throw refusal("not_found", "The account has no run with this id. List its runs.")
  }
  return { heartbeat }
}

/** Stops a running or waiting heartbeat. Returns false if it had ended. */
const stopHeartbeat = async (ctx: MutationCtx, heartbeat: Doc<"heartbeats">, run: string): Promise<boolean> => {
  const session = await ctx.db.get("sessions", heartbeat.sessionId)
  const isLive = session?.lease?.run === run
  if (session?.lease !== undefined && isLive) {
    if (session.recalled !== undefined) return false
    await recallStopped(ctx, { ...session, lease: session.lease })
  } else if (heartbeatRun(heartbeat) !== run) return false
  await skipHeartbeat(ctx, heartbeat.agentId, run)
  return true
}

/**
 * Stops one run in any state, and withdraws its open requests for approval, which outlast it. Returns `stopped`, or its
 * earlier outcome if it had ended. After a stopped heartbeat the
 * next one runs as scheduled. Reads about ten rows, and what the note in the thread reads.
 */
export const stopRun = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  run: string,
  stop: Stop
): Promise<{ readonly hasStopped: boolean; readonly outcome: string }> => {
  const { heartbeat, row } = await workOf(ctx, accountId, run)
  await withdrawApprovals(ctx, { run }, stop)
  if (heartbeat !== undefined) {
    if (!(await stopHeartbeat(ctx, heartbeat, run))) return { hasStopped: false, outcome: "ended" }
  } else {
    if (row.state !== "ready" && row.state !== "claimed")
      return { hasStopped: false, outcome: row.outcome ?? row.state }
    const session = row.sessionId === undefined ? null : await ctx.db.get("sessions", row.sessionId)
    if (row.state === "claimed" && session?.lease !== undefined && session.recalled === undefined) {
      await recallStopped(ctx, { ...session, lease: session.lease })
    }
    await endNotification(ctx, row, stop, personOrigin(stop.actor))
  }
  const agentId = row?.agentId ?? heartbeat?.agentId
  if (agentId !== undefined) await endQuestions(ctx, { agentId, run }, reasonOf(stop))
  const agentName = await agentNameOf(ctx, agentId)
  await recordActivity(ctx, {
    accountId,
    type: "run_stopped",
    actor: stop.actor,
    ...(row === undefined ? {} : { taskId: row.taskId }),
    summary: `stopped ${row === undefined ? "a heartbeat" : "a turn"} of ${agentName}${stop.reason === "" ? "" : `: ${cut(stop.reason, 300)}`}`
  })
  return { hasStopped: true, outcome: "stopped" }
}

/**
 * Makes a stopped notification ready again with a new budget of attempts. Fails with `conflict` if it was not stopped.
 */
export const requeueStopped = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  run: string,
  actor: Actor
): Promise<void> => {
  const { row } = await workOf(ctx, accountId, run)
  if (row?.outcome !== "stopped") throw refusal("conflict", "This run was not stopped. List the runs that ended.")
  const task = await ctx.db.get("tasks", row.taskId)
  if (task === null || task.status === "archived") {
    throw refusal("invalid", "The task of this run was archived or deleted. The run cannot run again.")
  }
  const agent = await requeue(ctx, row)
  await recordActivity(ctx, {
    accountId,
    type: "run_again",
    actor,
    taskId: row.taskId,
    summary: `a stopped ${row.type} of ${agent.name} runs again`
  })
}
