import { type Infer, v } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { attemptEnd, attemptUsage, runStep } from "../../tables/attempts.ts"
import { deadLetterDecision, notificationOutcome, notificationType } from "../../tables/notifications.ts"
import { failure, runKind } from "../../tables/runs.ts"
import { ownRow } from "../access/ownRow.ts"
import { refusal } from "../access/refusal.ts"
import { heartbeatOf, heartbeatRun } from "../heartbeats/heartbeatSchedule.ts"
import { notificationOf } from "../queue/fences.ts"
import type { Lease, LeasedSession } from "../queue/sessions.ts"
import { progressOf, runProgress } from "./progress.ts"
import { runWait, waitsOf } from "./runWait.ts"

/** A run in a list, for people and operators. */
export const runView = v.object({
  /** The notification's id, or the agent and due time of a heartbeat. */
  id: v.string(),
  kind: runKind,
  agentSlug: v.union(v.string(), v.null()),
  taskId: v.union(v.string(), v.null()),
  taskTitle: v.union(v.string(), v.null()),
  type: v.union(notificationType, v.null()),
  /** `stopping` until its process has aborted the turn. */
  state: v.union(
    v.literal("running"),
    v.literal("stopping"),
    v.literal("waiting"),
    v.literal("delivered"),
    v.literal("dead"),
    v.literal("discarded")
  ),
  outcome: v.union(notificationOutcome, v.null()),
  outcomeReason: v.union(v.string(), v.null()),
  /** Why a waiting notification is not claimed now; null if it can be. */
  wait: v.union(runWait, v.null()),
  attempts: v.number(),
  /** When its attempt was claimed, since when it waits, or when it ended, in epoch milliseconds. */
  at: v.number(),
  runtimeId: v.union(v.string(), v.null()),
  traceId: v.union(v.string(), v.null())
})
type RunView = Infer<typeof runView>

/** A running run with how far its turn is; null until its runtime has reported it to the people who watch. */
export const watchedRun = v.object({ ...runView.fields, progress: v.union(runProgress, v.null()) })

/** An attempt. For one that is running, or whose process ended, only the claim is known. */
const attemptView = v.object({
  epoch: v.number(),
  claimedAt: v.union(v.number(), v.null()),
  runtimeId: v.union(v.string(), v.null()),
  endedAt: v.union(v.number(), v.null()),
  end: v.union(attemptEnd, v.null()),
  reason: v.union(v.string(), v.null()),
  traceId: v.union(v.string(), v.null()),
  isDelta: v.union(v.boolean(), v.null()),
  steps: v.array(runStep),
  stepsLeftOut: v.number(),
  usage: v.union(attemptUsage, v.null())
})
type AttemptView = Infer<typeof attemptView>

/** A run with the reasons for it, its attempts and its last failure. Times are epoch milliseconds. */
export const runDetails = v.object({
  run: runView,
  /** For a heartbeat, when it was due. */
  createdAt: v.number(),
  /** The number of claims, whether or not the attempt counted. */
  claims: v.number(),
  failures: v.number(),
  silences: v.number(),
  nextAttemptAt: v.union(v.number(), v.null()),
  error: v.union(failure, v.null()),
  /** The last decision about it as a dead letter. */
  decision: v.union(v.object({ kind: deadLetterDecision.fields.kind, byName: v.string(), at: v.number() }), v.null()),
  /** Oldest first. A heartbeat has none. */
  events: v.array(
    v.object({
      type: notificationType,
      actorName: v.string(),
      at: v.number(),
      refusal: v.union(v.string(), v.null()),
      /** It arrived while the turn ran. */
      hasJoined: v.boolean(),
      /** The agent's question that a person's message answers. */
      answers: v.optional(v.string())
    })
  ),
  /** The latest 50, oldest first. */
  timeline: v.array(attemptView),
  /** What its tools changed, oldest first. The epoch identifies the attempt. */
  effects: v.array(v.object({ epoch: v.number(), tool: v.string(), summary: v.string(), at: v.number() }))
})

const slugOf = async (ctx: Pick<QueryCtx, "db">, agentId: Id<"agents"> | undefined): Promise<string | null> =>
  (agentId === undefined ? null : await ctx.db.get("agents", agentId))?.slug ?? null

/** The notification as a run; `changes` are the fields of its lease. Reads two rows. */
export const toRunView = async (
  ctx: Pick<QueryCtx, "db">,
  row: Doc<"notifications">,
  changes: Partial<RunView> = {}
): Promise<RunView> => {
  const task = await ctx.db.get("tasks", row.taskId)
  const { state } = row
  return {
    id: row._id,
    kind: "notification",
    agentSlug: await slugOf(ctx, row.agentId),
    taskId: row.taskId,
    taskTitle: task?.title ?? null,
    type: row.type,
    state: state === "ready" || state === "unread" ? "waiting" : state === "claimed" ? "running" : state,
    outcome: row.outcome ?? null,
    outcomeReason: row.outcomeReason ?? null,
    wait: null,
    attempts: row.attempts,
    at: row.endedAt ?? row.held?.readyAt ?? row.readyAt,
    runtimeId: null,
    traceId: row.traceId ?? null,
    ...changes
  }
}

/** The fields of a view that its lease decides. */
const heldBy = ({ claimedAt, runtimeId }: Lease, { recalled }: Pick<Doc<"sessions">, "recalled">) => ({
  state: recalled === undefined ? ("running" as const) : ("stopping" as const),
  at: claimedAt,
  runtimeId
})

/** The leased sessions, including those of heartbeats, at most `limit`. Reads one row each. */
const leasedSessions = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  limit: number
): Promise<Array<LeasedSession>> => {
  const sessions = await ctx.db
    .query("sessions")
    .withIndex("by_runtime", (q) => q.eq("accountId", accountId).gt("leaseRuntimeId", ""))
    .take(limit)
  return sessions.filter((session): session is LeasedSession => session.lease !== undefined)
}

/** The run of a leased session. Reads three rows. */
const runningRun = async (ctx: Pick<QueryCtx, "db">, session: LeasedSession): Promise<RunView> => {
  const { agentId, lease } = session
  const held = heldBy(lease, session)
  const row = await notificationOf(ctx, lease.run)
  if (row !== null) return await toRunView(ctx, row, held)
  const heartbeat = { id: lease.run, kind: "heartbeat" as const, agentSlug: await slugOf(ctx, agentId), type: null }
  const unknown = { taskId: null, taskTitle: null, outcome: null, outcomeReason: null, wait: null, traceId: null }
  return { ...heartbeat, ...unknown, attempts: 1, ...held }
}

/**
 * The running runs with how far their turns are, at most `limit`. Reads four rows each, one per runtime, and the watch.
 */
export const watchedRuns = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  limit: number
): Promise<Array<Infer<typeof watchedRun>>> => {
  const progressIn = await progressOf(ctx, accountId)
  const runs = []
  for (const session of await leasedSessions(ctx, accountId, limit)) {
    runs.push({ ...(await runningRun(ctx, session)), progress: await progressIn(session) })
  }
  return runs
}

/** The running and waiting runs, or the runs that ended last. Reads three or four rows each, and each pause. */
export const listRuns = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  { hasEnded, limit }: { readonly hasEnded: boolean; readonly limit: number }
): Promise<Array<RunView>> => {
  const views: Array<RunView> = []
  for (const session of hasEnded ? [] : await leasedSessions(ctx, accountId, limit)) {
    views.push(await runningRun(ctx, session))
  }
  const rows = await (
    hasEnded
      ? ctx.db
          .query("notifications")
          .withIndex("by_ended", (q) => q.eq("accountId", accountId).eq("state", "delivered").gt("endedAt", 0))
          .order("desc")
      : ctx.db.query("notifications").withIndex("by_state", (q) => q.eq("accountId", accountId).eq("state", "ready"))
  ).take(limit - views.length)
  const waitOf = await waitsOf(ctx, accountId)
  for (const row of rows)
    if (row.agentId !== undefined) views.push(await toRunView(ctx, row, { wait: await waitOf(row) }))
  return views
}

const maxEffects = 200
const maxAttempts = 50

/** The run's attempts, oldest first, including the one that holds the lease. Reads one row each, at most 50. */
const timelineOf = async (
  ctx: Pick<QueryCtx, "db">,
  run: string,
  held: Lease | undefined
): Promise<Array<AttemptView>> => {
  const rows = await ctx.db
    .query("attempts")
    .withIndex("by_run", (q) => q.eq("run", run))
    .order("desc")
    .take(maxAttempts)
  const views = rows.toReversed().map((row): AttemptView => {
    const { claim, end, endedAt, epoch, isDelta = null, reason = null, steps, stepsLeftOut, traceId = null } = row
    const claimed = { claimedAt: claim?.at ?? null, runtimeId: claim?.runtimeId ?? null }
    return { epoch, ...claimed, endedAt, end, reason, traceId, isDelta, steps, stepsLeftOut, usage: row.usage }
  })
  // A stopped attempt may be recorded before its session is free.
  if (held === undefined || views.some(({ epoch }) => epoch === held.epoch)) return views
  const unknown = { endedAt: null, end: null, reason: null, traceId: null, isDelta: null, steps: [], stepsLeftOut: 0 }
  const { claimedAt, epoch, runtimeId } = held
  return [...views, { epoch, claimedAt, runtimeId, ...unknown, usage: null }]
}

/** What the run's tools changed, oldest first, at most 200 effects. Reads one row each. */
const changesOf = async (ctx: Pick<QueryCtx, "db">, run: string) => {
  const effects = await ctx.db
    .query("effects")
    .withIndex("by_run", (q) => q.eq("runId", run))
    .take(maxEffects)
  return effects.map(({ _creationTime: at, epoch, summary, tool }) => ({ epoch, tool, summary, at }))
}

/**
 * The details of a heartbeat's run: of the one that is due next or running, or of an earlier one with recorded
 * attempts. Fails with `not_found` for any other. Reads three rows, at most 50 attempts and 200 effects.
 */
const heartbeatDetailsOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  run: string
): Promise<Infer<typeof runDetails>> => {
  const [given = "", dueAt] = run.split(":")
  const agent = await ownRow(ctx, "agents", accountId, given)
  const heartbeat = agent === null ? null : await heartbeatOf(ctx, agent._id)
  const session = heartbeat === null ? null : await ctx.db.get("sessions", heartbeat.sessionId)
  const lease = session?.lease?.run === run ? session.lease : undefined
  const current = heartbeat !== null && heartbeatRun(heartbeat) === run ? heartbeat : null
  const timeline = agent === null ? [] : await timelineOf(ctx, run, lease)
  if (agent === null || (current === null && timeline.length === 0)) {
    throw refusal("not_found", "The account has no run with this id. List its runs.")
  }
  const last = timeline.at(-1)
  const { attempts, claims, failures } = current ?? {
    attempts: timeline.length,
    claims: timeline.length,
    failures: timeline.filter(({ end }) => end === "failed").length
  }
  return {
    run: {
      id: run,
      kind: "heartbeat",
      agentSlug: agent.slug,
      taskId: null,
      taskTitle: null,
      type: null,
      state: current === null ? "delivered" : "waiting",
      outcome: null,
      outcomeReason: null,
      wait: null,
      attempts,
      at: last?.endedAt ?? Number(dueAt),
      runtimeId: null,
      traceId: last?.traceId ?? null,
      ...(session === null || lease === undefined ? {} : heldBy(lease, session))
    },
    createdAt: Number(dueAt),
    claims,
    failures,
    silences: 0,
    nextAttemptAt: current?.at ?? null,
    error: current?.error ?? null,
    decision: null,
    events: [],
    timeline,
    effects: await changesOf(ctx, run)
  }
}

/**
 * The details of a run. Fails with `not_found` if there is none. Reads five rows, each pause, at most 50 attempts and
 * 200 effects.
 */
export const runDetailsOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  run: string
): Promise<Infer<typeof runDetails>> => {
  const row = await notificationOf(ctx, run)
  if (row === null || row.accountId !== accountId || row.agentId === undefined) {
    return await heartbeatDetailsOf(ctx, accountId, run)
  }
  const session = row.sessionId === undefined ? null : await ctx.db.get("sessions", row.sessionId)
  const lease = session?.lease?.run === row._id ? session.lease : undefined
  const waitOf = await waitsOf(ctx, accountId)
  const held = session === null || lease === undefined ? { wait: await waitOf(row) } : heldBy(lease, session)
  const { _creationTime: createdAt, claims, decision, error = null, failures, silences } = row
  return {
    run: await toRunView(ctx, row, held),
    createdAt,
    claims,
    failures,
    silences,
    nextAttemptAt: row.retryAt ?? null,
    error,
    decision: decision === undefined ? null : { kind: decision.kind, byName: decision.by.name, at: decision.at },
    events: row.events.map(({ actor, answers, at, joined, refusal: why = null, type }) => ({
      type,
      actorName: actor.name,
      at,
      refusal: why,
      hasJoined: joined !== undefined,
      ...(answers === undefined ? {} : { answers })
    })),
    timeline: await timelineOf(ctx, row._id, lease),
    effects: await changesOf(ctx, row._id)
  }
}
