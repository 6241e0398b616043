import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"
import { recordActivity } from "../accounts/activities.ts"
import { cut } from "../database/cut.ts"

type Approval = Doc<"approvals">

/** Far above the number of open requests of an account. */
const maxPending = 200

/** Stores how a request ended, with its activity, and marks the person's notification as read. */
export const endApproval = async (
  ctx: MutationCtx,
  approval: Approval,
  end: {
    readonly state: Exclude<Approval["state"], "pending">
    readonly actor: Actor
    readonly reason: string
  }
): Promise<void> => {
  const { actor, reason, state } = end
  await ctx.db.patch("approvals", approval._id, {
    state,
    endedAt: Date.now(),
    ...(state === "expired" ? {} : { decidedBy: actor }),
    ...(reason === "" ? {} : { reason })
  })
  const notice = approval.noticeId === undefined ? null : await ctx.db.get("notifications", approval.noticeId)
  if (notice?.state === "unread") {
    await ctx.db.patch("notifications", notice._id, { state: "delivered", endedAt: Date.now() })
  }
  const agent = await ctx.db.get("agents", approval.agentId)
  await recordActivity(ctx, {
    accountId: approval.accountId,
    type: `approval_${state}`,
    actor,
    taskId: approval.taskId,
    summary: `${approval.tool} of ${agent?.name ?? "an agent"} ${state}${reason === "" ? "" : `: ${cut(reason, 300)}`}`
  })
}

const pendingOfRun = (ctx: MutationCtx, run: string) =>
  ctx.db
    .query("approvals")
    .withIndex("by_run", (q) => q.eq("run", run).eq("state", "pending"))
    .take(maxPending)

const pendingOfTask = async (ctx: MutationCtx, taskId: Id<"tasks">): Promise<ReadonlyArray<Approval>> => {
  const concerning = await ctx.db
    .query("approvals")
    .withIndex("by_task", (q) => q.eq("taskId", taskId).eq("state", "pending"))
    .take(maxPending)
  const askedIn = await ctx.db
    .query("approvals")
    .withIndex("by_run_task", (q) => q.eq("runTaskId", taskId).eq("state", "pending"))
    .take(maxPending)
  return [...concerning, ...askedIn.filter((each) => each.taskId !== taskId)]
}

const pendingOfAgent = (ctx: MutationCtx, agentId: Id<"agents">) =>
  ctx.db
    .query("approvals")
    .withIndex("by_agent", (q) => q.eq("agentId", agentId).eq("state", "pending"))
    .take(maxPending)

/**
 * Withdraws the open requests of a run, of an agent, or on a task, because it was stopped: none of their calls can be
 * executed any more. Reads those requests.
 */
export const withdrawApprovals = async (
  ctx: MutationCtx,
  target: { readonly run: string } | { readonly agentId: Id<"agents"> } | { readonly taskId: Id<"tasks"> },
  stop: { readonly actor: Actor; readonly reason: string }
): Promise<void> => {
  const pending =
    "run" in target
      ? await pendingOfRun(ctx, target.run)
      : "agentId" in target
        ? await pendingOfAgent(ctx, target.agentId)
        : await pendingOfTask(ctx, target.taskId)
  for (const approval of pending) await endApproval(ctx, approval, { state: "withdrawn", ...stop })
}

/**
 * Accepts the task's new status in the open requests of a run, because the end of the same run set it: only a change by
 * someone else must prevent an approval. Reads those requests.
 */
export const acceptBegunWork = async (ctx: MutationCtx, run: string, task: Doc<"tasks">): Promise<void> => {
  for (const { _id, taskId } of await pendingOfRun(ctx, run)) {
    if (taskId === task._id) await ctx.db.patch("approvals", _id, { taskStatus: task.status })
  }
}
