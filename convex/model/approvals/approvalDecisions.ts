import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx, QueryCtx } from "../../_generated/server.js"
import type { Actor } from "../../tables/actor.ts"
import { ownRow } from "../access/ownRow.ts"
import { refusal } from "../access/refusal.ts"
import { agentActor, systemActor } from "../accounts/actor.ts"
import { accountOf, flagsOf } from "../agents/agents.ts"
import { cut } from "../database/cut.ts"
import { noteAct } from "../limits/taskLoops.ts"
import { notifyAgents } from "../notifications/notify.ts"
import { personOrigin } from "../notifications/origin.ts"
import type { Run } from "../runs/runs.ts"
import { toolNamed } from "../tools/allTools.ts"
import { endApproval } from "./approvalEnds.ts"
import { verdictOf } from "./toolCall.ts"

type Approval = Doc<"approvals">

const maxReason = 500
/** The maximum number of characters of the arguments and of the result in the agent's notification. */
const shownLength = 1_000

/** The account's request with this id. Fails with `not_found` otherwise. Reads one row. */
export const approvalOf = async (
  ctx: Pick<QueryCtx, "db">,
  accountId: Id<"accounts">,
  approvalId: string
): Promise<Approval> => {
  const approval = await ownRow(ctx, "approvals", accountId, approvalId)
  if (approval === null) {
    throw refusal("not_found", "The account has no request for approval with this id. List the requests.")
  }
  return approval
}

const conflict = (message: string) => refusal("conflict", message)

/** Fails with `conflict` unless the request still waits for a decision. */
const mustBePending = ({ decidedBy, expiresAt, state }: Approval): void => {
  const by = decidedBy === undefined ? "" : ` by ${decidedBy.name}`
  if (state !== "pending") throw conflict(`The request was already ${state}${by}. Nothing was changed.`)
  if (expiresAt <= Date.now()) throw conflict("The request has expired. Nothing was executed.")
}

const isSame = (left: ReadonlyArray<string>, right: ReadonlyArray<string>): boolean =>
  left.length === right.length && left.every((each) => right.includes(each))

/** The task of the call. Fails with `conflict` if it is no longer as it was when the agent asked. */
const unchangedTask = async (ctx: MutationCtx, approval: Approval): Promise<Doc<"tasks">> => {
  const task = await ctx.db.get("tasks", approval.taskId)
  if (task === null || task.status === "archived") {
    throw conflict("The task was archived or deleted after the agent asked. Nothing was executed. Deny the request.")
  }
  if (task.status !== approval.taskStatus) {
    throw conflict(
      `The task is ${task.status} now and was ${approval.taskStatus} when the agent asked. Nothing was executed. ` +
        "Move it back, or deny the request."
    )
  }
  if (!isSame(task.assigneeIds, approval.assigneeIds)) {
    throw conflict(
      "The task's assignees have changed since the agent asked. Nothing was executed. Restore them, or deny the request."
    )
  }
  return task
}

/**
 * The run that asked, so that the approved call is executed in its name: without a lease, and with hops 0 because a
 * person decided. The agent's permissions are those of now.
 */
const runOf = (approval: Approval, account: Doc<"accounts">, agent: Doc<"agents">): Run => ({
  accountId: approval.accountId,
  id: approval.run,
  chain: approval.chain,
  kind: approval.kind,
  epoch: approval.epoch,
  claimedAt: approval._creationTime,
  agent,
  flags: flagsOf(account, agent),
  policies: account.toolPolicies ?? null,
  taskId: approval.runTaskId ?? null,
  origin: { actor: agentActor(agent), hops: 0, chain: approval.chain, settings: approval.settings }
})

/**
 * Notifies the agent of what became of its call, in the task of the run that asked. As a mention it is delivered whatever
 * the task's status is.
 */
const notifyAgent = async (ctx: MutationCtx, approval: Approval, by: Actor, outcome: string): Promise<void> => {
  const agent = await ctx.db.get("agents", approval.agentId)
  const task = await ctx.db.get("tasks", approval.runTaskId ?? approval.taskId)
  if (agent === null || agent.removedAt !== undefined || task === null) return
  const call = `${approval.tool} ${cut(JSON.stringify(approval.args), shownLength)}`
  const request = `Your call: ${call}\n${outcome}`
  await notifyAgents(ctx, task, [agent], personOrigin(by), { type: "mention", request })
}

/**
 * Approves a request: executes its call once, as the agent and in the name of the run that asked, and notifies the agent
 * of the result. Fails with `conflict`, having changed nothing, if the request has ended, the agent was removed, the
 * task is not as it was, or a policy denies the call now. Reads what the tool reads and about fifteen more rows.
 */
export const approve = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  approvalId: string,
  actor: Actor
): Promise<void> => {
  const approval = await approvalOf(ctx, accountId, approvalId)
  mustBePending(approval)
  const agent = await ctx.db.get("agents", approval.agentId)
  if (agent === null || agent.removedAt !== undefined) {
    throw conflict("The agent was removed. Nothing was executed. Deny the request.")
  }
  await noteAct(ctx, await unchangedTask(ctx, approval))
  // Ended before the call, which may stop the runs of the task and withdraw its open requests.
  await endApproval(ctx, approval, { state: "approved", actor, reason: "" })
  const run = runOf(approval, await accountOf(ctx, accountId), agent)
  const tool = toolNamed(approval.tool)
  const prepared = await tool.prepare(ctx, run, approval.args as never)
  if ("settled" in prepared) {
    throw conflict("The call would change nothing any more, because of a later decision. Deny the request.")
  }
  if (verdictOf(run, tool, prepared).effect === "deny") {
    throw conflict(
      `A policy now denies ${approval.tool}. Nothing was executed. Change the policy, or deny the request.`
    )
  }
  const result = await prepared.act()
  await ctx.db.patch("approvals", approval._id, { result })
  const outcome = `Approved and executed. Do not repeat the call. Result: ${cut(JSON.stringify(result), shownLength)}`
  await notifyAgent(ctx, approval, actor, outcome)
}

/** Denies a request and notifies the agent with the reason. Fails with `conflict` if it has ended. */
export const deny = async (
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  approvalId: string,
  actor: Actor,
  given: string
): Promise<void> => {
  const approval = await approvalOf(ctx, accountId, approvalId)
  mustBePending(approval)
  const reason = cut(given.trim(), maxReason)
  await endApproval(ctx, approval, { state: "denied", actor, reason })
  const task = await ctx.db.get("tasks", approval.taskId)
  if (task !== null) await noteAct(ctx, task)
  const because = reason === "" ? "No reason was given." : `Reason: ${reason}`
  await notifyAgent(ctx, approval, actor, `Denied and not executed. Do not repeat the call. ${because}`)
}

/** Ends a request about which no one decided in time, and notifies the agent. Does nothing if it has ended. */
export const expire = async (ctx: MutationCtx, id: Id<"approvals">): Promise<void> => {
  const approval = await ctx.db.get("approvals", id)
  if (approval?.state !== "pending") return
  await endApproval(ctx, approval, { state: "expired", actor: systemActor, reason: "" })
  const outcome =
    "Not executed: no one decided within 24 hours. Do not repeat the call. Write in the thread what waits."
  await notifyAgent(ctx, approval, systemActor, outcome)
}
