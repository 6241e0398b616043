import { Effect, Schema } from "effect"
import { defineTool, isOrchestrator, ToolRejected } from "./AgentTool.ts"
import { taskId } from "./ToolParameters.ts"

/** Posts into a task's thread, once per run and arguments. */
export const taskMessageTool = defineTool({
  name: "task_message",
  description:
    "Post a message in another task's thread. Your answer to this request is the end of your turn, not this.",
  capability: "post in the thread of any task",
  path: "/agent/task-message",
  parameters: Schema.Struct({
    taskId,
    content: Schema.NonEmptyString.check(Schema.isMaxLength(100_000)).annotate({ description: "The message." })
  }),
  answer: Schema.Struct({ messageId: Schema.String, repeated: Schema.Boolean }),
  isEffect: true,
  isOffered: isOrchestrator,
  run: Effect.fn("AgentTools.task_message")(function* ({ controlPlane, fence }, parameters) {
    if (parameters.content.trim() === "") {
      return yield* new ToolRejected({ code: "invalid", detail: "content: the message is empty" })
    }
    return yield* controlPlane.postMessage(fence, parameters)
  })
})
