import type { PolicedTool } from "../../../src/domain/shared/ToolPolicy.ts"
import type { AgentTool } from "./agentTool.ts"
import { upsertDocument } from "./documentTools.ts"
import { postInThread } from "./messageTool.ts"
import { requestResponses } from "./responseRequestTool.ts"
import { assign, create, linkPullRequest, remove, setStatus, update } from "./taskTools.ts"

const tools = {
  task_status: setStatus,
  task_update: update,
  task_create: create,
  document_upsert: upsertDocument,
  response_request: requestResponses,
  task_delete: remove,
  task_message: postInThread,
  task_assign: assign,
  task_link_pr: linkPullRequest
} satisfies Record<PolicedTool, { readonly name: PolicedTool }>

/** The tool of this name, for arguments that its own validators have accepted. */
export const toolNamed = (name: PolicedTool): AgentTool<never, object> => tools[name]
