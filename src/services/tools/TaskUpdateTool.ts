import { Effect, Schema } from "effect"
import { actsOnTask, defineTool, otherTask, ToolRejected } from "./AgentTool.ts"
import { anyStatus, anyStatusButDone, changedStatus, checkStatus, mayChangeTask, maySetDone } from "./StatusRules.ts"
import {
  blockedReason,
  description,
  dueDate,
  labels,
  momentOf,
  priority,
  slugs,
  taskId,
  title
} from "./ToolParameters.ts"

const fields = {
  taskId,
  title: Schema.optionalKey(title),
  description,
  priority,
  labels,
  assigneeSlugs: Schema.optionalKey(slugs(0, 20, "The slugs of all assignees; others are unassigned.")),
  blockedReason,
  dueDate
}
const withoutDone = Schema.Struct({ ...fields, status: Schema.optionalKey(anyStatusButDone) })
const parameters = Schema.Struct({ ...fields, status: Schema.optionalKey(anyStatus) })

/** Changes what a task says of itself, its assignees and its status, all or nothing. */
export const taskUpdateTool = defineTool({
  name: "task_update",
  description:
    "Change fields, assignees or status of a task; what is absent stays. Either all of it happens or nothing.",
  capability: "change a task's fields, assignees and status",
  path: "/agent/task-update",
  parameters,
  parametersFor: (context) => (maySetDone(context) ? parameters : withoutDone),
  answer: changedStatus,
  isEffect: true,
  isOffered: mayChangeTask,
  run: Effect.fn("AgentTools.task_update")(function* (run, { blockedReason: given, dueDate: due, ...change }) {
    if (!actsOnTask(run, change.taskId)) return yield* otherTask(run)
    if (Object.keys(change).length === 1 && due === undefined) {
      return yield* new ToolRejected({ code: "invalid", detail: "nothing to change: give at least one field" })
    }
    const { reason } = yield* checkStatus(run.context, change.status, given)
    return yield* run.controlPlane.updateTask(run.fence, {
      ...change,
      ...(reason === undefined ? {} : { blockedReason: reason }),
      ...(due === undefined ? {} : { dueDate: yield* momentOf(due) })
    })
  })
})
