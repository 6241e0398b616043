import { serviceMutation } from "../model/access/serviceFunctions.ts"
import { callTool } from "../model/approvals/toolCall.ts"
import { runArgs } from "../model/runs/runs.ts"
import { orNeedsApproval } from "../model/tools/agentTool.ts"
import { postInThread } from "../model/tools/messageTool.ts"

/**
 * Posts a message in another task's thread, once per run and arguments (task_message; only the orchestrator). For
 * runtimes. Reads the task's subscriptions, the subscribed and mentioned agents and members, and about ten more rows.
 */
export const post = serviceMutation({
  args: { ...runArgs, ...postInThread.args },
  returns: orNeedsApproval(postInThread.returns),
  handler: (ctx, args) => callTool(ctx, ctx.accountId, postInThread, args)
})
