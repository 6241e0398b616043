import type { Doc, Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { refusal } from "../access/refusal.ts"
import { heartbeatOf } from "../heartbeats/heartbeatSchedule.ts"
import type { LeasedSession } from "./sessions.ts"

/** What fences every write of a run. */
export interface Fence {
  readonly run: string
  readonly session: string
  readonly epoch: number
}

const leaseLost = (session: Doc<"sessions"> | null, { epoch }: Fence) =>
  refusal(
    "lease_lost",
    "Another claim holds this session, its lease has ended, or the run was stopped: end the turn and write nothing.",
    session?.recalled !== undefined && session.epoch === epoch ? { reason: session.recalled } : {}
  )

const sessionOf = async (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">, sessionId: string) => {
  const id = ctx.db.normalizeId("sessions", sessionId)
  const session = id === null ? null : await ctx.db.get("sessions", id)
  return session === null || session.accountId !== accountId ? null : session
}

/** Whether the session's lease is that of the fence, and was not recalled. */
const isHeld = (session: Doc<"sessions"> | null, { epoch, run }: Fence): session is LeasedSession =>
  session?.lease !== undefined &&
  session.recalled === undefined &&
  session.lease.epoch === epoch &&
  session.lease.run === run

/**
 * The session whose lease is that of the fence; fails with `lease_lost` before anything is written. A lease that has
 * expired but was not taken still counts. Reads one row.
 */
export const heldSession = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  fence: Fence
): Promise<LeasedSession> => {
  const session = await sessionOf(ctx, accountId, fence.session)
  if (!isHeld(session, fence)) throw leaseLost(session, fence)
  return session
}

/** The notification of a run; null if the run is a heartbeat's. Reads at most one row. */
export const notificationOf = async (ctx: Pick<QueryCtx, "db">, run: string): Promise<Doc<"notifications"> | null> => {
  const id = ctx.db.normalizeId("notifications", run)
  return id === null ? null : await ctx.db.get("notifications", id)
}

/** Fails with `invalid` if the run is a heartbeat's. */
export const mustBeNotification = async (ctx: Pick<QueryCtx, "db">, fence: Fence): Promise<Doc<"notifications">> => {
  const row = await notificationOf(ctx, fence.run)
  if (row === null) {
    throw refusal("invalid", "This run is a heartbeat: end it with service/agents:updateAgentHeartbeat.")
  }
  return row
}

/** What the fence found: the live lease, or the answer of the same call made before. */
export type Fenced<Answer> =
  | { readonly isRepeated: false; readonly session: LeasedSession }
  | { readonly isRepeated: true; readonly answer: Answer }

/** As heldSession, but a call of this kind that already ended the run's lease gets its answer again. */
export const fenced = async <Answer>(
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  fence: Fence,
  kind: "complete" | "fail" | "release" | "heartbeat"
): Promise<Fenced<Answer>> => {
  const session = await sessionOf(ctx, accountId, fence.session)
  if (isHeld(session, fence)) return { isRepeated: false, session }
  if (session === null) throw leaseLost(session, fence)
  const work = (await notificationOf(ctx, fence.run)) ?? (await heartbeatOf(ctx, session.agentId))
  const end = work?.sessionId === session._id ? work.end : undefined
  if (end === undefined || end.run !== fence.run || end.epoch !== fence.epoch || end.kind !== kind) {
    throw leaseLost(session, fence)
  }
  return { isRepeated: true, answer: end.answer }
}

/** The end of a run's attempt, as the notification or heartbeat keeps it. */
export const endOf = (fence: Fence, kind: string, answer: unknown) => ({
  end: { run: fence.run, epoch: fence.epoch, kind, answer }
})
