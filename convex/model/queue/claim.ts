import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import { SpendingBook } from "../budgets/spendingBook.ts"
import { type AccountContext, accountContextOf } from "../contexts/accountContext.ts"
import { ReadBudget } from "../contexts/readBudget.ts"
import { heartbeatOf, heartbeatRun } from "../heartbeats/heartbeatSchedule.ts"
import { openStops } from "../runs/openStops.ts"
import { claimingBoot } from "../runtimes/boots.ts"
import { type ClaimAnswer, emptyAnswer } from "./claimAnswer.ts"
import { heartbeatRunOf, takeHeartbeats } from "./claimHeartbeats.ts"
import { type Claiming, hasRoom } from "./claiming.ts"
import { notificationRun, takeNotifications } from "./claimNotifications.ts"
import { type ClaimRequest, checkRequest } from "./claimRequest.ts"
import { nextDueAt, oldestReady } from "./dueWork.ts"
import { notificationOf } from "./fences.ts"
import { isNamed, leasesOf, otherLeases, recalledOf, releaseLease, rescue } from "./leases.ts"
import { pausesOf } from "./pauses.ts"
import { type LeasedSession, reissueLease } from "./sessions.ts"

/** The maximum number of read intervals of a rescue. */
const intervalsPerRescue = 14

/** Returns a lease that the process did not name, under a new epoch, as the same attempt. */
const reissueUnnamed = async (claiming: Claiming, session: LeasedSession): Promise<void> => {
  const { ctx, now, request } = claiming
  const row = session.lease.kind === "notification" ? await notificationOf(ctx, session.lease.run) : null
  const heartbeat = session.lease.kind === "heartbeat" ? await heartbeatOf(ctx, session.agentId) : null
  if (row === null && (heartbeat === null || heartbeatRun(heartbeat) !== session.lease.run)) {
    // The agent was removed or its schedule changed before the heartbeat began.
    await releaseLease(ctx, session, { hasBegun: false })
    return
  }
  claiming.takesSuspect ||= session.lease.isSuspect
  const lease = await reissueLease(ctx, session, now + request.leaseMs)
  if (row !== null) claiming.runs.push(await notificationRun(claiming, session, lease, row))
  else if (heartbeat !== null) claiming.runs.push(await heartbeatRunOf(claiming, session, lease, heartbeat))
}

/**
 * Leases due work to a process and returns it with its contexts. Rescues abandoned runs, and in a recovery returns the
 * leases of the boot that the process does not name. The claims of a boot are numbered: one that arrives late leases
 * nothing, and one that neither leases nor recovers anything writes nothing. A claim with limit 0 is the last one of
 * the boot. Fails with `conflict` if the boot is not the current one or has made its last claim.
 */
export const claimRuns = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  request: ClaimRequest
): Promise<ClaimAnswer> => {
  checkRequest(request)
  const now = Date.now()
  const boot = await claimingBoot(ctx, accountId, request.runtimeId, request.bootId)
  const budget = new ReadBudget(request.abandoned.length * intervalsPerRescue)
  let ownRows: Promise<ReadonlyArray<LeasedSession>> | undefined
  const readOwn = async () => {
    const leases = await leasesOf(ctx, accountId, request.runtimeId)
    budget.note(leases.length)
    return leases.filter(({ lease }) => lease.bootId === request.bootId)
  }
  const ownLeases = () => (ownRows ??= readOwn())
  const isUnnamed = (session: LeasedSession) => !isNamed(request.held, session) && !isNamed(request.abandoned, session)
  if (request.abandoned.length > 0) {
    for (const session of await ownLeases()) {
      if (isNamed(request.abandoned, session)) await rescue(ctx, session, "abandoned")
    }
  }
  if (request.limit === 0) {
    for (const session of (await ownLeases()).filter(isUnnamed)) await releaseLease(ctx, session, { hasBegun: true })
    await ctx.db.patch("boots", boot._id, { hasEnded: true })
    return emptyAnswer(now)
  }
  if (request.number <= boot.lastClaim) return emptyAnswer(now)
  // The process no longer names a recalled lease, so it has aborted the turn.
  for (const session of await recalledOf(ctx, accountId)) {
    const isOwn = session.lease.runtimeId === request.runtimeId && session.lease.bootId === request.bootId
    if (isOwn && isUnnamed(session)) await releaseLease(ctx, session, { hasBegun: true })
  }
  const pauses = await pausesOf(ctx, accountId)
  if (pauses.isAccountPaused) return emptyAnswer(now)
  // A process that holds nothing may have missed the answer to a late claim.
  const isRecovering = request.recoverUnnamed || request.held.length === 0
  const unnamed = isRecovering ? (await ownLeases()).filter(isUnnamed) : []

  let accountContext: Promise<AccountContext> | undefined
  let book: Promise<SpendingBook | null> | undefined
  let accountRow: Promise<Doc<"accounts"> | null> | undefined
  const readAccount = () => (accountRow ??= ctx.db.get("accounts", accountId))
  const openBook = async () => {
    const account = await readAccount()
    return account === null ? null : new SpendingBook(ctx, account, now, (intervals) => budget.note(intervals))
  }
  const claiming: Claiming = {
    ctx,
    accountId,
    request,
    now,
    budget,
    accountContext: () => (accountContext ??= accountContextOf(ctx, accountId, budget, readAccount())),
    pausedAgents: pauses.agentIds,
    stops: await openStops(ctx, accountId),
    book: () => (book ??= openBook()),
    runs: [],
    spent: [],
    ownLeases,
    takesSuspect: false,
    heldBack: 0,
    hasMore: false,
    hasMoreHeartbeats: false
  }
  for (const session of unnamed) {
    if (session.recalled !== undefined) continue
    if (pauses.agentIds.has(session.agentId)) {
      await releaseLease(ctx, session, { hasBegun: false })
      continue
    }
    if (hasRoom(claiming)) await reissueUnnamed(claiming, session)
    else claiming.hasMore = true
  }
  const { expired, nextExpiry } = await otherLeases(ctx, accountId, request.runtimeId, request.limit, now)
  if (expired.length === request.limit) claiming.hasMore = true
  for (const session of expired) await rescue(ctx, session)
  budget.note(expired.length * intervalsPerRescue)
  await takeNotifications(claiming)
  await takeHeartbeats(claiming)

  const { hasMore, hasMoreHeartbeats, heldBack, runs, spent } = claiming
  // After a recovery no earlier claim may lease anything.
  if (runs.length > 0 || request.recoverUnnamed) await ctx.db.patch("boots", boot._id, { lastClaim: request.number })
  return {
    runs,
    spent,
    heldBack,
    hasMore,
    hasMoreHeartbeats,
    nextDueAt: await nextDueAt(ctx, accountId, nextExpiry, now),
    oldest: await oldestReady(ctx, accountId, now),
    now
  }
}
