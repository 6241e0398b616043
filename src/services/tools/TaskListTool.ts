import { Effect, Schema } from "effect"
import { TaskStatus } from "../../domain/delivery/DeliveryContext.ts"
import { defineTool, isOrchestrator } from "./AgentTool.ts"
import { TaskAnswer, taskAnswer } from "./TaskAnswer.ts"
import { agentSlug, limit } from "./ToolParameters.ts"

/** Lists the account's tasks, the last changed first. */
export const taskListTool = defineTool({
  name: "task_list",
  description: "List the tasks of this account, the last changed first. Descriptions are cut.",
  capability: "list the account's tasks",
  path: "/agent/task-list",
  parameters: Schema.Struct({
    status: Schema.optionalKey(TaskStatus.annotate({ description: "Only tasks with this status." })),
    assigneeSlug: agentSlug("Only tasks of this assignee."),
    limit: limit("tasks", 50, 200)
  }),
  answer: Schema.Struct({ tasks: Schema.Array(TaskAnswer) }),
  isEffect: false,
  isOffered: isOrchestrator,
  run: Effect.fn("AgentTools.task_list")(function* ({ controlPlane }, parameters) {
    const { tasks } = yield* controlPlane.listTasks(parameters)
    return { tasks: tasks.map(taskAnswer) }
  })
})
