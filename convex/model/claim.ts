import { type Infer, v } from "convex/values"
import { protocolMismatch, servedProtocols } from "../../src/domain/shared/Protocol.ts"
import { isOnEarlierDay } from "../../src/domain/shared/SessionKey.ts"
import type { Doc, Id } from "../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../_generated/server.js"
import { runKind } from "../tables/runs.ts"
import { claimingBoot } from "./boots.ts"
import { holdBack, permit, type Permission, type Spender, urgencyOf } from "./budgets.ts"
import { brokenCode, contextOf, deliveryContext, type Surroundings, surroundingsOf } from "./deliveryContext.ts"
import { die } from "./ends.ts"
import { eventsSize, notWaiting } from "./events.ts"
import { notificationOf } from "./fences.ts"
import { heartbeatContext, heartbeatContextOf } from "./heartbeatContext.ts"
import { movedTo } from "./heartbeats.ts"
import { followingDueAt, heartbeatOf, heartbeatRun, latestDueAt } from "./heartbeatSchedule.ts"
import {
  checkLeaseMs,
  checkNamed,
  isNamed,
  leasesOf,
  type NamedLease,
  otherLeases,
  recalledOf,
  releaseLease,
  rescue
} from "./leases.ts"
import { isStopping, openStops } from "./openStops.ts"
import { type Pauses, pausesOf } from "./pauses.ts"
import { ReadBudget } from "./readBudget.ts"
import { refusal } from "./refusal.ts"
import { noteShown } from "./seenTasks.ts"
import { hasDueSession, hasLease, type LeasedSession, offerAgain, refreshSession, takeLease } from "./sessions.ts"
import { SpendingBook } from "./spendingBook.ts"
import { intervalsPerLimit, noteTurn } from "./turnLimit.ts"

const claimed = {
  id: v.string(),
  session: v.string(),
  epoch: v.number(),
  expiresAt: v.number(),
  attempt: v.number(),
  failures: v.number(),
  silences: v.number(),
  readyAt: v.number(),
  /** Price-weighted tokens that it may spend before it asks for more; null without a budget. */
  allowance: v.union(v.number(), v.null())
}

/** One leased run with its context. */
export const run = v.union(
  v.object({ kind: v.literal("notification"), ...claimed, context: deliveryContext }),
  v.object({ kind: v.literal("heartbeat"), ...claimed, context: heartbeatContext }),
  v.object({ kind: runKind, ...claimed, broken: brokenCode })
)
type Run = Infer<typeof run>

export const claimAnswer = v.object({
  runs: v.array(run),
  /** Notifications that became dead letters here, because their attempts were used up. */
  spent: v.array(v.string()),
  /** How many notifications and heartbeats a budget kept waiting here. */
  heldBack: v.number(),
  hasMore: v.boolean(),
  hasMoreHeartbeats: v.boolean(),
  /** The next moment at which a claim could find something because of time alone. */
  nextDueAt: v.union(v.number(), v.null()),
  oldest: v.union(v.number(), v.null()),
  now: v.number()
})
type ClaimAnswer = Infer<typeof claimAnswer>

export interface ClaimRequest {
  readonly protocol: number
  readonly runtimeId: string
  readonly bootId: string
  readonly number: number
  readonly limit: number
  readonly heartbeatLimit: number
  readonly leaseMs: number
  readonly maxAttempts: number
  readonly maxTurns: number
  readonly held: ReadonlyArray<NamedLease>
  readonly abandoned: ReadonlyArray<NamedLease>
  readonly recoverUnnamed: boolean
}

const maxLimit = 100
/** How many due sessions beyond the limit one claim looks at: some may be busy with a heartbeat, or suspect. */
const scanSlack = 50
/** How many notifications without attempts left one claim ends. */
const maxSpent = 50
/** Read intervals of a dead letter with its fallback, and of a rescue, at most. */
const intervalsPerDeath = 40
const intervalsPerRescue = 14
/** A heartbeat that a budget keeps waiting is tried again after so long at the latest. */
const heldHeartbeatMs = 60 * 60 * 1_000
/** Two attempts in a row that ended with their process make a run suspect. */
const suspectAfter = 2

const check = (request: ClaimRequest): void => {
  const isCount = (value: number, most: number) => Number.isInteger(value) && value >= 0 && value <= most
  checkLeaseMs(request.leaseMs)
  checkNamed(request.held)
  checkNamed(request.abandoned)
  if (!isCount(request.limit, maxLimit)) throw refusal("invalid", `limit is out of range: 0 to ${maxLimit}.`)
  if (!isCount(request.heartbeatLimit, maxLimit)) {
    throw refusal("invalid", `heartbeatLimit is out of range: 0 to ${maxLimit}.`)
  }
  if (!(Number.isInteger(request.maxAttempts) && request.maxAttempts >= 1)) {
    throw refusal("invalid", "maxAttempts is out of range: 1 or more.")
  }
  if (!(Number.isInteger(request.maxTurns) && request.maxTurns >= 1)) {
    throw refusal("invalid", "maxTurns is out of range: 1 or more.")
  }
  if (!(Number.isInteger(request.number) && request.number >= 1)) {
    throw refusal("invalid", "number is out of range: the claims of a boot are numbered from 1.")
  }
  const outdated = protocolMismatch(request.protocol, servedProtocols)
  if (outdated !== null) {
    throw refusal("conflict", `Runtime and deployment are too far apart: upgrade the ${outdated} first.`, {
      reason: "protocol"
    })
  }
}

/** One claim at work: what it was asked, and what it has read and taken so far. */
interface Claiming {
  readonly ctx: MutationCtx
  readonly accountId: Id<"accounts">
  readonly request: ClaimRequest
  readonly now: number
  readonly budget: ReadBudget
  /** What the contexts have in common, read at the first one. */
  readonly surroundings: () => Promise<Surroundings>
  /** Work of these agents is not taken. */
  readonly pausedAgents: Pauses["agentIds"]
  /** What these stop is not taken: it ends in their next batch. */
  readonly stops: ReadonlyArray<Doc<"stops">>
  /** What is known of budgets, read at the first run; null if the account is gone. */
  readonly book: () => Promise<SpendingBook | null>
  readonly runs: Array<Run>
  readonly spent: Array<string>
  /** The leases of this boot, read when they are needed: each that ends meanwhile conflicts with a claim that read them. */
  readonly own: () => Promise<ReadonlyArray<LeasedSession>>
  /** This claim takes a suspect run. */
  takesSuspect: boolean
  heldBack: number
  hasMore: boolean
  hasMoreHeartbeats: boolean
}

/** Whether one more run may be taken; the first one always may. */
const hasRoom = ({ budget, request, runs }: Claiming): boolean =>
  runs.length < request.limit && (runs.length === 0 || budget.hasRoom)

/** Whether the process has a suspect run, or takes one here: it gets only one at a time. */
const hasSuspect = async ({ own, request, takesSuspect }: Claiming): Promise<boolean> =>
  takesSuspect || (await own()).some((session) => session.lease.isSuspect && !isNamed(request.abandoned, session))

const leaseFields = ({ now, request }: Claiming) => ({
  runtimeId: request.runtimeId,
  bootId: request.bootId,
  expiresAt: now + request.leaseMs,
  claimedAt: now
})

/** The run of a leased notification, with its context; what that shows is noted. */
const notificationRun = async (
  { budget, ctx, surroundings }: Claiming,
  session: Doc<"sessions">,
  lease: LeasedSession["lease"],
  row: Doc<"notifications">
): Promise<Run> => {
  const { allowance = null, epoch, expiresAt, generation } = lease
  const attempt = { session, generation, epoch, earlierAttempts: row.claims - 1 }
  const built = await contextOf(ctx, row, attempt, await surroundings(), budget.forRun())
  const { attempts, failures, readyAt, silences } = row
  const held = { session: session._id, epoch, expiresAt, allowance }
  const fields = { id: row._id, ...held, attempt: attempts, failures, silences, readyAt }
  if (typeof built === "string") return { kind: "notification", ...fields, broken: built }
  const { context, ...shown } = built
  await noteShown(ctx, session, row.taskId, { epoch, ...shown })
  return { kind: "notification", ...fields, context }
}

/** The run of a leased heartbeat, with its context; what the agent will have seen is kept for its end. */
const heartbeatRunOf = async (
  { budget, ctx, surroundings }: Claiming,
  session: Doc<"sessions">,
  lease: LeasedSession["lease"],
  heartbeat: Doc<"heartbeats">
): Promise<Run> => {
  const { allowance = null, epoch, expiresAt, generation } = lease
  const attempt = { session, generation, epoch, earlierAttempts: heartbeat.claims - 1 }
  const built = await heartbeatContextOf(ctx, heartbeat, attempt, await surroundings(), budget.forRun())
  const { attempts, dueAt, failures } = heartbeat
  const held = { session: session._id, epoch, expiresAt, allowance }
  const fields = { id: lease.run, ...held, attempt: attempts, failures, silences: 0 }
  if (typeof built === "string") return { kind: "heartbeat", ...fields, readyAt: dueAt, broken: built }
  await ctx.db.patch("heartbeats", heartbeat._id, { pendingFingerprint: built.fingerprint })
  return { kind: "heartbeat", ...fields, readyAt: dueAt, context: built.context }
}

/** Offers a lease that this process did not name again, under a new epoch; its work is as it was. */
const takeAgain = async (claiming: Claiming, session: LeasedSession): Promise<void> => {
  const { ctx, now, request } = claiming
  const row = session.lease.kind === "notification" ? await notificationOf(ctx, session.lease.run) : null
  const heartbeat = session.lease.kind === "heartbeat" ? await heartbeatOf(ctx, session.agentId) : null
  if (row === null && (heartbeat === null || heartbeatRun(heartbeat) !== session.lease.run)) {
    // The agent was removed or its schedule changed before the heartbeat began.
    await releaseLease(ctx, session, { hasBegun: false })
    return
  }
  claiming.takesSuspect ||= session.lease.isSuspect
  const lease = await offerAgain(ctx, session, now + request.leaseMs)
  if (row !== null) claiming.runs.push(await notificationRun(claiming, session, lease, row))
  else if (heartbeat !== null) claiming.runs.push(await heartbeatRunOf(claiming, session, lease, heartbeat))
}

/** Whether budgets let a run begin, and with how much. */
const permitted = async ({ book, ctx }: Claiming, spender: Spender): Promise<Permission> => {
  const known = await book()
  return known === null ? { allowance: null } : await permit(ctx, known, spender)
}

const allowanceOf = (permission: Permission) =>
  "allowance" in permission && permission.allowance !== null ? { allowance: permission.allowance } : {}

/** Takes the session's next due notification; those without attempts left end here as dead letters. */
const takeNotification = async (claiming: Claiming, session: Doc<"sessions">): Promise<void> => {
  const { ctx, now, request } = claiming
  if (claiming.pausedAgents.has(session.agentId) || (await hasLease(ctx, session.agentId, "heartbeat"))) return
  const due = ctx.db
    .query("notifications")
    .withIndex("by_session", (q) => q.eq("sessionId", session._id).eq("state", "ready").lte("at", now))
  let count = 0
  // One by one: usually the first is taken, and each may hold fifty events.
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
      await die(ctx, row, session.epoch, { error: { class: "AttemptsSpent", message, at: now } })
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
      await holdBack(ctx, row, permission)
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
    if (row.claims === 0 && (await noteTurn(ctx, row, request.maxTurns))) claiming.budget.note(intervalsPerLimit)
    claiming.runs.push(await notificationRun(claiming, session, lease, { ...row, ...taken }))
    return
  }
  await refreshSession(ctx, session._id)
}

/** Takes what is due of notifications, in their order, as far as there is room. */
const takeNotifications = async (claiming: Claiming): Promise<void> => {
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

/** Whether the agent is at work or has a due notification, so that its heartbeat waits. Reads at most two rows. */
const isBusy = async (ctx: Pick<QueryCtx, "db">, agentId: Id<"agents">, now: number): Promise<boolean> =>
  (await hasLease(ctx, agentId, "notification")) || (await hasDueSession(ctx, agentId, now))

/** Takes the heartbeat if nothing of the agent comes first; one that was tried gives way to a later one that is due. */
const takeHeartbeat = async (claiming: Claiming, found: Doc<"heartbeats">): Promise<boolean> => {
  const { ctx, now } = claiming
  if (claiming.pausedAgents.has(found.agentId) || (await isBusy(ctx, found.agentId, now))) return false
  const session = await ctx.db.get("sessions", found.sessionId)
  // A new schedule may make the next heartbeat due while the last one still runs, or is recalled and not aborted yet.
  if (session === null || session.lease !== undefined) return false
  const isPassed = found.claims > 0 && followingDueAt(found, found.dueAt) <= now
  const dueAt = isPassed ? latestDueAt(found, now) : found.dueAt
  const { spanId: _, ...untold } = found
  const heartbeat = isPassed ? { ...untold, dueAt, attempts: 0, claims: 0, failures: 0, crashes: 0 } : found
  const isSuspect = heartbeat.crashes >= suspectAfter
  if (isSuspect && (await hasSuspect(claiming))) {
    claiming.hasMoreHeartbeats = true
    return false
  }
  const { agentId } = found
  const permission = await permitted(claiming, { agentId, taskId: undefined, urgency: "passive" })
  if ("refusedBy" in permission) {
    claiming.heldBack += 1
    const until = Math.min(permission.until ?? Infinity, now + heldHeartbeatMs)
    await ctx.db.patch("heartbeats", found._id, movedTo(followingDueAt(found, until)))
    return false
  }
  claiming.takesSuspect ||= isSuspect
  const taken = { attempts: heartbeat.attempts + 1, claims: heartbeat.claims + 1 }
  const moved = isPassed ? movedTo(dueAt) : {}
  await ctx.db.patch("heartbeats", found._id, { ...moved, ...taken, at: undefined })
  const lease = await takeLease(ctx, session, {
    ...leaseFields(claiming),
    run: heartbeatRun(heartbeat),
    kind: "heartbeat",
    isSuspect,
    ...allowanceOf(permission),
    runsInNextGeneration: heartbeat.lastHeartbeatAt !== undefined && isOnEarlierDay(heartbeat.lastHeartbeatAt, now)
  })
  claiming.runs.push(await heartbeatRunOf(claiming, session, lease, { ...heartbeat, ...taken }))
  return true
}

/** Takes due heartbeats with the room that notifications left. */
const takeHeartbeats = async (claiming: Claiming): Promise<void> => {
  const { accountId, ctx, now, request } = claiming
  const due = await ctx.db
    .query("heartbeats")
    .withIndex("by_at", (q) => q.eq("accountId", accountId).gt("at", 0).lte("at", now))
    .take(request.heartbeatLimit === 0 ? 1 : request.heartbeatLimit + scanSlack)
  let count = 0
  for (const heartbeat of due) {
    if (count === request.heartbeatLimit || !hasRoom(claiming)) {
      claiming.hasMoreHeartbeats = true
      return
    }
    if (await takeHeartbeat(claiming, heartbeat)) count += 1
  }
}

/**
 * The next moment after `after` at which a claim could find something without anything happening: a notification's, a
 * heartbeat's, or the expiry of another runtime's lease. A retry behind a running turn counts, because the end of that
 * turn tells no one of it. Reads two rows.
 */
export const nextDueAt = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  nextExpiry: number | null,
  after: number
): Promise<number | null> => {
  const notification = await ctx.db
    .query("notifications")
    .withIndex("by_retry", (q) => q.eq("accountId", accountId).gt("retryAt", after))
    .first()
  const heartbeat = await ctx.db
    .query("heartbeats")
    .withIndex("by_at", (q) => q.eq("accountId", accountId).gt("at", after))
    .first()
  const moments = [notification?.retryAt, heartbeat?.at, nextExpiry]
  const known = moments.filter((moment) => moment !== undefined && moment !== null)
  return known.length === 0 ? null : Math.min(...known)
}

/** Whether a free session or a heartbeat is due. Reads at most two rows. */
export const hasClaimable = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  now: number
): Promise<boolean> => {
  const session = await ctx.db
    .query("sessions")
    .withIndex("by_at", (q) => q.eq("accountId", accountId).gt("at", 0).lte("at", now))
    .first()
  if (session !== null) return true
  const heartbeat = await ctx.db
    .query("heartbeats")
    .withIndex("by_at", (q) => q.eq("accountId", accountId).gt("at", 0).lte("at", now))
    .first()
  return heartbeat !== null
}

/** Since when the oldest ready notification waits; null if none does. Reads one row. */
export const oldestReady = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  now: number
): Promise<number | null> => {
  const oldest = await ctx.db
    .query("notifications")
    .withIndex("by_state", (q) => q.eq("accountId", accountId).eq("state", "ready").lte("readyAt", now))
    .first()
  return oldest?.readyAt ?? null
}

const nothing = (now: number): ClaimAnswer => ({
  runs: [],
  spent: [],
  heldBack: 0,
  hasMore: false,
  hasMoreHeartbeats: false,
  nextDueAt: null,
  oldest: null,
  now
})

/**
 * Leases due work to a process, with its contexts, and settles what the process says of the leases it has. Claims of a
 * boot are numbered; one that arrives late leases nothing, and one that leases nothing and recovers nothing writes
 * nothing. A claim of limit 0 is the boot's last one. Fails with `conflict` for a boot that is not the current one or has ended.
 */
export const claim = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  request: ClaimRequest
): Promise<ClaimAnswer> => {
  check(request)
  const now = Date.now()
  const boot = await claimingBoot(ctx, accountId, request.runtimeId, request.bootId)
  const budget = new ReadBudget(request.abandoned.length * intervalsPerRescue)
  let ownLeases: Promise<ReadonlyArray<LeasedSession>> | undefined
  const readOwn = async () => {
    const leases = await leasesOf(ctx, accountId, request.runtimeId)
    budget.note(leases.length)
    return leases.filter(({ lease }) => lease.bootId === request.bootId)
  }
  const own = () => (ownLeases ??= readOwn())
  const isUnnamed = (session: LeasedSession) => !isNamed(request.held, session) && !isNamed(request.abandoned, session)
  if (request.abandoned.length > 0) {
    for (const session of await own()) {
      if (isNamed(request.abandoned, session)) await rescue(ctx, session, "abandoned")
    }
  }
  if (request.limit === 0) {
    for (const session of (await own()).filter(isUnnamed)) await releaseLease(ctx, session, { hasBegun: true })
    await ctx.db.patch("boots", boot._id, { hasEnded: true })
    return nothing(now)
  }
  if (request.number <= boot.lastClaim) return nothing(now)
  // That it is not named says that the process has aborted its turn.
  for (const session of await recalledOf(ctx, accountId)) {
    const isOwn = session.lease.runtimeId === request.runtimeId && session.lease.bootId === request.bootId
    if (isOwn && isUnnamed(session)) await releaseLease(ctx, session, { hasBegun: true })
  }
  const pauses = await pausesOf(ctx, accountId)
  if (pauses.isAccountPaused) return nothing(now)
  // A process that holds nothing may have missed the answer to a late claim.
  const isRecovering = request.recoverUnnamed || request.held.length === 0
  const unnamed = isRecovering ? (await own()).filter(isUnnamed) : []

  let surroundings: Promise<Surroundings> | undefined
  let book: Promise<SpendingBook | null> | undefined
  let ownRow: Promise<Doc<"accounts"> | null> | undefined
  const readAccount = () => (ownRow ??= ctx.db.get("accounts", accountId))
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
    surroundings: () => (surroundings ??= surroundingsOf(ctx, accountId, budget, readAccount())),
    pausedAgents: pauses.agentIds,
    stops: await openStops(ctx, accountId),
    book: () => (book ??= openBook()),
    runs: [],
    spent: [],
    own,
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
    if (hasRoom(claiming)) await takeAgain(claiming, session)
    else claiming.hasMore = true
  }
  const { expired, nextExpiry } = await otherLeases(ctx, accountId, request.runtimeId, request.limit, now)
  if (expired.length === request.limit) claiming.hasMore = true
  for (const session of expired) await rescue(ctx, session)
  budget.note(expired.length * intervalsPerRescue)
  await takeNotifications(claiming)
  await takeHeartbeats(claiming)

  const { hasMore, hasMoreHeartbeats, heldBack, runs, spent } = claiming
  // After a recovery no claim before it may still lease something.
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
