import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"

/** A subscriber of a task: an agent or a member. */
export type Subscriber = { readonly agentId: Id<"agents"> } | { readonly memberId: Id<"members"> }

const maxSubscribers = 1_000
const endBatch = 200

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

/** Subscribes a participant permanently, or an assignee for the time of the assignment. */
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

/** Ends an assignee's subscription. A participant stays subscribed. */
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

/** The task's subscribers, at most 1,000. Reads one row each. */
export const subscribersOf = (ctx: Pick<QueryCtx, "db">, taskId: Id<"tasks">): Promise<Array<Doc<"subscriptions">>> =>
  ctx.db
    .query("subscriptions")
    .withIndex("by_task", (q) => q.eq("taskId", taskId))
    .take(maxSubscribers)

/**
 * Subscribes the participants and returns all subscribers of the task. Reads the task's subscriptions and writes only
 * those that change.
 */
export const subscribeParticipants = async (
  ctx: Pick<MutationCtx, "db">,
  task: Pick<Doc<"tasks">, "_id" | "accountId">,
  participants: ReadonlyArray<Subscriber>
): Promise<Array<Pick<Doc<"subscriptions">, "agentId" | "memberId">>> => {
  const subscriptions = await subscribersOf(ctx, task._id)
  const found = new Map(subscriptions.map((each) => [each.agentId ?? each.memberId, each]))
  const added = new Map<string, Subscriber>()
  for (const who of participants) {
    const id = "agentId" in who ? who.agentId : who.memberId
    const subscription = found.get(id)
    if (subscription === undefined) added.set(id, who)
    else if (!subscription.hasTakenPart) {
      await ctx.db.patch("subscriptions", subscription._id, { hasTakenPart: true })
    }
  }
  for (const who of added.values()) {
    await ctx.db.insert("subscriptions", {
      accountId: task.accountId,
      taskId: task._id,
      ...who,
      isAssignee: false,
      hasTakenPart: true
    })
  }
  return [...subscriptions, ...added.values()]
}

/** Deletes up to 200 subscriptions of a removed subscriber. Returns whether there may be more. */
export const endSubscriptions = async (ctx: Pick<MutationCtx, "db">, who: Subscriber): Promise<boolean> => {
  const all = ctx.db.query("subscriptions")
  const subscriptions = await (
    "agentId" in who
      ? all.withIndex("by_agent_all", (q) => q.eq("agentId", who.agentId))
      : all.withIndex("by_member_all", (q) => q.eq("memberId", who.memberId))
  ).take(endBatch)
  for (const { _id } of subscriptions) await ctx.db.delete("subscriptions", _id)
  return subscriptions.length === endBatch
}
