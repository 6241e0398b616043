import { Effect, Schema } from "effect"
import { TaskStatus } from "../../domain/delivery/DeliveryContext.ts"
import { defineTool, isOrchestrator, ToolRejected } from "./AgentTool.ts"
import { keptReason } from "./StatusRules.ts"
import { taskId } from "./ToolParameters.ts"

/** Archives a task. */
export const taskDeleteTool = defineTool({
  name: "task_delete",
  description: "Archive a task: no agent is notified about it again. It can be read, but not restored.",
  capability: "archive a task",
  path: "/agent/task-delete",
  parameters: Schema.Struct({
    taskId,
    reason: Schema.NonEmptyString.check(Schema.isMaxLength(500)).annotate({
      description: "Why, at most 500 characters."
    })
  }),
  answer: Schema.Struct({
    taskId: Schema.String,
    status: TaskStatus,
    changed: Schema.Boolean,
    stopped: Schema.Finite,
    reason: keptReason
  }),
  isEffect: true,
  isOffered: isOrchestrator,
  run: Effect.fn("AgentTools.task_delete")(function* ({ controlPlane, fence }, parameters) {
    if (parameters.reason.trim() === "") {
      return yield* new ToolRejected({ code: "invalid", detail: "reason: say why the task is archived" })
    }
    return yield* controlPlane.removeTask(fence, parameters)
  })
})
