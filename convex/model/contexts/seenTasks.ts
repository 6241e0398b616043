/** What the gateway's history of a session contains of a task, so that a turn sends only what is new. */
import { type Infer, v } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import type { turnState } from "../../tables/runs.ts"
import type { seenTask } from "../../tables/sessions.ts"
import { sha256 } from "../database/sha256.ts"

/** What a session has seen of a task, once a turn is answered. */
export type SeenTask = Infer<typeof seenTask>
/** The state of a run's turn: answered; failed, though it may have run; or no turn at all. */
export type TurnState = Infer<typeof turnState>

/** The parts of a prompt that are sent again only if they changed. */
export const part = v.union(
  v.literal("task"),
  v.literal("documents"),
  v.literal("people"),
  v.literal("briefing"),
  v.literal("tasks")
)
export type Part = Infer<typeof part>
const parts = part.members.map(({ value }) => value)

/** After this time everything is sent again, because providers no longer have the session's prefix in their cache. */
export const seenMs = 4 * 60 * 60 * 1_000
/** Messages may be committed in a different order from that of their creation. A mutation takes less time than this. */
const overlapMs = 10_000

const rowOf = (
  ctx: Pick<QueryCtx, "db">,
  sessionId: Id<"sessions">,
  taskId: Id<"tasks">
): Promise<Doc<"seenTasks"> | null> =>
  ctx.db
    .query("seenTasks")
    .withIndex("by_session", (q) => q.eq("sessionId", sessionId).eq("taskId", taskId))
    .unique()

/** The row of a session and task, and the part of it that counts. Null: everything must be sent. */
export interface Seen {
  readonly rowId: Id<"seenTasks"> | null
  readonly before: SeenTask | null
}

/**
 * What the session has seen of the notification's task. Null if everything must be sent: no turn was answered in this
 * generation, the last one is too old, or the gateway may have lost it. Also null if a message of the notification is
 * not newer than what was seen, because its thread then starts earlier. Reads at most one row.
 */
export const seenBefore = async (
  ctx: Pick<QueryCtx, "db">,
  session: Doc<"sessions">,
  { events, taskId }: Pick<Doc<"notifications">, "events" | "taskId">,
  generation: number
): Promise<Seen> => {
  const row = await rowOf(ctx, session._id, taskId)
  if (row === null) return { rowId: null, before: null }
  // The turn that holds the lease is not answered yet.
  const before = row.epoch === session.lease?.epoch ? row.before : row.seen
  const isOld = (seen: SeenTask): boolean =>
    seen.generation !== generation ||
    seen.at < Date.now() - seenMs ||
    seen.fullText < (session.historyFrom ?? 0) ||
    events.some(({ at, messageId }) => messageId !== undefined && at <= seen.newestAt)
  return { rowId: row._id, before: before === null || isOld(before) ? null : before }
}

/** The time from which on messages may be new to a session. */
export const newSince = ({ newestAt }: SeenTask): number => newestAt - overlapMs

/**
 * What the session has seen after a turn with these messages, including what it saw before. Each part is stored as a
 * fingerprint.
 */
export const shownWith = async (
  turn: { readonly epoch: number; readonly generation: number },
  messages: ReadonlyArray<Doc<"messages">>,
  before: SeenTask | null,
  contents: Readonly<Record<Part, unknown>>
): Promise<SeenTask> => {
  const newestAt = Math.max(before?.newestAt ?? 0, ...messages.map(({ _creationTime }) => _creationTime))
  const recentIds = messages.filter(({ _creationTime }) => _creationTime > newestAt - overlapMs).map(({ _id }) => _id)
  const fingerprints: Record<string, string> = {}
  for (const each of parts) fingerprints[each] = (await sha256(JSON.stringify(contents[each]))).slice(0, 16)
  const fullText = before?.fullText ?? turn.epoch
  return { fullText, generation: turn.generation, at: Date.now(), newestAt, recentIds, fingerprints }
}

/** The parts that have not changed. */
export const unchangedIn = (before: SeenTask, now: SeenTask): Array<Part> =>
  parts.filter((each) => before.fingerprints[each] === now.fingerprints[each])

/** Stores what the turn of this epoch shows. It counts as seen once the turn is answered. Reads one row. */
export const recordShown = async (
  ctx: Pick<MutationCtx, "db">,
  { _id: sessionId, accountId }: Doc<"sessions">,
  taskId: Id<"tasks">,
  { rowId, ...shown }: Seen & { readonly epoch: number; readonly seen: SeenTask }
): Promise<void> => {
  if (rowId === null) await ctx.db.insert("seenTasks", { accountId, sessionId, taskId, ...shown })
  else await ctx.db.patch("seenTasks", rowId, shown)
}

/**
 * Records messages that joined the lease's turn, so that the next delta does not show them again. The newest message
 * that was shown stays the same, because agents' messages before a joined one were not shown. Reads one row.
 */
export const recordJoined = async (
  ctx: Pick<MutationCtx, "db">,
  { _id: sessionId, lease }: Doc<"sessions">,
  messageIds: ReadonlyArray<Id<"messages">>
): Promise<void> => {
  if (lease?.taskId === undefined || messageIds.length === 0) return
  const row = await rowOf(ctx, sessionId, lease.taskId)
  if (row === null || row.epoch !== lease.epoch) return
  const recentIds = [...row.seen.recentIds, ...messageIds]
  await ctx.db.patch("seenTasks", row._id, { seen: { ...row.seen, recentIds } })
}

/**
 * Reverts what the lease's turn showed, when the lease ends. After a failed turn everything is sent again; without a
 * turn nothing was shown. Reads one row, or none if the turn was answered.
 */
export const revertShown = async (
  ctx: Pick<MutationCtx, "db">,
  { _id: sessionId, lease }: Doc<"sessions">,
  turn: TurnState
): Promise<void> => {
  if (lease?.taskId === undefined || turn === "answered") return
  const row = await rowOf(ctx, sessionId, lease.taskId)
  if (row === null) return
  if (turn === "failed") await ctx.db.delete("seenTasks", row._id)
  else if (row.epoch !== lease.epoch) return
  else if (row.before === null) await ctx.db.delete("seenTasks", row._id)
  else await ctx.db.patch("seenTasks", row._id, { seen: row.before })
}
