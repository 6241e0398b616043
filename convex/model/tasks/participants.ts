import type { Doc } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"

const systemId = "system"
const participantsRead = 100

/**
 * Stores when the actor last wrote in the task's thread (`message`) or changed its status (`act`). Reads and writes the
 * actor's own row, so that replies of different authors in one task do not conflict.
 */
export const recordParticipation = async (
  ctx: Pick<MutationCtx, "db">,
  task: Pick<Doc<"tasks">, "_id" | "accountId">,
  actor: Actor,
  kind: "message" | "act"
): Promise<void> => {
  const authorId = actor.id ?? systemId
  const now = Date.now()
  const found = await ctx.db
    .query("participants")
    .withIndex("by_task", (q) => q.eq("taskId", task._id).eq("authorId", authorId))
    .unique()
  const activity = { lastSignAt: now, ...(kind === "message" ? { lastMessageAt: now } : {}) }
  if (found !== null) await ctx.db.patch("participants", found._id, activity)
  else {
    const { _id: taskId, accountId } = task
    await ctx.db.insert("participants", { accountId, taskId, authorId, lastMessageAt: null, ...activity })
  }
}

/** When someone last wrote in a task's thread, and when one of its assignees last wrote or changed its status. */
export interface LastActivity {
  readonly lastMessageAt: number | null
  readonly lastAssigneeAt: number | null
}

const latest = (times: ReadonlyArray<number | null>): number | null =>
  times.reduce((left, right) => (left === null || (right !== null && right > left) ? right : left), null)

/** The task's last activity. Reads one row per participant, at most 100. */
export const lastActivityOf = async (
  ctx: Pick<QueryCtx, "db">,
  task: Pick<Doc<"tasks">, "_id" | "assigneeIds">
): Promise<LastActivity> => {
  const participants = await ctx.db
    .query("participants")
    .withIndex("by_task", (q) => q.eq("taskId", task._id))
    .take(participantsRead)
  const assigneeIds: ReadonlyArray<string> = task.assigneeIds
  return {
    lastMessageAt: latest(participants.map((each) => each.lastMessageAt)),
    lastAssigneeAt: latest(
      participants.filter((each) => assigneeIds.includes(each.authorId)).map((each) => each.lastSignAt)
    )
  }
}
