import { Effect, Schema } from "effect"
import { defineTool } from "./AgentTool.ts"
import { MessageAnswer, nameOf, TaskAnswer, taskAnswer, threadAnswer, timeOf } from "./TaskAnswer.ts"
import { limit, taskId } from "./ToolParameters.ts"

/** Reads any task of the account with its thread and what was done to it. */
export const taskHistoryTool = defineTool({
  name: "task_history",
  description:
    "Read a task of this account with the latest messages of its thread and its latest activities, oldest first.",
  capability: "read the history of any task of the account",
  path: "/agent/task-history",
  parameters: Schema.Struct({
    taskId,
    messageLimit: limit("of the latest messages", 50, 200),
    activityLimit: limit("of the latest activities", 50, 200)
  }),
  answer: Schema.Struct({
    task: TaskAnswer,
    thread: Schema.Array(MessageAnswer),
    activities: Schema.Array(
      Schema.Struct({ type: Schema.String, actor: Schema.String, summary: Schema.String, createdAt: Schema.String })
    )
  }),
  isEffect: false,
  isOffered: () => true,
  run: Effect.fn("AgentTools.task_history")(function* ({ controlPlane }, parameters) {
    const { activities, task, thread } = yield* controlPlane.taskHistory(parameters)
    return {
      task: taskAnswer(task),
      thread: threadAnswer(thread),
      activities: activities.map(({ actor, createdAt, summary, type }) => ({
        type,
        actor: nameOf(actor),
        summary,
        createdAt: timeOf(createdAt)
      }))
    }
  })
})
