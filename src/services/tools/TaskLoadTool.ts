import { Effect, Schema } from "effect"
import { defineTool } from "./AgentTool.ts"
import { MessageAnswer, TaskAnswer, taskAnswer, threadAnswer } from "./TaskAnswer.ts"
import { limit, since, taskId, withMoment } from "./ToolParameters.ts"

/** Reads any task of the account with its thread. */
export const taskLoadTool = defineTool({
  name: "task_load",
  description: "Read a task of this account with the latest messages of its thread.",
  capability: "read any task of the account with its thread",
  path: "/agent/task-load",
  parameters: Schema.Struct({ taskId, messageLimit: limit("of the latest messages", 10, 200), since }),
  answer: Schema.Struct({ task: TaskAnswer, thread: Schema.Array(MessageAnswer) }),
  isEffect: false,
  isOffered: () => true,
  run: Effect.fn("AgentTools.task_load")(function* ({ controlPlane }, parameters) {
    const { task, thread } = yield* controlPlane.loadTask(yield* withMoment(parameters))
    return { task: taskAnswer(task), thread: threadAnswer(thread) }
  })
})
