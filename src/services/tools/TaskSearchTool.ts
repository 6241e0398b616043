import { Effect, Schema } from "effect"
import { defineTool, isOrchestrator, ToolRejected } from "./AgentTool.ts"
import { TaskAnswer, taskAnswer } from "./TaskAnswer.ts"
import { limit } from "./ToolParameters.ts"

/** Searches the titles and descriptions of the account's tasks. */
export const taskSearchTool = defineTool({
  name: "task_search",
  description: "Search titles and descriptions of this account's tasks, best match first.",
  capability: "search the account's tasks",
  path: "/agent/task-search",
  parameters: Schema.Struct({
    query: Schema.NonEmptyString.check(Schema.isMaxLength(200)).annotate({ description: "Words to look for." }),
    limit: limit("tasks", 20, 50)
  }),
  answer: Schema.Struct({ tasks: Schema.Array(TaskAnswer) }),
  isEffect: false,
  isOffered: isOrchestrator,
  run: Effect.fn("AgentTools.task_search")(function* ({ controlPlane }, parameters) {
    if (parameters.query.trim() === "") {
      return yield* new ToolRejected({ code: "invalid", detail: "query: give words of the title or description" })
    }
    const { tasks } = yield* controlPlane.searchTasks(parameters)
    return { tasks: tasks.map(taskAnswer) }
  })
})
