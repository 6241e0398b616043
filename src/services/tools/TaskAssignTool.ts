import { Effect, Schema } from "effect"
import { TaskStatus } from "../../domain/delivery/DeliveryContext.ts"
import { defineTool, isOrchestrator } from "./AgentTool.ts"
import { keptReason } from "./StatusRules.ts"
import { slugs, taskId } from "./ToolParameters.ts"

/** Makes these agents, and only these, the assignees of a task. */
export const taskAssignTool = defineTool({
  name: "task_assign",
  description: "Set the assignees of a task: new ones are notified, others unassigned.",
  capability: "assign a task",
  path: "/agent/task-assign",
  parameters: Schema.Struct({
    taskId,
    assigneeSlugs: slugs("The slugs of all assignees. Empty unassigns everyone.")
  }),
  answer: Schema.Struct({
    taskId: Schema.String,
    status: TaskStatus,
    assigneeSlugs: Schema.Array(Schema.String),
    changed: Schema.Boolean,
    reason: keptReason
  }),
  isEffect: true,
  isOffered: isOrchestrator,
  run: Effect.fn("AgentTools.task_assign")(({ controlPlane, fence }, parameters) =>
    controlPlane.assignTask(fence, parameters)
  )
})
