import type { PolicedTool } from "../../../src/domain/shared/ToolPolicy.ts"
import { internal } from "../../_generated/api.js"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import { byPolicy, refusal } from "../access/refusal.ts"
import { recordActivity } from "../accounts/activities.ts"
import { notifyMember, responsibleFor } from "../notifications/notify.ts"
import { canonical, createOnce, earlierResult } from "../runs/effects.ts"
import type { Run } from "../runs/runs.ts"
import { announce } from "../webhooks/announce.ts"

/** How long a person has for a decision. */
const decisionMs = 24 * 60 * 60 * 1_000
/** The maximum number of open requests of an account, and of characters of one call's arguments. */
const maxOpen = 50
const maxArguments = 64_000

/** The name under which the ledger keeps requests. */
const ledgerName = "approval_request"

/** The request that this run made for an identical call; null if it made none. Reads at most two rows. */
export const approvalAsked = async (
  ctx: Pick<QueryCtx, "db">,
  run: Run,
  tool: PolicedTool,
  args: object
): Promise<Doc<"approvals"> | null> => {
  const known = await earlierResult(ctx, run, ledgerName, { tool, args })
  return known === null ? null : await ctx.db.get("approvals", (known as { approvalId: Id<"approvals"> }).approvalId)
}

/** Fails with `limit` if the arguments are too long or the account has too many open requests. */
const mustHaveSpace = async (ctx: MutationCtx, accountId: Id<"accounts">, args: object): Promise<void> => {
  if (canonical(args).length > maxArguments) {
    throw refusal(
      "limit",
      `A call that a person must approve has at most ${maxArguments} characters. Shorten or split it.`
    )
  }
  const open = await ctx.db
    .query("approvals")
    .withIndex("by_state", (q) => q.eq("accountId", accountId).eq("state", "pending"))
    .take(maxOpen)
  if (open.length === maxOpen) {
    throw refusal(
      "limit",
      `The account has ${maxOpen} open requests for approval, which is the limit. Write in the thread what waits.`
    )
  }
}

/**
 * Stores a call until a person decides about it, and notifies the person responsible for the task: the only place where
 * a request for approval is created. The call's task is that of its arguments, or the run's. Reads the open requests,
 * the task, the recipient and the account's webhooks.
 */
export const requestApproval = async (
  ctx: MutationCtx,
  run: Run,
  tool: PolicedTool,
  args: object,
  ownTask: Doc<"tasks"> | null
): Promise<Id<"approvals">> => {
  const { accountId, agent, chain, epoch, kind, origin } = run
  const task = ownTask ?? (run.taskId === null ? null : await ctx.db.get("tasks", run.taskId))
  if (task === null) {
    throw refusal(
      "forbidden",
      "A person must approve this call, and a heartbeat has no task in which to ask. Call it in a turn on a task.",
      byPolicy
    )
  }
  if (task.status === "archived") {
    throw refusal("invalid", "A person must approve this call, but the task is archived. Write what you wanted to do.")
  }
  const { approvalId } = await createOnce(ctx, run, ledgerName, { tool, args }, async (hash) => {
    await mustHaveSpace(ctx, accountId, args)
    const expiresAt = Date.now() + decisionMs
    const id = await ctx.db.insert("approvals", {
      accountId,
      agentId: agent._id,
      run: run.id,
      kind,
      epoch,
      chain,
      settings: origin.settings,
      ...(run.taskId === null ? {} : { runTaskId: run.taskId }),
      tool,
      args: args as Record<string, unknown>,
      hash,
      taskId: task._id,
      taskStatus: task.status,
      assigneeIds: task.assigneeIds,
      state: "pending",
      expiresAt
    })
    await ctx.scheduler.runAt(expiresAt, internal.scheduled.approvals.expire, { id })
    const recipient = await responsibleFor(ctx, task)
    if (recipient !== null) {
      const request = `${agent.name} asks to call ${tool}. To see the call and decide, run \`approvals show ${id}\`.`
      const noticeId = await notifyMember(ctx, task, recipient._id, origin, { type: "thread_update", request })
      await ctx.db.patch("approvals", id, { noticeId })
    }
    const text = `${agent.name} asks to call ${tool}. A member of the account can approve or deny it until it expires.`
    const data = { approvalId: id, taskId: task._id, agentId: agent._id, tool, text }
    await announce(ctx, accountId, { type: "approval.requested", data })
    await recordActivity(ctx, {
      accountId,
      type: "approval_requested",
      actor: origin.actor,
      taskId: task._id,
      summary: `asked to call ${tool}`
    })
    return { result: { approvalId: id }, summary: `asked a person to approve ${tool}` }
  })
  return approvalId
}
