import { documentListTool } from "./DocumentListTool.ts"
import { documentUpsertTool } from "./DocumentUpsertTool.ts"
import { getAgentSkillsTool } from "./GetAgentSkillsTool.ts"
import { responseRequestTool } from "./ResponseRequestTool.ts"
import { taskAssignTool } from "./TaskAssignTool.ts"
import { taskCreateTool } from "./TaskCreateTool.ts"
import { taskDeleteTool } from "./TaskDeleteTool.ts"
import { taskGetTool } from "./TaskGetTool.ts"
import { taskHistoryTool } from "./TaskHistoryTool.ts"
import { taskLinkPrTool } from "./TaskLinkPrTool.ts"
import { taskListTool } from "./TaskListTool.ts"
import { taskLoadTool } from "./TaskLoadTool.ts"
import { taskMessageTool } from "./TaskMessageTool.ts"
import { taskSearchTool } from "./TaskSearchTool.ts"
import { taskStatusTool } from "./TaskStatusTool.ts"
import { taskThreadTool } from "./TaskThreadTool.ts"
import { taskUpdateTool } from "./TaskUpdateTool.ts"

/** Every tool, in the order in which agents read them; a new one is a file in this directory and a line here. */
export const allTools = [
  taskStatusTool,
  taskUpdateTool,
  taskCreateTool,
  documentUpsertTool,
  documentListTool,
  responseRequestTool,
  taskLoadTool,
  getAgentSkillsTool,
  taskHistoryTool,
  taskListTool,
  taskGetTool,
  taskThreadTool,
  taskSearchTool,
  taskDeleteTool,
  taskMessageTool,
  taskAssignTool,
  taskLinkPrTool
] as const
