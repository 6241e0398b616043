/** What the gateway's history of a session holds of a task, so that a turn is sent only what is new. */
import { type Infer, v } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import type { turnState } from "../../tables/runs.ts"
import type { seenTask } from "../../tables/sessions.ts"
import { sha256 } from "../database/sha256.ts"

/** What a session has seen of a task once a turn is answered. */
export type SeenTask = Infer<typeof seenTask>
/** What became of a run's turn: answered, failed (it may have run all the same), or there was none. */
export type TurnState = Infer<typeof turnState>

/** The parts of a prompt that are sent again only when they changed. */
export const part = v.union(
  v.literal("task"),
  v.literal("documents"),
  v.literal("people"),
  v.literal("briefing"),
  v.literal("tasks")
)
export type Part = Infer<typeof part>
const parts = part.members.map(({ value }) => value)

/** After such a pause everything is sent again: providers no longer hold the session's prefix in their cache. */
export const seenMs = 4 * 60 * 60 * 1_000
/** Messages are committed in another order than they are created; a mutation takes less than this. */
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

/** The row of a session and task, and what counts of it; null if everything must be sent. */
export interface Seen {
  readonly rowId: Id<"seenTasks"> | null
  readonly before: SeenTask | null
}

/**
 * What the session has seen of the notification's task; nothing if everything must be sent: no turn was answered in this
 * generation, it is too long ago, or the gateway may have lost it. Nothing also if a message of the notification is as old as
 * what was seen, since its thread then reaches back further. Reads at most one row.
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

/** From when on messages may be new to a session. */
export const newSince = ({ newestAt }: SeenTask): number => newestAt - overlapMs

/** What a turn shows that has read these messages, on top of what was seen before; each part is known by a fingerprint. */
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

/** The parts that are as they were. */
export const unchangedIn = (before: SeenTask, now: SeenTask): Array<Part> =>
  parts.filter((each) => before.fingerprints[each] === now.fingerprints[each])

/** Notes what the turn of this epoch shows: it is seen once the turn is answered. Reads one row. */
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
 * Takes back what the lease's turn showed, at its end: if it failed everything is sent again; without a turn nothing was
 * shown. Reads one row, and none if the turn was answered.
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
