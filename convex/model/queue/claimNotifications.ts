import type { Doc } from "../../_generated/dataModel.js"
import { urgencyOf } from "../budgets/budgets.ts"
import { holdNotification } from "../budgets/heldNotifications.ts"
import { contextOf } from "../contexts/deliveryContext.ts"
import { recordShown } from "../contexts/seenTasks.ts"
import { intervalsPerLimit, enforceTurnLimit } from "../limits/turnLimit.ts"
import { eventsSize, notWaiting } from "../notifications/events.ts"
import { makeDeadLetter } from "../runs/fallback.ts"
import { isStopping } from "../runs/openStops.ts"
import { type Run } from "./claimAnswer.ts"
import {
  type Claiming,
  allowanceOf,
  hasRoom,
  hasSuspect,
  leaseFields,
  permitted,
  scanSlack,
  suspectAfter
} from "./claiming.ts"
import { type LeasedSession, hasLease, refreshSession, takeLease } from "./sessions.ts"

/** The maximum number of notifications without attempts left that one claim makes dead letters. */
const maxSpent = 50

/** The maximum number of read intervals of a dead letter with its fallback. */
const intervalsPerDeath = 40

/** The run of a leased notification with its context. Stores what the context shows. */
export const notificationRun = async (
  { budget, ctx, accountContext }: Claiming,
  session: Doc<"sessions">,
  lease: LeasedSession["lease"],
  row: Doc<"notifications">
): Promise<Run> => {
  const { allowance = null, epoch, expiresAt, generation } = lease
  const attempt = { session, generation, epoch, earlierAttempts: row.claims - 1 }
  const built = await contextOf(ctx, row, attempt, await accountContext(), budget.forRun())
  const { attempts, failures, readyAt, silences } = row
  const held = { session: session._id, epoch, expiresAt, allowance }
  const fields = { id: row._id, ...held, attempt: attempts, failures, silences, readyAt }
  if (typeof built === "string") return { kind: "notification", ...fields, broken: built }
  const { context, ...shown } = built
  await recordShown(ctx, session, row.taskId, { epoch, ...shown })
  return { kind: "notification", ...fields, context }
}

/** Claims the session's next due notification. Notifications without attempts left become dead letters. */
const takeNotification = async (claiming: Claiming, session: Doc<"sessions">): Promise<void> => {
  const { ctx, now, request } = claiming
  if (claiming.pausedAgents.has(session.agentId) || (await hasLease(ctx, session.agentId, "heartbeat"))) return
  const due = ctx.db
    .query("notifications")
    .withIndex("by_session", (q) => q.eq("sessionId", session._id).eq("state", "ready").lte("at", now))
  let count = 0
  // Iterates, because usually the first is claimed, and each may hold fifty events.
  for await (const row of due) {
    claiming.budget.noteCharacters(eventsSize(row.events))
    count += 1
    if (count > scanSlack || claiming.spent.length === maxSpent) {
      claiming.hasMore = true
      break
    }
    if (isStopping(claiming.stops, row)) continue
    if (row.attempts >= request.maxAttempts) {
      const message = `the budget of ${request.maxAttempts} attempts is used up`
      await makeDeadLetter(ctx, row, session.epoch, { error: { class: "AttemptsSpent", message, at: now } })
      claiming.spent.push(row._id)
      claiming.budget.note(intervalsPerDeath)
      continue
    }
    const isSuspect = row.crashes >= suspectAfter
    if (isSuspect && (await hasSuspect(claiming))) {
      claiming.hasMore = true
      continue
    }
    const { agentId } = session
    const permission = await permitted(claiming, { agentId, taskId: row.taskId, urgency: urgencyOf(row) })
    if ("refusedBy" in permission) {
      await holdNotification(ctx, row, permission)
      claiming.heldBack += 1
      continue
    }
    claiming.takesSuspect ||= isSuspect
    const taken = { state: "claimed" as const, attempts: row.attempts + 1, claims: row.claims + 1 }
    await ctx.db.patch("notifications", row._id, { ...taken, ...notWaiting })
    const lease = await takeLease(ctx, session, {
      ...leaseFields(claiming),
      run: row._id,
      kind: "notification",
      isSuspect,
      taskId: row.taskId,
      ...allowanceOf(permission),
      runsInNextGeneration: row.runsInNextGeneration
    })
    if (row.claims === 0 && (await enforceTurnLimit(ctx, row, request.maxTurns)))
      claiming.budget.note(intervalsPerLimit)
    claiming.runs.push(await notificationRun(claiming, session, lease, { ...row, ...taken }))
    return
  }
  await refreshSession(ctx, session._id)
}

/** Claims due notifications in order, as far as there is capacity. */
export const takeNotifications = async (claiming: Claiming): Promise<void> => {
  const { accountId, ctx, now, request } = claiming
  const due = await ctx.db
    .query("sessions")
    .withIndex("by_at", (q) => q.eq("accountId", accountId).gt("at", 0).lte("at", now))
    .take(request.limit + scanSlack)
  if (due.length === request.limit + scanSlack) claiming.hasMore = true
  for (const session of due) {
    if (!hasRoom(claiming)) {
      claiming.hasMore = true
      return
    }
    await takeNotification(claiming, session)
  }
}
