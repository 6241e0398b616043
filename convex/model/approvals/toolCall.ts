import { judgeCall, type PolicyVerdict } from "../../../src/domain/shared/ToolPolicy.ts"
import type { Doc, Id } from "../../_generated/dataModel.js"
import type { MutationCtx } from "../../_generated/server.js"
import type { StoredPolicy } from "../../tables/approvals.ts"
import type { RunSettings } from "../../tables/runs.ts"
import { byPolicy, refusal } from "../access/refusal.ts"
import type { Fence } from "../queue/fences.ts"
import { earlierResult } from "../runs/effects.ts"
import { liveRun, type Run } from "../runs/runs.ts"
import type { AgentTool, NeedsApproval, Prepared } from "../tools/agentTool.ts"
import { approvalAsked, requestApproval } from "./approvalRequests.ts"

/** What the account's policies do with the call. Reads nothing. */
export const verdictOf = (
  { agent, policies }: Run,
  { name: tool }: Pick<AgentTool<never, object>, "name">,
  { judged }: Pick<Prepared<object>, "judged">
): PolicyVerdict<StoredPolicy> => judgeCall(policies ?? [], { tool, agentId: agent._id, role: agent.role, ...judged })

/** What the agent reads of a call that it asked for before. */
const answerOf = (approval: Doc<"approvals">): object => {
  const { decidedBy, reason = "", result, state } = approval
  const because = reason === "" ? "" : `: ${reason}`
  const refused = (message: string) => refusal("forbidden", `${message} Do not repeat the call.`, byPolicy)
  switch (state) {
    case "pending":
      return waiting(approval._id)
    case "approved":
      return "repeated" in result ? { ...result, repeated: true } : result
    case "denied":
      throw refused(`${decidedBy?.name ?? "A person"} denied this call${because}.`)
    case "expired":
      throw refused("No one decided about this call within 24 hours, so it was not executed.")
    case "withdrawn":
      throw refused(`The request to approve this call was withdrawn${because}.`)
  }
}

const waiting = (id: Id<"approvals">): NeedsApproval => ({
  needsApproval: {
    id,
    message:
      "A person was asked to approve this call. It is not executed yet. Do not repeat it: you are notified of the " +
      "decision. Leave the task's status and assignees as they are until then. Continue with other work, or end your " +
      "turn and say what waits for approval."
  }
})

/**
 * Executes a tool for a live run, unless a policy of the account denies the call or requires a person's approval. Every
 * function by which a run changes something goes through here. An identical call of the same run never asks again. Reads
 * what the tool reads; in accounts that have or had policies also one or two rows.
 */
export const callTool = async <Args extends object, Result extends object>(
  ctx: MutationCtx,
  accountId: Id<"accounts">,
  tool: AgentTool<Args, Result>,
  { epoch, run: id, session, settings, ...rest }: Fence & { readonly settings: RunSettings } & Args
): Promise<Result | NeedsApproval> => {
  const run = await liveRun(ctx, accountId, { run: id, session, epoch, settings })
  const args = rest as unknown as Args
  const asked = run.policies === null ? null : await approvalAsked(ctx, run, tool.name, args)
  if (asked !== null) return answerOf(asked) as Result | NeedsApproval
  const prepared = await tool.prepare(ctx, run, args)
  if ("settled" in prepared) return prepared.settled
  const { effect, policy } = verdictOf(run, tool, prepared)
  if (effect === "allow") return await prepared.act()
  const created = prepared.once === undefined ? null : await earlierResult(ctx, run, tool.name, prepared.once)
  if (created !== null) return { ...(created as Result), repeated: true }
  if (effect === "ask") return waiting(await requestApproval(ctx, run, tool.name, args, prepared.task))
  const when = policy?.when === undefined ? "" : ` with ${policy.when}`
  throw refusal(
    "forbidden",
    `A policy of this account denies ${tool.name}${when}. Do not repeat the call. Write what you wanted to do and why.`,
    byPolicy
  )
}
