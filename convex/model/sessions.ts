import type { Infer } from "convex/values"
import type { Doc, Id } from "../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../_generated/server.js"
import type { lease } from "../schema.ts"
import { refusal } from "./refusal.ts"

export type Lease = Infer<typeof lease>
export type LeasedSession = Doc<"sessions"> & { readonly lease: Lease }

/** Two attempts that ended by expiry or boot release make a row run alone. */
export const aloneAfterCrashes = 2

const endsKept = 5

/** The session in which the agent's turn for this task runs, made at need. Reads the account's scope and one row. */
export const sessionFor = async (
  ctx: Pick<MutationCtx, "db">,
  agent: { readonly _id: Id<"agents">; readonly accountId: Id<"accounts"> },
  scope: Doc<"accounts">["sessionScope"],
  taskId: Id<"tasks"> | undefined
): Promise<Doc<"sessions">> => {
  const scopedTaskId = scope === "task" ? taskId : undefined
  const found = await ctx.db
    .query("sessions")
    .withIndex("by_agent", (q) => q.eq("agentId", agent._id).eq("taskId", scopedTaskId))
    .unique()
  if (found !== null) return found
  const id = await ctx.db.insert("sessions", {
    accountId: agent.accountId,
    agentId: agent._id,
    ...(scopedTaskId === undefined ? {} : { taskId: scopedTaskId }),
    generation: 1,
    epoch: 0,
    recentEnds: [],
    isLeased: false
  })
  const made = await ctx.db.get("sessions", id)
  if (made === null) throw new Error("An inserted session is gone.")
  return made
}

/** The ready row the session should run next: the lowest lane, then the oldest. */
export const bestReady = (ctx: Pick<QueryCtx, "db">, sessionId: Id<"sessions">): Promise<Doc<"notifications"> | null> =>
  ctx.db
    .query("notifications")
    .withIndex("by_lane", (q) => q.eq("sessionId", sessionId).eq("state", "ready"))
    .first()

/** The ready row of the session that has waited longest, whatever its lane. */
export const oldestReady = (
  ctx: Pick<QueryCtx, "db">,
  sessionId: Id<"sessions">
): Promise<Doc<"notifications"> | null> =>
  ctx.db
    .query("notifications")
    .withIndex("by_age", (q) => q.eq("sessionId", sessionId).eq("state", "ready"))
    .first()

/** The ready row of the session that must run alone and has waited longest. */
export const oldestAlone = (
  ctx: Pick<QueryCtx, "db">,
  sessionId: Id<"sessions">
): Promise<Doc<"notifications"> | null> =>
  ctx.db
    .query("notifications")
    .withIndex("by_alone", (q) => q.eq("sessionId", sessionId).eq("state", "ready").gt("aloneAt", 0))
    .first()

/** Brings the session's index fields in line with its rows: four index reads of at most one row each. */
export const refreshSession = async (ctx: Pick<MutationCtx, "db">, sessionId: Id<"sessions">): Promise<void> => {
  const best = await bestReady(ctx, sessionId)
  const oldest = best === null ? null : await oldestReady(ctx, sessionId)
  const alone = best === null ? null : await oldestAlone(ctx, sessionId)
  const waiting = await ctx.db
    .query("notifications")
    .withIndex("by_retry", (q) => q.eq("sessionId", sessionId).eq("state", "waiting"))
    .first()
  await ctx.db.patch("sessions", sessionId, {
    lane: best?.lane,
    readyAt: best?.readyAt,
    oldestAt: oldest?.readyAt,
    aloneAt: alone?.aloneAt,
    retryAt: waiting?.nextAttemptAt
  })
}

/** Takes the session: the epoch grows, and a rotation that was asked for takes effect. */
export const takeLease = async (
  ctx: Pick<MutationCtx, "db">,
  session: Doc<"sessions">,
  taken: Omit<Lease, "epoch" | "generation"> & { readonly runsInNextGeneration: boolean }
): Promise<Lease> => {
  const { runsInNextGeneration, ...rest } = taken
  const generation = Math.max(session.generation, session.nextGeneration ?? 0)
  const held: Lease = {
    ...rest,
    epoch: session.epoch + 1,
    generation: runsInNextGeneration ? generation + 1 : generation
  }
  await ctx.db.patch("sessions", session._id, {
    generation,
    nextGeneration: undefined,
    epoch: held.epoch,
    lease: held,
    isLeased: true,
    expiresAt: held.expiresAt,
    leaseRuntimeId: held.runtimeId
  })
  return held
}

/** Frees the session, and remembers how its lease ended when a call ended it. */
export const endLease = async (
  ctx: Pick<MutationCtx, "db">,
  session: LeasedSession,
  ended: { readonly kind: string; readonly answer: unknown; readonly generation?: number } | null
): Promise<void> => {
  await ctx.db.patch("sessions", session._id, {
    lease: undefined,
    isLeased: false,
    expiresAt: undefined,
    leaseRuntimeId: undefined,
    ...(ended === null
      ? {}
      : {
          generation: ended.generation ?? session.generation,
          recentEnds: [
            { epoch: session.lease.epoch, kind: ended.kind, answer: ended.answer },
            ...session.recentEnds.slice(0, endsKept - 1)
          ]
        })
  })
}

const leaseLost = () =>
  refusal("lease_lost", "Another claim holds this session or its lease has ended: stop the run and write nothing.")

/** What the fence found: the live lease, or the answer of the same call made before. */
export type Fenced =
  | { readonly isRepeated: false; readonly session: LeasedSession }
  | { readonly isRepeated: true; readonly answer: any }

const sessionOf = async (ctx: Pick<QueryCtx, "db">, accountId: Id<"accounts">, sessionId: string) => {
  const id = ctx.db.normalizeId("sessions", sessionId)
  const session = id === null ? null : await ctx.db.get("sessions", id)
  return session === null || session.accountId !== accountId ? null : session
}

/** Whether the session's live lease has this epoch. */
const isHeld = (session: Doc<"sessions"> | null, epoch: number): session is LeasedSession =>
  session?.lease !== undefined && session.lease.epoch === epoch

/**
 * The session whose live lease has this epoch; fails with `lease_lost` before anything is written. A lease that has
 * expired but that nobody took still counts. Reads one row.
 */
export const heldSession = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  fence: { readonly session: string; readonly epoch: number }
): Promise<LeasedSession> => {
  const session = await sessionOf(ctx, accountId, fence.session)
  if (!isHeld(session, fence.epoch)) throw leaseLost()
  return session
}

/** As heldSession, but a call of this kind that already ended the epoch's lease gets its answer again. */
export const fenced = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  fence: { readonly session: string; readonly epoch: number },
  kind: string
): Promise<Fenced> => {
  const session = await sessionOf(ctx, accountId, fence.session)
  if (isHeld(session, fence.epoch)) return { isRepeated: false, session }
  const end = session?.recentEnds.find((each) => each.epoch === fence.epoch && each.kind === kind)
  if (end === undefined) throw leaseLost()
  return { isRepeated: true, answer: end.answer }
}
