import { serviceMutation } from "../model/access/serviceFunctions.ts"
import { callTool } from "../model/approvals/toolCall.ts"
import { runArgs } from "../model/runs/runs.ts"
import { orNeedsApproval } from "../model/tools/agentTool.ts"
import { requestResponses } from "../model/tools/responseRequestTool.ts"

/**
 * Asks agents or people for a response in the task's thread, once per run and arguments (response_request). A recipient
 * is an agent's slug or a person's name; everyone with that name is asked. A question to people is also a note in the
 * thread. Returns who was skipped and why. For runtimes. Reads about ten rows, six per agent and ten per person.
 */
export const create = serviceMutation({
  args: { ...runArgs, ...requestResponses.args },
  returns: orNeedsApproval(requestResponses.returns),
  handler: (ctx, args) => callTool(ctx, ctx.accountId, requestResponses, args)
})
