import { Effect, Schema } from "effect"
import { defineTool, isOrchestrator } from "./AgentTool.ts"
import { MessageAnswer, threadAnswer } from "./TaskAnswer.ts"
import { limit, since, taskId, withMoment } from "./ToolParameters.ts"

/** Reads the latest messages of a task's thread. */
export const taskThreadTool = defineTool({
  name: "task_thread",
  description: "Read the latest messages of a task's thread, oldest first.",
  capability: "read a task's thread",
  path: "/agent/task-thread",
  parameters: Schema.Struct({ taskId, limit: limit("of the latest messages", 10, 200), since }),
  answer: Schema.Struct({ taskId: Schema.String, thread: Schema.Array(MessageAnswer) }),
  isEffect: false,
  isOffered: isOrchestrator,
  run: Effect.fn("AgentTools.task_thread")(function* ({ controlPlane }, parameters) {
    const { taskId: id, thread } = yield* controlPlane.taskThread(yield* withMoment(parameters))
    return { taskId: id, thread: threadAnswer(thread) }
  })
})
