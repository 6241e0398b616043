import { type Infer, v } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import { recall } from "../../tables/sessions.ts"
import { refusal } from "../access/refusal.ts"
import { crashHeartbeat, releaseHeartbeat } from "../heartbeats/heartbeats.ts"
import { releaseNow } from "../runs/failedAttempts.ts"
import { mustBeCurrentBoot } from "../runtimes/boots.ts"
import { endAttempt } from "../usage/attempts.ts"
import { notificationOf } from "./fences.ts"
import type { LeasedSession } from "./sessions.ts"

/** A lease as a process names it. */
export const namedLease = v.object({ session: v.string(), epoch: v.number() })
export type NamedLease = Infer<typeof namedLease>

/**
 * A lease that a process must end, with the reason of its recall. Without a reason it has ended, or another claim holds
 * it.
 */
export const recalledLease = v.object({ ...namedLease.fields, recalled: recall })
export const lostLease = v.object({ ...namedLease.fields, recalled: v.optional(recall) })

/** A lease with a person's latest message for its running turn, which has not joined the turn yet. */
export const leaseNews = v.object({ ...namedLease.fields, message: v.string() })

/** The maximum number of leases that one process may hold and name. */
export const maxNamed = 200

/** Fails with `invalid` if the duration is out of range. */
export const checkLeaseMs = (leaseMs: number): void => {
  if (!(leaseMs >= 3_000 && leaseMs <= 600_000)) {
    throw refusal("invalid", "leaseMs is out of range: 3000 to 600000 milliseconds.")
  }
}

/** Fails with `limit` if a process names more leases than it can hold. */
export const checkNamed = (leases: ReadonlyArray<NamedLease>): void => {
  if (leases.length > maxNamed) throw refusal("limit", `A process names at most ${maxNamed} leases.`)
}

/** Whether the list contains the session's current lease. */
export const isNamed = (leases: ReadonlyArray<NamedLease>, session: LeasedSession): boolean =>
  leases.some((each) => each.session === session._id && each.epoch === session.lease.epoch)

const isLeased = (session: Doc<"sessions">): session is LeasedSession => session.lease !== undefined

/** The leases of a runtime, of all its boots. Reads one row per lease, at most 200. */
export const leasesOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  runtimeId: string
): Promise<Array<LeasedSession>> => {
  const sessions = await ctx.db
    .query("sessions")
    .withIndex("by_runtime", (q) => q.eq("accountId", accountId).eq("leaseRuntimeId", runtimeId))
    .take(maxNamed)
  return sessions.filter(isLeased)
}

/** The leases of other runtimes at one time. */
export interface OtherLeases {
  /** The expired ones, up to the limit. */
  readonly expired: ReadonlyArray<LeasedSession>
  /** When the next of the others expires. */
  readonly nextExpiry: number | null
}

/** The account's sessions with a recalled lease, of all runtimes, at most 1,000. Reads one row each. */
export const recalledOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">
): Promise<Array<LeasedSession>> => {
  const sessions = await ctx.db
    .query("sessions")
    .withIndex("by_recalled", (q) => q.eq("accountId", accountId).gt("recalled", undefined))
    .take(1_000)
  return sessions.filter(isLeased)
}

/** The recalled leases as a push lists them. */
export const recalledLeases = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">
): Promise<Array<Infer<typeof recalledLease>>> =>
  (await recalledOf(ctx, accountId)).flatMap(({ _id, epoch, recalled }) =>
    recalled === undefined ? [] : [{ session: _id, epoch, recalled }]
  )

const newsIn = (sessions: ReadonlyArray<LeasedSession>): Array<Infer<typeof leaseNews>> =>
  sessions.flatMap(({ _id, lease, news, recalled }) =>
    news === undefined || recalled !== undefined ? [] : [{ session: _id, epoch: lease.epoch, message: news }]
  )

/** The leases of all runtimes whose turns a message may join, as a push lists them, at most 1,000. Reads one row each. */
export const newsOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">
): Promise<Array<Infer<typeof leaseNews>>> => {
  const sessions = await ctx.db
    .query("sessions")
    .withIndex("by_news", (q) => q.eq("accountId", accountId).gt("news", undefined))
    .take(1_000)
  return newsIn(sessions.filter(isLeased))
}

/**
 * The leases of other runtimes: those that have expired by `now`, at most `limit`, and when the next one expires. Does
 * not read the leases of this runtime. Reads two rows per runtime that holds leases, and one per expired lease.
 */
export const otherLeases = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  exceptRuntimeId: string,
  limit: number,
  now: number
): Promise<OtherLeases> => {
  const expired: Array<LeasedSession> = []
  let nextExpiry: number | null = null
  let runtimeId = ""
  for (;;) {
    const after = runtimeId
    // Leaves out this runtime's leases, so that claims do not conflict with runs that end during them.
    const next: Doc<"sessions"> | null = await ctx.db
      .query("sessions")
      .withIndex("by_runtime", (q) => {
        const others = q.eq("accountId", accountId).gt("leaseRuntimeId", after)
        return after < exceptRuntimeId ? others.lt("leaseRuntimeId", exceptRuntimeId) : others
      })
      .first()
    if (next?.leaseRuntimeId === undefined) {
      if (after >= exceptRuntimeId) return { expired, nextExpiry }
      runtimeId = exceptRuntimeId
      continue
    }
    runtimeId = next.leaseRuntimeId
    let earliest: Doc<"sessions"> | null = next
    if ((next.expiresAt ?? 0) <= now) {
      if (expired.length < limit) {
        const sessions = await ctx.db
          .query("sessions")
          .withIndex("by_runtime", (q) =>
            q.eq("accountId", accountId).eq("leaseRuntimeId", runtimeId).lte("expiresAt", now)
          )
          .take(limit - expired.length)
        expired.push(...sessions.filter(isLeased))
      }
      earliest = await ctx.db
        .query("sessions")
        .withIndex("by_runtime", (q) =>
          q.eq("accountId", accountId).eq("leaseRuntimeId", runtimeId).gt("expiresAt", now)
        )
        .first()
    }
    if (earliest?.expiresAt !== undefined) nextExpiry = Math.min(nextExpiry ?? earliest.expiresAt, earliest.expiresAt)
  }
}

/**
 * Whether the runtime has an expired lease. It may come from a late claim whose answer the process never received.
 * Reads one row.
 */
export const hasExpiredLease = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  runtimeId: string,
  now: number
): Promise<boolean> => {
  const expired = await ctx.db
    .query("sessions")
    .withIndex("by_runtime", (q) => q.eq("accountId", accountId).eq("leaseRuntimeId", runtimeId).lte("expiresAt", now))
    .first()
  return expired !== null
}

/** Frees the session of a recalled lease, once its turn is aborted or its process is gone. */
const endRecalled = (ctx: MutationCtx, session: LeasedSession, end: "stopped" | "paused"): Promise<void> =>
  endAttempt(ctx, session, "unknown", { end }, { turn: "failed" })

/**
 * Ends a lease whose process is gone or could not store the outcome. The attempt counts, the work can be claimed again,
 * and the attempt's spending is estimated.
 */
export const rescue = async (
  ctx: MutationCtx,
  session: LeasedSession,
  end: "process_ended" | "abandoned" = "process_ended"
): Promise<void> => {
  if (session.recalled !== undefined) return await endRecalled(ctx, session, session.recalled)
  const row = await notificationOf(ctx, session.lease.run)
  if (row?.state === "claimed") {
    await ctx.db.patch("notifications", row._id, { state: "ready", crashes: row.crashes + 1 })
  }
  if (session.lease.kind === "heartbeat") await crashHeartbeat(ctx, session)
  await endAttempt(ctx, session, "unknown", { end }, { turn: "failed" })
}

/**
 * Ends a lease whose run did not begin, or was aborted because its process ended or it was recalled. The attempt does
 * not count. The spending of an aborted attempt is estimated.
 */
export const releaseLease = async (
  ctx: MutationCtx,
  session: LeasedSession,
  { hasBegun }: { readonly hasBegun: boolean }
): Promise<void> => {
  if (session.recalled !== undefined) return await endRecalled(ctx, session, session.recalled)
  const row = await notificationOf(ctx, session.lease.run)
  if (row?.state === "claimed") await releaseNow(ctx, row)
  if (session.lease.kind === "heartbeat") await releaseHeartbeat(ctx, session, undefined, {})
  if (!hasBegun) await endAttempt(ctx, session, undefined, null, { turn: "failed" })
  else await endAttempt(ctx, session, "unknown", { end: "released", reason: "its process ended" }, { turn: "failed" })
}

/**
 * Extends the named leases that are still held. Returns the lost ones, the messages that may join running turns, and
 * whether this boot has a lease that was not named. Reads one row per lease and one of the boot.
 */
export const renew = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  args: {
    readonly runtimeId: string
    readonly bootId: string
    readonly leaseMs: number
    readonly leases: ReadonlyArray<NamedLease>
  }
): Promise<{
  lost: Array<Infer<typeof lostLease>>
  news: Array<Infer<typeof leaseNews>>
  hasUnnamed: boolean
  now: number
}> => {
  checkLeaseMs(args.leaseMs)
  checkNamed(args.leases)
  await mustBeCurrentBoot(ctx, accountId, args.runtimeId, args.bootId)
  const now = Date.now()
  const expiresAt = now + args.leaseMs
  const held = (await leasesOf(ctx, accountId, args.runtimeId)).filter(({ lease }) => lease.bootId === args.bootId)
  const named = held.filter((session) => isNamed(args.leases, session))
  const kept = named.filter(({ recalled }) => recalled === undefined)
  for (const session of kept) {
    await ctx.db.patch("sessions", session._id, { expiresAt, lease: { ...session.lease, expiresAt } })
  }
  const lost = args.leases.flatMap((lease) => {
    const session = named.find((each) => each._id === lease.session && each.lease.epoch === lease.epoch)
    if (session === undefined) return [lease]
    return session.recalled === undefined ? [] : [{ ...lease, recalled: session.recalled }]
  })
  return { lost, news: newsIn(kept), hasUnnamed: named.length < held.length, now }
}
