import { type Infer, v } from "convex/values"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { QueryCtx } from "../../_generated/server.js"
import { actor } from "../../tables/actor.ts"
import { approvalState, policedTool } from "../../tables/approvals.ts"
import { taskStatus } from "../../tables/tasks.ts"
import { cut } from "../database/cut.ts"
import { readWithin } from "../database/readWithin.ts"

/** A request for approval as people see it; times are epoch milliseconds. */
export const approvalView = v.object({
  id: v.string(),
  state: approvalState,
  agentSlug: v.union(v.string(), v.null()),
  tool: policedTool,
  /** The arguments as JSON, and the SHA-256 of the tool and its arguments. */
  arguments: v.string(),
  hash: v.string(),
  run: v.string(),
  taskId: v.string(),
  taskTitle: v.union(v.string(), v.null()),
  /** The task's status when the agent asked, without which the call is not executed. */
  taskStatus,
  createdAt: v.number(),
  expiresAt: v.number(),
  endedAt: v.union(v.number(), v.null()),
  /** Who approved, denied or withdrew it. */
  decidedBy: v.union(actor, v.null()),
  reason: v.union(v.string(), v.null()),
  /** The result of the executed call as JSON. */
  result: v.union(v.string(), v.null())
})
type ApprovalView = Infer<typeof approvalView>

const listedArguments = 200
/** The maximum number of characters read for one list. */
const listBudget = 3_000_000

const sizeOf = ({ args }: Doc<"approvals">): number => 500 + JSON.stringify(args).length

/** The request as people see it, with its arguments cut. Reads the agent and the task. */
export const toApprovalView = async (
  ctx: Pick<QueryCtx, "db">,
  approval: Doc<"approvals">,
  length = Infinity
): Promise<ApprovalView> => {
  const { decidedBy = null, endedAt = null, hash, reason = null, result, run, state, taskId, tool } = approval
  return {
    id: approval._id,
    state,
    agentSlug: (await ctx.db.get("agents", approval.agentId))?.slug ?? null,
    tool,
    arguments: cut(JSON.stringify(approval.args), length),
    hash,
    run,
    taskId,
    taskTitle: (await ctx.db.get("tasks", taskId))?.title ?? null,
    taskStatus: approval.taskStatus,
    createdAt: approval._creationTime,
    expiresAt: approval.expiresAt,
    endedAt,
    decidedBy,
    reason,
    result: result === undefined ? null : JSON.stringify(result)
  }
}

/** The open requests, or those that ended, newest first. Reads three rows each, at most 3,000,000 characters. */
export const listApprovals = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  { hasEnded, limit }: { readonly hasEnded: boolean; readonly limit: number }
): Promise<Array<ApprovalView>> => {
  const all = ctx.db.query("approvals")
  const newestFirst = hasEnded
    ? all.withIndex("by_account", (q) => q.eq("accountId", accountId)).order("desc")
    : all.withIndex("by_state", (q) => q.eq("accountId", accountId).eq("state", "pending")).order("desc")
  const found = await readWithin(newestFirst, limit, listBudget, sizeOf)
  const views: Array<ApprovalView> = []
  for (const approval of found) {
    if (hasEnded === (approval.state !== "pending")) views.push(await toApprovalView(ctx, approval, listedArguments))
  }
  return views
}
