import { Effect, Schema } from "effect"
import { defineTool, isOrchestrator } from "./AgentTool.ts"
import { TaskAnswer, taskAnswer } from "./TaskAnswer.ts"
import { taskId } from "./ToolParameters.ts"

/** Reads one task without its thread. */
export const taskGetTool = defineTool({
  name: "task_get",
  description: "Read a task of this account, without its thread.",
  capability: "read a task without its thread",
  path: "/agent/task-get",
  parameters: Schema.Struct({ taskId }),
  answer: Schema.Struct({ task: TaskAnswer }),
  isEffect: false,
  isOffered: isOrchestrator,
  run: Effect.fn("AgentTools.task_get")(function* ({ controlPlane }, parameters) {
    const { task } = yield* controlPlane.getTask(parameters)
    return { task: taskAnswer(task) }
  })
})
