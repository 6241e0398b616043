import type { Doc, Id } from "../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../_generated/server.js"

/** Who hears of a task: an agent or a member. */
export type Subscriber = { readonly agentId: Id<"agents"> } | { readonly memberId: Id<"members"> }

const subscriptionOf = (ctx: Pick<QueryCtx, "db">, taskId: Id<"tasks">, who: Subscriber) =>
  "agentId" in who
    ? ctx.db
        .query("subscriptions")
        .withIndex("by_agent", (q) => q.eq("taskId", taskId).eq("agentId", who.agentId))
        .unique()
    : ctx.db
        .query("subscriptions")
        .withIndex("by_member", (q) => q.eq("taskId", taskId).eq("memberId", who.memberId))
        .unique()

/** Subscribes for good, as one who took part, or for as long as the assignment lasts. */
export const subscribe = async (
  ctx: Pick<MutationCtx, "db">,
  task: Pick<Doc<"tasks">, "_id" | "accountId">,
  who: Subscriber,
  as: "participant" | "assignee"
): Promise<void> => {
  const found = await subscriptionOf(ctx, task._id, who)
  if (found === null) {
    await ctx.db.insert("subscriptions", {
      accountId: task.accountId,
      taskId: task._id,
      ...who,
      isAssignee: as === "assignee",
      hasTakenPart: as === "participant"
    })
  } else if (as === "assignee" ? !found.isAssignee : !found.hasTakenPart) {
    await ctx.db.patch("subscriptions", found._id, as === "assignee" ? { isAssignee: true } : { hasTakenPart: true })
  }
}

/** Ends what the assignment gave; one who took part stays subscribed. */
export const unsubscribeAssignee = async (
  ctx: Pick<MutationCtx, "db">,
  taskId: Id<"tasks">,
  agentId: Id<"agents">
): Promise<void> => {
  const found = await subscriptionOf(ctx, taskId, { agentId })
  if (found === null) return
  if (found.hasTakenPart) await ctx.db.patch("subscriptions", found._id, { isAssignee: false })
  else await ctx.db.delete("subscriptions", found._id)
}

/** Everyone subscribed to the task. */
export const subscribersOf = (ctx: Pick<QueryCtx, "db">, taskId: Id<"tasks">): Promise<Array<Doc<"subscriptions">>> =>
  ctx.db
    .query("subscriptions")
    .withIndex("by_task", (q) => q.eq("taskId", taskId))
    .collect()
