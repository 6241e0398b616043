import { Effect, Schema } from "effect"
import { cut } from "../../domain/Prompt.ts"
import { defineTool } from "./AgentTool.ts"

/** Longer threads would not fit into a model's context. */
const MESSAGE_CHARACTERS = 4_000

/** Reads any task of the account with its thread. */
export const taskLoadTool = defineTool({
  name: "task_load",
  description: "Read a task of this account with the latest messages of its thread.",
  capability: "read any task of the account with its thread",
  parameters: Schema.Struct({
    taskId: Schema.NonEmptyString.annotate({ description: "The task's id." }),
    messageLimit: Schema.optionalKey(
      Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 200 })).annotate({
        description: "How many of the latest messages, 1 to 200; 50 when absent."
      })
    )
  }),
  isEffect: false,
  isOffered: () => true,
  run: Effect.fn("AgentTools.task_load")(function* ({ controlPlane }, { messageLimit, taskId }) {
    const { task, thread } = yield* controlPlane.loadTask({
      taskId,
      ...(messageLimit === undefined ? {} : { messageLimit })
    })
    return {
      task: { ...task, assignees: task.assignees.map(({ slug }) => slug), createdBy: task.createdBy.name },
      thread: thread.map((message) => ({
        author: message.author.slug ?? message.author.name,
        kind: message.kind,
        content: cut(message.content, MESSAGE_CHARACTERS)
      }))
    }
  })
})
