import type { MutationCtx } from "../../_generated/server.js"
import { drawExcess } from "../budgets/budgets.ts"
import { endLease, type LeasedSession, type LeaseEnd } from "../queue/sessions.ts"
import { type Attempt, type AttemptEnd, recordAttempt, type Spending } from "./usage.ts"

/** The attempt that holds the session. */
const attemptOf = ({ accountId, agentId, lease }: LeasedSession): Attempt => ({
  accountId,
  agentId,
  kind: lease.kind,
  run: lease.run,
  epoch: lease.epoch,
  taskId: lease.taskId,
  lease
})

/**
 * Records what the attempt did and spent, and frees its session. An attempt without a request has no usage. An attempt
 * that did not begin (`attemptEnd` null) is not recorded. `end` is as for endLease.
 */
export const endAttempt = async (
  ctx: MutationCtx,
  session: LeasedSession,
  report: Spending | "unknown" | undefined,
  attemptEnd: AttemptEnd | null,
  end: LeaseEnd
): Promise<void> => {
  // Heartbeats without a turn are frequent and contain nothing to show.
  if (attemptEnd !== null && (report !== undefined || session.lease.kind === "notification")) {
    const spent = await recordAttempt(ctx, attemptOf(session), session, report, attemptEnd)
    const { allowance } = session.lease
    if (allowance !== undefined && spent > allowance) await drawExcess(ctx, session, spent - allowance)
  }
  const isAnswered = report !== undefined && report !== "unknown" && report.contextTokens > 0
  await endLease(
    ctx,
    isAnswered
      ? { ...session, lastRequest: { inputTokens: report.contextTokens, model: report.model, price: report.price } }
      : session,
    end
  )
}
