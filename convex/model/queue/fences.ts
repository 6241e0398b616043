import type { Doc, Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { ownRow } from "../access/ownRow.ts"
import { refusal } from "../access/refusal.ts"
import { heartbeatOf } from "../heartbeats/heartbeatSchedule.ts"
import type { LeasedSession } from "./sessions.ts"

/** Identifies the lease under which a run writes. */
export interface Fence {
  readonly run: string
  readonly session: string
  readonly epoch: number
}

const leaseLost = (session: Doc<"sessions"> | null, { epoch }: Fence) =>
  refusal(
    "lease_lost",
    "This run has lost its lease: another claim holds the session, the lease has ended, or the run was stopped. End the turn.",
    session?.recalled !== undefined && session.epoch === epoch ? { reason: session.recalled } : {}
  )

/** Whether the session's lease matches the fence and was not recalled. */
const isHeld = (session: Doc<"sessions"> | null, { epoch, run }: Fence): session is LeasedSession =>
  session?.lease !== undefined &&
  session.recalled === undefined &&
  session.lease.epoch === epoch &&
  session.lease.run === run

/**
 * The session whose lease matches the fence. Fails with `lease_lost` before anything is written. An expired lease that
 * no other claim has taken still matches. Reads one row.
 */
export const heldSession = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  fence: Fence
): Promise<LeasedSession> => {
  const session = await ownRow(ctx, "sessions", accountId, fence.session)
  if (!isHeld(session, fence)) throw leaseLost(session, fence)
  return session
}

/** The notification of a run; null if the run is a heartbeat. Reads at most one row. */
export const notificationOf = async (ctx: Pick<QueryCtx, "db">, run: string): Promise<Doc<"notifications"> | null> => {
  const id = ctx.db.normalizeId("notifications", run)
  return id === null ? null : await ctx.db.get("notifications", id)
}

/** The notification of a run. Fails with `invalid` if the run is a heartbeat. */
export const mustBeNotification = async (ctx: Pick<QueryCtx, "db">, fence: Fence): Promise<Doc<"notifications">> => {
  const row = await notificationOf(ctx, fence.run)
  if (row === null) {
    throw refusal("invalid", "This run is a heartbeat. End it with service/agents:updateAgentHeartbeat.")
  }
  return row
}

/** The live lease, or the answer of an earlier identical call. */
export type Fenced<Answer> =
  | { readonly isRepeated: false; readonly session: LeasedSession }
  | { readonly isRepeated: true; readonly answer: Answer }

/** Like heldSession, but a repeated call of the kind that ended the run's lease gets its first answer again. */
export const fenced = async <Answer>(
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  fence: Fence,
  kind: "complete" | "fail" | "release" | "heartbeat"
): Promise<Fenced<Answer>> => {
  const session = await ownRow(ctx, "sessions", accountId, fence.session)
  if (isHeld(session, fence)) return { isRepeated: false, session }
  if (session === null) throw leaseLost(session, fence)
  const work = (await notificationOf(ctx, fence.run)) ?? (await heartbeatOf(ctx, session.agentId))
  const end = work?.sessionId === session._id ? work.end : undefined
  if (end === undefined || end.run !== fence.run || end.epoch !== fence.epoch || end.kind !== kind) {
    throw leaseLost(session, fence)
  }
  return { isRepeated: true, answer: end.answer }
}

/** The patch that stores the end of an attempt in the notification or heartbeat. */
export const endOf = (fence: Fence, kind: string, answer: unknown) => ({
  end: { run: fence.run, epoch: fence.epoch, kind, answer }
})
