import { Effect, Schema } from "effect"
import { actsOnTask, defineTool, otherTask, ToolRejected } from "./AgentTool.ts"
import { anyStatus, anyStatusButDone, changedStatus, checkAssignees, checkStatus, maySetDone } from "./StatusRules.ts"
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
  blockedReason,
  dueDate
}
const assignees = {
  assigneeSlugs: Schema.optionalKey(slugs("The slugs of all assignees; others are unassigned."))
}
const withDone = { status: Schema.optionalKey(anyStatus) }
const withoutDone = { status: Schema.optionalKey(anyStatusButDone) }
const parameters = Schema.Struct({ ...fields, ...assignees, ...withDone })
const ofReviewer = Schema.Struct({ ...fields, ...withDone })
const ofOthers = Schema.Struct({ ...fields, ...withoutDone })

/** Changes a task's fields, its status and, for the orchestrator, its assignees: all or nothing. */
export const taskUpdateTool = defineTool({
  name: "task_update",
  description: "Change fields or the status of a task. Absent fields stay. All changes are made, or none.",
  capability: "change a task's fields and status",
  path: "/agent/task-update",
  parameters,
  parametersFor: (agent) => (agent.isOrchestrator ? parameters : maySetDone(agent) ? ofReviewer : ofOthers),
  answer: changedStatus,
  isEffect: true,
  isOffered: ({ flags }) => flags.canModifyTaskStatus,
  run: Effect.fn("AgentTools.task_update")(function* (run, { blockedReason: given, dueDate: due, ...change }) {
    if (!actsOnTask(run, change.taskId)) return yield* otherTask(run)
    if (Object.keys(change).length === 1 && due === undefined) {
      return yield* new ToolRejected({ code: "invalid", detail: "nothing to change: give at least one field" })
    }
    yield* checkAssignees(run.context, change.assigneeSlugs)
    const { reason } = yield* checkStatus(run.context, change.status, given)
    return yield* run.controlPlane.updateTask(run.fence, {
      ...change,
      ...(reason === undefined ? {} : { blockedReason: reason }),
      ...(due === undefined ? {} : { dueDate: yield* momentOf("dueDate", due) })
    })
  })
})
