import { type Infer, v } from "convex/values"
import type { Doc, Id } from "../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../_generated/server.js"
import { isPaused, mustBeCurrentBoot } from "./boots.ts"
import { refusal } from "./refusal.ts"
import {
  aloneAfterCrashes,
  bestReady,
  endLease,
  type LeasedSession,
  oldestAlone,
  oldestReady,
  refreshSession,
  takeLease
} from "./sessions.ts"

/** One leased session with the rows of its turn. */
export const delivery = v.object({
  /** The kept row first, then what is folded into it. */
  notificationIds: v.array(v.string()),
  session: v.string(),
  epoch: v.number(),
  expiresAt: v.number(),
  attempt: v.number(),
  /** The budget is used up: no turn, only fail without nextAttemptAt. */
  spent: v.boolean(),
  alone: v.boolean(),
  failures: v.number(),
  silences: v.number(),
  readyAt: v.number(),
  lane: v.number()
})
type Delivery = Infer<typeof delivery>

export const claimAnswer = v.object({
  deliveries: v.array(delivery),
  /** The earliest later moment at which a claim could find something without anything new happening. */
  nextDueAt: v.union(v.number(), v.null()),
  now: v.number(),
  /** A row that must run alone holds this runtime back until it is idle. */
  isBlocked: v.boolean()
})
type ClaimAnswer = Infer<typeof claimAnswer>

export interface ClaimRequest {
  readonly requestId: string
  readonly runtimeId: string
  readonly bootId: string
  readonly limit: number
  readonly leaseMs: number
  readonly maxAttempts: number
  readonly parkedAgents: ReadonlyArray<string>
}

/** Every fourth claim takes the oldest rows of all lanes, so that none starves. */
const oldestFirstEvery = 4
/** A row that must run alone and has waited this long holds other claims back. */
const aloneOverdueMs = 60_000
/** A parked agent's row that met nothing but shared failures for this long is spent. */
const parkedLimitMs = 24 * 60 * 60 * 1_000
const maxFold = 50
const maxLimit = 100
/** How many parked, busy or unusable sessions a claim looks past. */
const scanLimit = 1_000
/** How many due sessions beyond the limit, and rows of each, one claim makes ready. */
const dueSlack = 16

/** Fails with `invalid` outside the range of a lease. */
export const checkLeaseMs = (leaseMs: number): void => {
  if (!(leaseMs >= 3_000 && leaseMs <= 600_000)) {
    throw refusal("invalid", "leaseMs is out of range: 3000 to 600000 milliseconds.")
  }
}

/** The runtime's live leases, at most two: enough to know that it is idle or holds one that must be alone. */
export const liveLeases = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  runtimeId: string,
  now: number
): Promise<{ readonly isIdle: boolean; readonly isAlone: boolean }> => {
  const held = await ctx.db
    .query("sessions")
    .withIndex("by_runtime", (q) => q.eq("accountId", accountId).eq("leaseRuntimeId", runtimeId).gt("expiresAt", now))
    .take(2)
  return { isIdle: held.length === 0, isAlone: held.some((session) => session.lease?.alone === true) }
}

/** Makes ready what waited and is due, in its old place of the order. Answers whether there may be more. */
const wakeDue = async (ctx: MutationCtx, accountId: Id<"accounts">, limit: number, now: number): Promise<boolean> => {
  const sessions = await ctx.db
    .query("sessions")
    .withIndex("by_retry", (q) =>
      q.eq("accountId", accountId).eq("isLeased", false).gt("retryAt", 0).lte("retryAt", now)
    )
    .take(limit + dueSlack)
  for (const session of sessions) {
    const rows = await ctx.db
      .query("notifications")
      .withIndex("by_retry", (q) => q.eq("sessionId", session._id).eq("state", "waiting").lte("nextAttemptAt", now))
      .take(dueSlack)
    for (const row of rows) {
      await ctx.db.patch("notifications", row._id, {
        state: "ready",
        nextAttemptAt: undefined,
        ...(row.crashes >= aloneAfterCrashes ? { aloneAt: row.nextAttemptAt ?? now } : {})
      })
    }
    await refreshSession(ctx, session._id)
  }
  return sessions.length === limit + dueSlack
}

/** The notification a lease is for; null for a beat's lease. Reads one row. */
export const leasedRow = async (
  ctx: Pick<QueryCtx, "db">,
  session: LeasedSession
): Promise<Doc<"notifications"> | null> => {
  const id = session.lease.kind === "notification" ? ctx.db.normalizeId("notifications", session.lease.holder) : null
  return id === null ? null : await ctx.db.get("notifications", id)
}

/**
 * Ends a lease whose runtime is gone: the row is ready again with its attempt spent, the beat may be claimed again.
 * What was folded stays with its row.
 */
export const rescueLease = async (ctx: MutationCtx, session: LeasedSession): Promise<void> => {
  const now = Date.now()
  const row = await leasedRow(ctx, session)
  if (row !== null && row.state === "claimed") {
    const crashes = row.crashes + 1
    await ctx.db.patch("notifications", row._id, {
      state: "ready",
      crashes,
      ...(crashes >= aloneAfterCrashes ? { aloneAt: now } : {})
    })
  }
  if (session.lease.kind === "heartbeat") {
    const beat = await ctx.db
      .query("heartbeats")
      .withIndex("by_agent", (q) => q.eq("agentId", session.agentId))
      .unique()
    if (beat !== null) await ctx.db.patch("heartbeats", beat._id, { crashes: beat.crashes + 1, requestId: undefined })
  }
  await endLease(ctx, session, null)
  await refreshSession(ctx, session._id)
}

const isPersons = (row: Doc<"notifications">): boolean => row.actor.type === "person"

/** The strongest first: a person's before an agent's, then the newest. */
const byStrength = (left: Doc<"notifications">, right: Doc<"notifications">): number => {
  if (isPersons(left) !== isPersons(right)) return isPersons(left) ? -1 : 1
  return right.readyAt - left.readyAt || right._creationTime - left._creationTime
}

/** Folds at a row's first claim, finds the fold at later ones: the kept row and the ids of the others, oldest first. */
const foldOf = async (
  ctx: MutationCtx,
  sessionId: Id<"sessions">,
  row: Doc<"notifications">
): Promise<{ readonly kept: Doc<"notifications">; readonly others: ReadonlyArray<Id<"notifications">> }> => {
  if (row.foldTaskId === undefined) {
    const folded = await ctx.db
      .query("notifications")
      .withIndex("by_folded_into", (q) => q.eq("foldedInto", row._id))
      .take(maxFold)
    return { kept: row, others: folded.map((each) => each._id) }
  }
  const oldest = await ctx.db
    .query("notifications")
    .withIndex("by_fold", (q) => q.eq("sessionId", sessionId).eq("state", "ready").eq("foldTaskId", row.foldTaskId))
    .take(maxFold)
  // The chosen row is among the oldest unless more than fifty wait; then it takes the place of the last of them.
  const rows = oldest.some((each) => each._id === row._id) ? oldest : [...oldest.slice(0, maxFold - 1), row]
  const kept = rows.toSorted(byStrength)[0] ?? row
  const others = rows.filter((each) => each._id !== kept._id)
  for (const each of others) {
    await ctx.db.patch("notifications", each._id, { state: "folded", foldedInto: kept._id, foldTaskId: undefined })
  }
  const strongest = {
    lane: Math.min(...rows.map((each) => each.lane)),
    readyAt: Math.min(...rows.map((each) => each.readyAt)),
    hops: Math.min(...rows.map((each) => each.hops)),
    isRequired: rows.some((each) => each.isRequired)
  }
  await ctx.db.patch("notifications", kept._id, { ...strongest, foldTaskId: undefined })
  return { kept: { ...kept, ...strongest }, others: others.map((each) => each._id) }
}

/** Leases the session for this row. */
const take = async (
  ctx: MutationCtx,
  session: Doc<"sessions">,
  row: Doc<"notifications">,
  request: ClaimRequest,
  how: { readonly spent: boolean; readonly alone: boolean }
): Promise<Delivery> => {
  const now = Date.now()
  const { kept, others } = await foldOf(ctx, session._id, row)
  const attempt = kept.attempts + (how.spent ? 0 : 1)
  await ctx.db.patch("notifications", kept._id, {
    state: "claimed",
    attempts: attempt,
    claims: kept.claims + 1,
    aloneAt: undefined
  })
  const held = await takeLease(ctx, session, {
    runtimeId: request.runtimeId,
    bootId: request.bootId,
    expiresAt: now + request.leaseMs,
    holder: kept._id,
    kind: "notification",
    alone: how.alone,
    ...(how.spent ? { spent: true } : {}),
    taskId: kept.taskId,
    runsInNextGeneration: kept.runsInNextGeneration
  })
  await refreshSession(ctx, session._id)
  return {
    notificationIds: [kept._id, ...others],
    session: session._id,
    epoch: held.epoch,
    expiresAt: held.expiresAt,
    attempt,
    spent: how.spent,
    alone: how.alone,
    failures: kept.failures,
    silences: kept.silences,
    readyAt: kept.readyAt,
    lane: kept.lane
  }
}

/** A session that could be taken, with what decides its turn. */
interface Candidate {
  readonly session: Doc<"sessions">
  readonly lane: number
  readonly at: number
}

/** Sessions whose lease has expired and that hold a row, most overdue first. */
const expiredCandidates = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  limit: number,
  now: number,
  isParked: (session: Doc<"sessions">) => boolean
): Promise<Array<Candidate & { readonly row: Doc<"notifications"> | null }>> => {
  const found: Array<Candidate & { readonly row: Doc<"notifications"> | null }> = []
  let scanned = 0
  for await (const session of ctx.db
    .query("sessions")
    .withIndex("by_expiry", (q) =>
      q.eq("accountId", accountId).eq("isLeased", true).gt("expiresAt", 0).lte("expiresAt", now)
    )) {
    scanned += 1
    if (found.length === limit || scanned > scanLimit) break
    if (isParked(session) || session.lease === undefined) continue
    const row = await leasedRow(ctx, { ...session, lease: session.lease })
    const own = row === null ? [] : [{ lane: row.lane, at: row.readyAt }]
    const ready = session.lane === undefined ? [] : [{ lane: session.lane, at: session.readyAt ?? now }]
    const best = [...own, ...ready].toSorted((left, right) => left.lane - right.lane || left.at - right.at)[0]
    if (best !== undefined) found.push({ session, row, ...best })
  }
  return found
}

/**
 * The earliest moment after this one at which a free session has a retry due or a lease expires: two index reads. With
 * `exceptLive` the live leases of that runtime do not count, which costs one read for each: it keeps them itself.
 */
export const nextDueAt = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  after: number,
  exceptLive?: { readonly runtimeId: string; readonly now: number }
): Promise<number | null> => {
  const retry = await ctx.db
    .query("sessions")
    .withIndex("by_retry", (q) => q.eq("accountId", accountId).eq("isLeased", false).gt("retryAt", after))
    .first()
  let expiresAt: number | undefined
  for await (const session of ctx.db
    .query("sessions")
    .withIndex("by_expiry", (q) => q.eq("accountId", accountId).eq("isLeased", true).gt("expiresAt", after))) {
    const isOwn = session.leaseRuntimeId === exceptLive?.runtimeId && (session.expiresAt ?? 0) > (exceptLive?.now ?? 0)
    if (isOwn) continue
    expiresAt = session.expiresAt
    break
  }
  const moments = [retry?.retryAt, expiresAt].filter((moment) => moment !== undefined)
  return moments.length === 0 ? null : Math.min(...moments)
}

/** After one more attempt that ended with its runtime, a row that a lease holds must run alone. */
const isAloneOnceRescued = (row: Doc<"notifications">): boolean => row.crashes + 1 >= aloneAfterCrashes

/**
 * The row, with its free or expired session, that must run alone and has waited so long that nothing else may begin
 * before it: no delivery, and no heartbeat either, or beats would keep the runtimes busy for ever. Two index reads where
 * there is none.
 */
export const overdueAlone = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  parkedAgents: ReadonlyArray<string>,
  now: number,
  isSpent: (row: Doc<"notifications">) => boolean = () => false
): Promise<{ readonly session: Doc<"sessions">; readonly row: Doc<"notifications"> } | null> => {
  const since = now - aloneOverdueMs
  for await (const session of ctx.db
    .query("sessions")
    .withIndex("by_alone", (q) =>
      q.eq("accountId", accountId).eq("isLeased", false).gt("aloneAt", 0).lte("aloneAt", since)
    )) {
    if (parkedAgents.includes(session.agentId)) continue
    const row = await oldestAlone(ctx, session._id)
    if (row !== null && !isSpent(row)) return { session, row }
  }
  let scanned = 0
  for await (const session of ctx.db
    .query("sessions")
    .withIndex("by_expiry", (q) =>
      q.eq("accountId", accountId).eq("isLeased", true).gt("expiresAt", 0).lte("expiresAt", now)
    )) {
    scanned += 1
    if (scanned > scanLimit) break
    if (parkedAgents.includes(session.agentId) || session.lease === undefined) continue
    // The lease may have kept back for long what is ready beside it.
    const beside = (session.aloneAt ?? now) <= since ? await oldestAlone(ctx, session._id) : null
    if (beside !== null && !isSpent(beside)) return { session, row: beside }
    if (session.lease.expiresAt > since) continue
    const row = await leasedRow(ctx, { ...session, lease: session.lease })
    if (row?.state === "claimed" && !isSpent(row) && isAloneOnceRescued(row)) return { session, row }
  }
  return null
}

/** Takes up to `limit` sessions; reads and writes queue rows only, their number bound by the limit, not by history. */
const takeSessions = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  request: ClaimRequest,
  isOldestFirst: boolean,
  now: number
): Promise<Pick<ClaimAnswer, "deliveries" | "isBlocked">> => {
  const { isIdle, isAlone } = await liveLeases(ctx, accountId, request.runtimeId, now)
  if (isAlone) return { deliveries: [], isBlocked: true }
  const parked = new Set(request.parkedAgents)
  const isParked = (session: Doc<"sessions">): boolean => parked.has(session.agentId)
  const isSpent = (row: Doc<"notifications">): boolean => row.attempts >= request.maxAttempts
  const expired = await expiredCandidates(ctx, accountId, request.limit, now, isParked)

  const takeExpired = async (candidate: Pick<Candidate, "session">) => {
    if (candidate.session.lease !== undefined) {
      await rescueLease(ctx, { ...candidate.session, lease: candidate.session.lease })
    }
    return await ctx.db.get("sessions", candidate.session._id)
  }

  // A row that must run alone and is overdue goes first, or holds this runtime back until it is idle.
  const overdue = await overdueAlone(ctx, accountId, request.parkedAgents, now, isSpent)
  if (overdue !== null) {
    if (!isIdle) return { deliveries: [], isBlocked: true }
    const session = await takeExpired(overdue)
    const row = await ctx.db.get("notifications", overdue.row._id)
    if (session === null || row === null) throw new Error("What must run alone is gone within one transaction.")
    return { deliveries: [await take(ctx, session, row, request, { spent: false, alone: true })], isBlocked: false }
  }
  const mustRunAlone = (row: Doc<"notifications"> | null): boolean =>
    row !== null && !isSpent(row) && isAloneOnceRescued(row)

  const nextOf = isOldestFirst ? oldestReady : bestReady
  const queue: Array<Candidate> = [...expired]
  let scanned = 0
  let found = 0
  const free = isOldestFirst
    ? ctx.db
        .query("sessions")
        .withIndex("by_oldest", (q) => q.eq("accountId", accountId).eq("isLeased", false).gte("oldestAt", 0))
    : ctx.db
        .query("sessions")
        .withIndex("by_lane", (q) => q.eq("accountId", accountId).eq("isLeased", false).gte("lane", 0))
  for await (const session of free) {
    scanned += 1
    if (found === request.limit || scanned > scanLimit) break
    const at = isOldestFirst ? session.oldestAt : session.readyAt
    if (session.lane === undefined || at === undefined) continue
    if (isParked(session)) {
      const next = await nextOf(ctx, session._id)
      if (next?.sharedSince === undefined || next.sharedSince > now - parkedLimitMs) continue
    }
    queue.push({ session, lane: session.lane, at })
    if (session.aloneAt === undefined) found += 1
  }
  queue.sort((left, right) => (isOldestFirst ? 0 : left.lane - right.lane) || left.at - right.at)

  const deliveries: Array<Delivery> = []
  for (const candidate of queue) {
    if (deliveries.length === request.limit) break
    const leased = expired.find((each) => each.session._id === candidate.session._id)
    const canBeAlone = isIdle && deliveries.length === 0
    if (leased !== undefined && mustRunAlone(leased.row) && !canBeAlone) continue
    const session = leased === undefined ? candidate.session : await takeExpired(candidate)
    if (session === null) continue
    const row = await nextOf(ctx, session._id)
    if (row === null) continue
    const spent = isSpent(row) || isParked(session)
    const alone = !spent && row.crashes >= aloneAfterCrashes
    if (alone && !canBeAlone) continue
    deliveries.push(await take(ctx, session, row, request, { spent, alone }))
    if (alone) break
  }
  return { deliveries, isBlocked: false }
}

/**
 * Leases up to `limit` sessions for a runtime, each with its first row and what folds into it. The same requestId
 * answers the same again. Fails with `conflict` for a boot that is not the current one.
 */
export const claim = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  request: ClaimRequest
): Promise<ClaimAnswer> => {
  const now = Date.now()
  checkLeaseMs(request.leaseMs)
  if (!(Number.isInteger(request.limit) && request.limit >= 1 && request.limit <= maxLimit)) {
    throw refusal("invalid", `limit is out of range: 1 to ${maxLimit}.`)
  }
  if (!(Number.isInteger(request.maxAttempts) && request.maxAttempts >= 1)) {
    throw refusal("invalid", "maxAttempts is out of range: 1 up.")
  }
  await mustBeCurrentBoot(ctx, accountId, request.runtimeId, request.bootId)
  const last = await ctx.db
    .query("claims")
    .withIndex("by_runtime", (q) => q.eq("accountId", accountId).eq("runtimeId", request.runtimeId))
    .unique()
  if (last !== null && last.requestId === request.requestId) return { ...last.answer, now }
  if (await isPaused(ctx, accountId)) return { deliveries: [], nextDueAt: null, now, isBlocked: false }
  const count = (last?.count ?? 0) + 1
  const mayHaveMoreDue = await wakeDue(ctx, accountId, request.limit, now)
  const taken = await takeSessions(ctx, accountId, request, count % oldestFirstEvery === 0, now)
  const answer = { ...taken, nextDueAt: mayHaveMoreDue ? now : await nextDueAt(ctx, accountId, now) }
  const { requestId, runtimeId } = request
  if (last === null) await ctx.db.insert("claims", { accountId, runtimeId, requestId, count, answer })
  else await ctx.db.patch("claims", last._id, { requestId, count, answer })
  return { ...answer, now }
}
